"""Two of the role's routers beside each other on this machine, over three members that only greet.

`YIYUN_TEST_HAPROXY` names the program; else the one on PATH; else None (the caller skips).
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import yaml

from infra.trust.authority import LeafSpec, make_leaf, make_root
from runbooks.database.onhost.router import apart_of, ask_router

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLE = Path(__file__).parents[2] / "playbooks/roles/db_router"
GREETING = b"J\x00\x00\x00\x0a9.7.4\x00"
SECONDS = 10


def program() -> str | None:
    """HAProxy, as given or found."""
    return os.environ.get("YIYUN_TEST_HAPROXY") or shutil.which("haproxy", path="/usr/sbin:/usr/bin")


@dataclass
class FakeMember:
    """Greets as a server does, holds its sessions, and says over HTTP whether it is ready."""

    name: str
    address: str
    port: int
    health_port: int
    ready: bool = True

    def start(self, stack: ExitStack, *, greets: bool) -> None:
        if greets:
            listener = stack.enter_context(socket.create_server((self.address, self.port)))
            threading.Thread(target=self._greet, args=(listener,), daemon=True).start()
        health = ThreadingHTTPServer((self.address, self.health_port), _answer_of(self))
        stack.callback(health.server_close)
        stack.callback(health.shutdown)
        threading.Thread(target=health.serve_forever, args=(0.05,), daemon=True).start()

    def _greet(self, listener: socket.socket) -> None:
        while True:
            try:
                session, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_hold, args=(session, GREETING + self.name.encode()), daemon=True).start()


def _hold(session: socket.socket, greeting: bytes) -> None:
    """Until the other end goes, as a server holds an idle session; one that has gone ends alone."""
    with session:
        try:
            session.sendall(greeting)
            while session.recv(4096):
                pass
        except OSError:
            return


def _answer_of(member: FakeMember) -> type[BaseHTTPRequestHandler]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if member.ready else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Answer


@dataclass
class Bed:
    """Admin sockets and doors by router, and the members."""

    admin: dict[str, str]
    door: dict[str, tuple[str, int]]
    members: dict[str, FakeMember]

    def session(self, router: str) -> tuple[socket.socket, str]:
        """A client's session through a router, and the member it leads to."""
        opened = socket.create_connection(self.door[router], timeout=2)
        return opened, opened.recv(100).removeprefix(GREETING).decode()


@contextmanager
def routers(folder: Path, port: int | None = None, *, apart: bool = False) -> Iterator[Bed]:
    """The bed, its routers up and their members known to them. `port`: of real members at these addresses.

    `apart`: the routers cannot reach each other; else they are connected when this returns.
    """
    ports = free_ports(4)
    if port is not None:
        ports[0] = port
    members = {f"db-{n}": FakeMember(f"db-{n}", f"127.0.1.{n}", ports[0], ports[1]) for n in (1, 2, 3)}
    addresses = {"app-1": "127.0.0.1", "app-2": "127.0.0.2"} | {m.name: m.address for m in members.values()}
    with ExitStack() as stack:
        for member in members.values():
            member.start(stack, greets=port is None)
        root = make_root("bed")
        for router in ("app-1", "app-2"):
            leaf = make_leaf(root, LeafSpec(router, (router,), (addresses[router],)))
            (folder / f"{router}.crt").write_text(leaf.certificate + root.certificate)
            (folder / f"{router}.key").write_text(leaf.key)
            (folder / "ca.crt").write_text(root.certificate)
            config = folder / f"{router}.cfg"
            text = _config(router, addresses, ports, folder)
            config.write_text(_nowhere(text) if apart else text)
            process = subprocess.Popen([program() or "", "-db", "-q", "-f", str(config)])
            stack.callback(process.wait, SECONDS)
            stack.callback(process.terminate)
        bed = Bed(
            {r: str(folder / f"{r}.sock") for r in ("app-1", "app-2")},
            {r: (addresses[r], ports[2]) for r in ("app-1", "app-2")},
            members,
        )
        for router in bed.door:
            _wait_open(bed.door[router])
        if not apart:
            _wait_connected(bed)
        yield bed


def _config(router: str, addresses: dict[str, str], ports: list[int], folder: Path) -> str:
    variables: dict[str, Any] = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    variables |= {
        "ansible_managed": "bed",
        "inventory_hostname": router,
        "yiyun_address": addresses[router],
        "yiyun_addresses": addresses,
        "yiyun_tls12_ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256",
        "db_router_address": addresses[router],
        "db_router_port": ports[2],
        "db_router_members": ["db-1", "db-2", "db-3"],
        "db_router_member_port": ports[0],
        "db_router_health_port": ports[1],
        "db_router_peers": ["app-1", "app-2"],
        "db_router_peers_port": ports[3],
        "db_router_peers_certificate": str(folder / f"{router}.crt"),
        "db_router_ca": str(folder / "ca.crt"),
    }
    text = (ROLE / "templates/haproxy.cfg.j2").read_text(encoding="utf-8")
    made = jinja2.Template(text, trim_blocks=True, undefined=jinja2.StrictUndefined).render(variables)
    for line in ("    user haproxy\n", "    group haproxy\n"):
        made = made.replace(line, "")
    return made.replace("/run/haproxy/admin.sock", str(folder / f"{router}.sock"))


def _nowhere(config: str) -> str:
    """The other router is looked for where nobody is."""
    return re.sub(r"^( +server app-\d \S+):\d+ verifyhost", r"\1:9 verifyhost", config, flags=re.MULTILINE)


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(count)]
        return [s.getsockname()[1] for s in opened]


def _wait_open(door: tuple[str, int]) -> None:
    limit = time.monotonic() + SECONDS
    while True:
        try:
            with socket.create_connection(door, timeout=1) as session:
                if session.recv(5):
                    return
        except OSError:
            if time.monotonic() > limit:
                raise
        time.sleep(0.05)


def _wait_connected(bed: Bed) -> None:
    limit = time.monotonic() + SECONDS
    while True:
        said = {name: ask_router("show peers", path) for name, path in bed.admin.items()}
        if not any(apart_of(peers) for peers in said.values()):
            return
        assert time.monotonic() < limit, f"the routers are not connected: {said}"
        time.sleep(0.05)
