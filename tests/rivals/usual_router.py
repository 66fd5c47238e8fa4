"""HAProxy before MySQL as people usually have it: one server, the others `backup`, checks by default.

`python -m tests.rivals.usual_router --estate FILE` puts it on the application hosts of a lab; `yiyun up` puts
the shipped one back, as it does with every hand-made change. Timeouts are those of Debian's own haproxy.cfg;
checks are HAProxy's defaults (a TCP connection every 2 s, down after 3 failures, up after 2).

Nothing ends sessions that stay on another member after the way back: two writers, until pools let them go,
minutes later. A drill waits for that, and no other begins before. `--tidy`, beside a soak, ends them once a
drill has waited for a while, so that a hundred drills take no day: to this router's advantage, and to the
times until full strength, which are not its own then.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from infra.drivers.lab.hosts import run_in_host
from infra.estate.addresses import host_addresses
from infra.estate.loading import load_estate
from infra.paths import EstatePaths
from infra.services.data import MYSQL
from runbooks.drills.folder import folders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.estate.model import Estate
    from runbooks.drills.journal import Event

CONFIG = "/etc/haproxy/haproxy.cfg"
HEAD = """global
    user haproxy
    group haproxy
    stats socket /run/haproxy/admin.sock mode 660 level admin
defaults
    mode tcp
    timeout connect 5000
    timeout client  50000
    timeout server  50000
frontend mysql
    bind 127.0.0.1:{port}
    default_backend writer
backend writer
"""


def usual_config(estate: Estate) -> str:
    """The configuration, the same on every host. Pure."""
    port, addresses = MYSQL.port("mysql").number, host_addresses(estate)
    lines = [
        f"    server {host.name} {addresses[host.name]}:{port} check{'' if place == 0 else ' backup'}\n"
        for place, host in enumerate(estate.hosts_with("db"))
    ]
    return HEAD.format(port=port) + "".join(lines)


PATIENCE_SECONDS = 12.0
"""How long after a fault was undone its drill waits before it is helped: what is measured is over by then."""
TIDY = """
import json, socket, subprocess
told = json.loads(subprocess.run(["yiyun-db-writer"], capture_output=True, text=True).stdout)
for member in told["stray"]:
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect("/run/haproxy/admin.sock")
        admin.sendall(f"shutdown sessions server writer/{member}\\n".encode())
        admin.recv(4096)
"""


def tidy(estate: Estate) -> None:
    """End what stayed on other members whenever the newest drill waits for it. Never returns."""
    paths = EstatePaths(estate.estate)
    while True:
        newest = max(folders(paths), key=lambda f: f.path.name, default=None)
        if newest is None or waits(newest.events(), datetime.now(UTC)):
            for host in estate.hosts_with("app"):
                run_in_host(paths, host.name, ["python3", "-c", TIDY])
        time.sleep(2.0)


def waits(events: Sequence[Event], now: datetime) -> bool:
    """Whether a drill has settled for a while, or has ended: the next one waits. Pure."""
    settling = next((e for e in events if e.name == "settling"), None)
    return (
        settling is not None
        and (now - datetime.fromisoformat(settling.at)).total_seconds() > PATIENCE_SECONDS
    )


def main(
    estate: Annotated[str, typer.Option(help="The lab.")] = "lab",
    tidy_up: Annotated[bool, typer.Option("--tidy", help="Beside a soak, until stopped.")] = False,
) -> None:
    """Replace the router's configuration on every application host, or tidy up beside a soak."""
    loaded = load_estate(estate)
    if tidy_up:
        tidy(loaded)
    paths, text = EstatePaths(loaded.estate), usual_config(loaded)
    for host in loaded.hosts_with("app"):
        script = f"cat > {CONFIG}; haproxy -c -q -f {CONFIG}; systemctl restart haproxy"
        done = run_in_host(paths, host.name, ["sh", "-ec", script], stdin=text)
        if done.returncode != 0:
            raise SystemExit(f"{host.name}: {done.stderr}")
        typer.echo(f"{host.name}: the usual router; yiyun up puts the shipped one back")


if __name__ == "__main__":
    typer.run(main)
