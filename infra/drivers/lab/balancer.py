"""The lab's load balancers: HAProxy configured purely from records, reloaded without losing a connection."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.drivers.lab.desired import Desired, read_desired
from infra.errors import YiyunError
from infra.estate.limits import EDGE, TLS12_CIPHERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra import resources as kinds
    from infra.estate.limits import EdgeLimits
    from infra.paths import EstatePaths

IDEMPOTENT = "GET HEAD OPTIONS TRACE PUT DELETE"
"""Methods that may be sent twice (RFC 9110, 9.2.2)."""

_HEAD = f"""\
global
    log stdout format raw daemon notice
    stats socket /balancer/worker.sock mode 600 level admin
    user haproxy
    group haproxy
    maxconn 8000
    tune.http.maxhdr {EDGE.header_fields}
    tune.h2.fe.max-concurrent-streams {EDGE.streams}
    # Frames that make no sense (rapid resets, empty continuations) end their connection.
    tune.h2.fe.glitches-threshold 200
    nbthread 2
    hard-stop-after 30s
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-ciphers {TLS12_CIPHERS}
    ssl-default-server-options ssl-min-ver TLSv1.2

defaults
    mode http
    log global
    option dontlognull
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response response-timeout 0rtt-rejected 502 503 504
    timeout connect 1s
    timeout queue 5s
    timeout client {EDGE.stall_seconds}s
    timeout server 30s
    timeout http-request {EDGE.header_seconds}s
    timeout http-keep-alive {EDGE.idle_seconds}s
    timeout tunnel 1h
"""


@dataclass(frozen=True)
class ServerState:
    """One backend of a listener, as the balancer sees it."""

    listener: str
    host: str
    up: bool
    status: str
    check: str
    sessions: int


def haproxy_config(desired: Desired, balancer: str) -> str:
    """The whole configuration of a load balancer. Pure."""
    listeners = [x for x in desired.listeners if x.load_balancer == balancer]
    return "\n".join([_HEAD, *(line for x in listeners for line in _listener(desired, x)), ""])


def _listener(desired: Desired, listener: kinds.Listener) -> Iterator[str]:
    name, health = listener.name, listener.health
    yield f"frontend {name}"
    yield f"    bind :{listener.port} ssl crt /certificates/{listener.certificate}.pem alpn h2,http/1.1"
    yield from _limits(EDGE)
    yield "    http-request del-header X-Forwarded-For"
    yield "    option forwardfor"
    yield "    http-request set-header X-Forwarded-Proto https"
    yield f"    default_backend {name}"
    yield ""
    yield f"backend {name}"
    yield "    balance roundrobin"
    yield f"    acl twice method {IDEMPOTENT}"
    yield "    acl twice req.hdr(Idempotency-Key) -m found"
    yield "    http-request disable-l7-retry if !twice"
    yield "    option httpchk"
    host_header = f" hdr Host {listener.server_names[0]}" if listener.server_names else ""
    yield f"    http-check send meth GET uri {health.path} ver HTTP/1.1{host_header}"
    yield "    http-check expect status 200"
    yield f"    timeout check {health.timeout_ms}ms"
    fast = max(100, health.interval_ms // 2)
    yield (
        f"    default-server check inter {health.interval_ms}ms fastinter {fast}ms downinter {fast}ms "
        f"fall {health.fall} rise {health.rise} on-marked-down shutdown-sessions "
        f"maxconn {EDGE.per_proxy} ssl verify required ca-file /certificates/ca.pem alpn http/1.1"
    )
    domains = {h.name: h.domain for h in desired.hosts}
    for backend in listener.backends:
        full = f"{backend.host}.{domains.get(backend.host, '')}".rstrip(".")
        yield (
            f"    server {backend.host} {backend.address}:{backend.port} "
            f"verifyhost {full} sni str({full}) check-sni {full}"
        )
    yield ""


def _limits(limits: EdgeLimits) -> Iterator[str]:
    """What one source may ask, refused as early as can be: before TLS, then before a backend."""
    opened = limits.connections_per_second * limits.connections_window_s
    asked = limits.requests_per_second * limits.requests_window_s
    yield f"    maxconn {limits.all_connections}"
    yield (
        f"    stick-table type ipv6 size {limits.sources} expire 60s store "
        f"conn_cur,conn_rate({limits.connections_window_s}s),http_req_rate({limits.requests_window_s}s)"
    )
    yield "    tcp-request connection track-sc0 src"
    yield f"    tcp-request connection reject if {{ sc0_conn_rate gt {opened} }}"
    yield f"    tcp-request connection reject if {{ sc0_conn_cur gt {limits.connections} }}"
    # A body that fits the buffer must come within the time for heads: it cannot be dripped in either.
    yield "    option http-buffer-request"
    yield f"    http-request reject if {{ sc0_http_req_rate gt {2 * asked} }}"
    yield f"    http-request deny deny_status 429 if {{ sc0_http_req_rate gt {asked} }}"
    yield f"    http-request deny deny_status 413 if {{ req.body_size gt {limits.body_bytes} }}"


def folder(paths: EstatePaths, balancer: str) -> Path:
    """Configuration and sockets of a balancer."""
    return paths.lab / "balancers" / balancer


def certificates(paths: EstatePaths) -> Path:
    """`NAME.pem` of each leaf with its key, and `ca.pem`; written by the trust part."""
    return paths.lab / "certificates"


def prepare(paths: EstatePaths, desired: Desired, balancer: str) -> str:
    """Write a balancer's configuration; returns its version, which changes with any file it reads.

    Raises YiyunError when a certificate is missing.
    """
    text = haproxy_config(desired, balancer)
    digest = hashlib.sha256(text.encode())
    names = {"ca.pem"} | {f"{x.certificate}.pem" for x in desired.listeners if x.load_balancer == balancer}
    for name in sorted(names):
        path = certificates(paths) / name
        if not path.exists():
            raise YiyunError(
                f"load balancer {balancer} has no certificate {name}",
                hint="yiyun up writes certificates before it makes balancers; run it again",
                where=str(path),
            )
        digest.update(path.read_bytes())
    where = folder(paths, balancer)
    where.mkdir(parents=True, exist_ok=True)
    config = where / "haproxy.cfg"
    if not config.exists() or config.read_text(encoding="utf-8") != text:
        temporary = where / "haproxy.new"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(config)
    return digest.hexdigest()


def loaded_version(paths: EstatePaths, balancer: str) -> str:
    """The version the running balancer reads, as noted by `note_version`."""
    note = folder(paths, balancer) / "loaded"
    return note.read_text(encoding="ascii") if note.exists() else ""


def note_version(paths: EstatePaths, balancer: str, version: str) -> None:
    """Note which version the balancer runs with."""
    (folder(paths, balancer) / "loaded").write_text(version, encoding="ascii")


def reload(paths: EstatePaths, balancer: str) -> None:
    """Make a running balancer read its files again; connections stay. Raises YiyunError when it refuses."""
    answer = ask(folder(paths, balancer) / "master.sock", "reload")
    if "Success=1" not in answer:
        raise YiyunError(
            f"load balancer {balancer} refused its new configuration: {answer.strip()[:300]}",
            hint=f"it goes on with the old one; see {folder(paths, balancer) / 'haproxy.cfg'}",
        )


def wait_until_up(paths: EstatePaths, balancer: str, seconds: float = 15) -> None:
    """Wait until a balancer's worker answers. Raises YiyunError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if ask(folder(paths, balancer) / "worker.sock", "show info"):
                return
        except OSError:
            time.sleep(0.05)
    raise YiyunError(f"load balancer {balancer} does not start", hint="run the same command again")


def ask(where: Path, command: str, timeout: float = 5) -> str:
    """Answer of one of HAProxy's sockets. Reached through its folder, as socket paths may not be long."""
    descriptor = os.open(where.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(timeout)
            channel.connect(f"/proc/self/fd/{descriptor}/{where.name}")
            channel.sendall(f"{command}\n".encode())
            parts: list[bytes] = []
            while chunk := channel.recv(65536):
                parts.append(chunk)
    finally:
        os.close(descriptor)
    return b"".join(parts).decode()


def balancer_state(paths: EstatePaths) -> list[ServerState]:
    """Every backend of every listener as its balancer sees it now; [] for a balancer that does not answer."""
    found: list[ServerState] = []
    for balancer in read_desired(paths).balancers:
        try:
            listing = ask(folder(paths, balancer.name) / "worker.sock", "show stat -1 4 -1")
        except OSError:
            continue
        found += states_in(listing)
    return found


def states_in(listing: str) -> list[ServerState]:
    """Servers in the CSV of HAProxy's `show stat`."""
    return [
        ServerState(
            row["pxname"],
            row["svname"],
            row["status"].startswith("UP"),
            row["status"],
            row["check_status"].lstrip("* "),
            int(row["scur"] or 0),
        )
        for row in csv.DictReader(io.StringIO(listing.lstrip("# ")))
    ]
