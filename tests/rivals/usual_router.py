"""HAProxy before MySQL as people usually have it: one server, the others `backup`, checks by default.

`python -m tests.rivals.usual_router --estate FILE` puts it on the application hosts of a lab; `yiyun up` puts
the shipped one back, as it does with every hand-made change. Timeouts are those of Debian's own haproxy.cfg;
checks are HAProxy's defaults (a TCP connection every 2 s, down after 3 failures, up after 2).

Nothing ends sessions that stay on another member after the way back: two writers, until pools let them go,
minutes later. No drill begins before; `--tidy LOG` beside a soak ends them, only while its log (stderr)
says that it waits for that, so that a hundred drills take no day. It changes nothing that is measured.
"""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003  typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

from infra.drivers.lab.hosts import run_in_host
from infra.estate.addresses import host_addresses
from infra.estate.loading import load_estate
from infra.paths import EstatePaths
from infra.services.data import MYSQL

if TYPE_CHECKING:
    from infra.estate.model import Estate

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


WAITS = "one-writer"
"""In the last line of a soak's log while it waits for sessions to end."""
TIDY = """
import json, socket, subprocess
told = json.loads(subprocess.run(["yiyun-db-writer"], capture_output=True, text=True).stdout)
for member in told["stray"]:
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect("/run/haproxy/admin.sock")
        admin.sendall(f"shutdown sessions server writer/{member}\\n".encode())
        admin.recv(4096)
"""


def tidy(estate: Estate, log: Path) -> None:
    """End what stayed on other members whenever the soak waits for it. Never returns."""
    paths = EstatePaths(estate.estate)
    while True:
        lines = log.read_text(encoding="utf-8").splitlines()
        if lines and WAITS in lines[-1]:
            for host in estate.hosts_with("app"):
                run_in_host(paths, host.name, ["python3", "-c", TIDY])
        time.sleep(2.0)


def main(
    estate: Annotated[str, typer.Option(help="The lab.")] = "lab",
    tidy_log: Annotated[Path | None, typer.Option("--tidy", help="A soak's standard error.")] = None,
) -> None:
    """Replace the router's configuration on every application host, or tidy up beside a soak."""
    loaded = load_estate(estate)
    if tidy_log is not None:
        tidy(loaded, tidy_log)
    paths, text = EstatePaths(loaded.estate), usual_config(loaded)
    for host in loaded.hosts_with("app"):
        script = f"cat > {CONFIG}; haproxy -c -q -f {CONFIG}; systemctl restart haproxy"
        done = run_in_host(paths, host.name, ["sh", "-ec", script], stdin=text)
        if done.returncode != 0:
            raise SystemExit(f"{host.name}: {done.stderr}")
        typer.echo(f"{host.name}: the usual router; yiyun up puts the shipped one back")


if __name__ == "__main__":
    typer.run(main)
