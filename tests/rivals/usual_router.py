"""HAProxy before MySQL as people usually have it: one server, the others `backup`, checks by default.

`python -m tests.rivals.usual_router --estate FILE` puts it on the application hosts of a lab; `yiyun up` puts
the shipped one back, as it does with every hand-made change. Timeouts are those of Debian's own haproxy.cfg;
checks are HAProxy's defaults (a TCP connection every 2 s, down after 3 failures, up after 2).
"""

from __future__ import annotations

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


def main(estate: Annotated[str, typer.Option(help="The lab.")] = "lab") -> None:
    """Replace the router's configuration on every application host."""
    loaded = load_estate(estate)
    paths, text = EstatePaths(loaded.estate), usual_config(loaded)
    for host in loaded.hosts_with("app"):
        script = f"cat > {CONFIG}; haproxy -c -q -f {CONFIG}; systemctl restart haproxy"
        done = run_in_host(paths, host.name, ["sh", "-ec", script], stdin=text)
        if done.returncode != 0:
            raise SystemExit(f"{host.name}: {done.stderr}")
        typer.echo(f"{host.name}: the usual router; yiyun up puts the shipped one back")


if __name__ == "__main__":
    typer.run(main)
