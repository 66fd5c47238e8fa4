#!/usr/bin/python3
"""Choose the path of the encrypted line: probe every tunnel, and route the cloud's network over a good one.

The choice is sticky: a path stays in use while it is good, so a path that comes and goes moves nothing. A
path named in /run/yiyun-line.avoid is used only when no other is good: its keys are about to be replaced.
When no path answers for a while, the same gateways are looked for in the region that takes their place, then
here again, until one answers: nobody has to tell the premises that the cloud has moved.

State is in /run/yiyun-line.json, rewritten after every round. Python's standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from select import select
from typing import Any

CONFIGURATION = Path("/etc/yiyun-line.json")
STATE = Path("/run/yiyun-line.json")
AVOID = Path("/run/yiyun-line.avoid")
ECHO_REQUEST, ECHO_REPLY = 8, 0
SLOW_PERIOD_SECONDS = 2.0
"""How often handshakes are read and the route is looked at: each costs a process."""
LATEST_ANSWER_SECONDS = 1.0
"""Answers later than this are worth nothing: the path counts as lost."""
ROUTE_METRIC = "50"


@dataclass(frozen=True)
class TunnelPath:
    """One path: gateway's name, our interface and address in its tunnel, the address that is probed."""

    name: str
    interface: str
    source: str
    probe: str
    endpoints: list[str] = field(default_factory=list[str])
    """`ADDRESS:PORT` of the gateway in its own region, then in the one that takes its place."""


@dataclass(frozen=True)
class Rules:
    """When a path is lost (probes without an answer in a row) and good again (answers in a row)."""

    lost_after: int
    good_after: int


@dataclass
class Health:
    """What is known of one path. A path nobody has heard of yet is down, and up at its first answer."""

    up: bool = False
    heard: bool = False
    misses: int = 0
    answers: int = 0
    rtt_ms: float | None = None

    def observe(self, rtt_ms: float | None, rules: Rules) -> None:
        """Take one probe's result: its time in milliseconds, or None when no answer came."""
        self.rtt_ms = rtt_ms
        if rtt_ms is None:
            self.misses, self.answers = self.misses + 1, 0
            if self.misses >= rules.lost_after:
                self.up = False
            return
        self.misses, self.answers = 0, self.answers + 1
        if not self.heard or self.answers >= rules.good_after:
            self.up = self.heard = True


def choose(active: str | None, order: list[str], healths: dict[str, Health], avoid: str = "") -> str | None:
    """The path to use: the active one while it is up, else the first that is up, else no change.

    `avoid`: a path that counts only when no other is up.
    """
    good = [name for name in order if healths[name].up]
    wanted = [name for name in good if name != avoid] or good
    return active if active in wanted else next(iter(wanted), active)


@dataclass
class Region:
    """Which of the regions is called: the other one when nothing has answered for `patience` seconds."""

    count: int
    patience: float
    index: int = 0
    since: float | None = None
    """From when on nothing has answered."""

    def turn(self, now: float, *, answers: bool) -> bool:
        """Take a round's result; True when the next region is to be called from now on."""
        if answers or self.count < 2:
            self.since = None
            return False
        self.since = now if self.since is None else self.since
        if now - self.since < self.patience:
            return False
        self.index, self.since = (self.index + 1) % self.count, now
        return True


def call(paths: list[TunnelPath], index: int) -> None:
    """Send every tunnel's packets to its gateway in that region, which has the same key there.

    Whom a tunnel knows is asked of the tunnel itself: its keys are replaced while this runs.
    """
    for path in paths:
        for peer, _ in endpoints_of(path):
            where = ["peer", peer, "endpoint", path.endpoints[index]]
            subprocess.run(["wg", "set", path.interface, *where], capture_output=True, check=False)


def called(paths: list[TunnelPath]) -> int:
    """The region that the tunnels' packets go to now: an agent that begins anew changes nothing."""
    for path in paths:
        for _, endpoint in endpoints_of(path):
            if endpoint in path.endpoints:
                return path.endpoints.index(endpoint)
    return 0


def endpoints_of(path: TunnelPath) -> list[tuple[str, str]]:
    """A tunnel's peers as the kernel has them: public key, and `ADDRESS:PORT` (`(none)` before the first)."""
    shown = subprocess.run(
        ["wg", "show", path.interface, "endpoints"], capture_output=True, text=True, check=False
    )
    return [(words[0], words[1]) for line in shown.stdout.splitlines() if len(words := line.split()) == 2]


def avoided(file: Path = AVOID) -> str:
    """The path to avoid, or an empty string."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def checksum(data: bytes) -> int:
    """Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_request(identity: int, sequence: int) -> bytes:
    """An ICMP echo request (RFC 792)."""
    bare = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, identity, sequence)
    return struct.pack("!BBHHH", ECHO_REQUEST, 0, checksum(bare), identity, sequence)


def reply_sequence(packet: bytes, identity: int) -> int | None:
    """Sequence of the request that an IP packet answers, or None when it is no answer to us."""
    if not packet:
        return None
    icmp = packet[(packet[0] & 0x0F) * 4 :][:8]
    if len(icmp) < 8:
        return None
    kind, _, _, found_identity, sequence = struct.unpack("!BBHHH", icmp)
    return int(sequence) if (kind, found_identity) == (ECHO_REPLY, identity) else None


@dataclass
class Prober:
    """Sends one echo request a round through each tunnel; an answer may come in a later round."""

    paths: list[TunnelPath]
    identity: int = field(default_factory=lambda: os.getpid() & 0xFFFF)
    sequence: int = 0
    sent: dict[int, float] = field(default_factory=dict[int, float])
    """When each recent request was sent, by sequence."""
    sockets: dict[str, socket.socket] = field(default_factory=dict[str, socket.socket])

    def round(self, seconds: float) -> dict[str, float | None]:
        """Round-trip time (milliseconds) by path of what came within `seconds`; None: nothing came."""
        self.sequence = (self.sequence + 1) & 0xFFFF
        started = time.monotonic()
        self.sent = {n: at for n, at in self.sent.items() if started - at <= LATEST_ANSWER_SECONDS}
        self.sent[self.sequence] = started
        result: dict[str, float | None] = {path.name: None for path in self.paths}
        waiting = {sock: path for path in self.paths if (sock := self._send(path)) is not None}
        while waiting and (left := started + seconds - time.monotonic()) > 0:
            for sock in select(list(waiting), [], [], left)[0]:
                self._receive(sock, waiting, result)
        time.sleep(max(0.0, started + seconds - time.monotonic()))
        return result

    def _receive(
        self,
        sock: socket.socket,
        waiting: dict[socket.socket, TunnelPath],
        result: dict[str, float | None],
    ) -> None:
        path = waiting[sock]
        try:
            packet = sock.recv(2048)
        except OSError:
            self._forget(path)
            del waiting[sock]
            return
        sequence = reply_sequence(packet, self.identity)
        if sequence in self.sent:
            result[path.name] = round((time.monotonic() - self.sent[sequence]) * 1000, 2)
            if sequence == self.sequence:
                del waiting[sock]

    def _send(self, path: TunnelPath) -> socket.socket | None:
        try:
            sock = self.sockets.get(path.name) or self._open(path)
            sock.send(echo_request(self.identity, self.sequence))
        except OSError:  # the interface is gone or was made anew: open another socket next time
            self._forget(path)
            return None
        return sock

    def _open(self, path: TunnelPath) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.sockets[path.name] = sock
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, path.interface.encode())
        sock.bind((path.source, 0))
        sock.connect((path.probe, 0))
        return sock

    def _forget(self, path: TunnelPath) -> None:
        sock = self.sockets.pop(path.name, None)
        if sock is not None:
            sock.close()


def route_command(network: str, path: TunnelPath) -> list[str]:
    """`ip` argv that sends the cloud's network over a path."""
    where = ["dev", path.interface, "src", path.source, "metric", ROUTE_METRIC]
    return ["ip", "route", "replace", network, *where]


def switch(network: str, to: TunnelPath, others: list[TunnelPath]) -> bool:
    """Send the cloud's network over `to`, and end the connections begun on the other paths.

    They cannot live on (each gateway knows its own tunnel's address only). Where the kernel cannot end them
    (no INET_DIAG_DESTROY), the host's own rules reset them at their next packet.
    """
    if subprocess.run(route_command(network, to), check=False).returncode != 0:
        return False
    for other in others:
        subprocess.run(["ss", "-K", "src", other.source], capture_output=True, check=False)
    return True


def routed_interface(network: str) -> str:
    """Interface that the cloud's network is routed over now, or an empty string."""
    shown = subprocess.run(
        ["ip", "-j", "route", "show", network, "metric", ROUTE_METRIC],
        capture_output=True,
        text=True,
        check=False,
    )
    routes: list[dict[str, Any]] = json.loads(shown.stdout or "[]")
    return str(routes[0].get("dev", "")) if routes else ""


def handshake_ages(paths: list[TunnelPath], now: float) -> dict[str, float | None]:
    """Seconds since each tunnel's last handshake; None: never."""
    ages: dict[str, float | None] = {}
    for path in paths:
        shown = subprocess.run(
            ["wg", "show", path.interface, "latest-handshakes"], capture_output=True, text=True, check=False
        )
        last = max((float(line.split()[1]) for line in shown.stdout.splitlines()), default=0.0)
        ages[path.name] = round(now - last, 1) if last else None
    return ages


def state_of(
    paths: list[TunnelPath],
    healths: dict[str, Health],
    ages: dict[str, float | None],
    active: str | None,
    at: float,
) -> dict[str, Any]:
    """What `status` reads: whether the line is up, the path in use, and each path."""
    return {
        "at": round(at, 3),
        "up": active is not None and healths[active].up,
        "path": active,
        "paths": [
            {
                "name": path.name,
                "interface": path.interface,
                "up": healths[path.name].up,
                "active": path.name == active,
                "rtt_ms": healths[path.name].rtt_ms,
                "handshake_age_s": ages.get(path.name),
            }
            for path in paths
        ],
    }


def write_state(state: dict[str, Any], target: Path = STATE) -> None:
    """Replace the state file; readers never see half of it."""
    temporary = target.with_suffix(".new")
    temporary.write_text(json.dumps(state) + "\n", encoding="utf-8")
    temporary.chmod(0o644)
    temporary.replace(target)


def run(configuration: dict[str, Any]) -> None:
    """Probe and choose until ended."""
    paths = [TunnelPath(**path) for path in configuration["paths"]]
    count = min((len(path.endpoints) for path in paths), default=0)
    region = Region(count, float(configuration["patience_seconds"]), called(paths))
    rules = Rules(configuration["lost_after"], configuration["good_after"])
    network, order = str(configuration["network"]), [path.name for path in paths]
    by_name = {path.name: path for path in paths}
    healths, prober = {name: Health() for name in order}, Prober(paths)
    current = routed_interface(network)
    active = next((path.name for path in paths if path.interface == current), None)
    ages, looked_at, routed = dict[str, float | None](), 0.0, current
    while True:
        for name, rtt in prober.round(float(configuration["probe_seconds"])).items():
            healths[name].observe(rtt, rules)
        if region.turn(time.monotonic(), answers=any(health.up for health in healths.values())):
            print(f"no path answers: calling region {region.index + 1} of {count}", flush=True)  # noqa: T201
            call(paths, region.index)
        chosen, now = choose(active, order, healths, avoided()), time.time()
        if now - looked_at >= SLOW_PERIOD_SECONDS:
            ages, routed, looked_at = handshake_ages(paths, now), routed_interface(network), now
        to = by_name[chosen] if chosen is not None and healths[chosen].up else None
        moves = to is not None and to.interface != routed
        if to and moves and switch(network, to, [path for path in paths if path != to]):
            print(f"path: {active} -> {chosen}", flush=True)  # noqa: T201  the journal
            active, routed = to.name, to.interface
        write_state(state_of(paths, healths, ages, active, now) | {"region": region.index})


def wait_up(seconds: float) -> int:
    """Wait until the line is up; exit code 1 when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = json.loads(STATE.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            state = {}
        if state.get("up") and time.time() - float(state["at"]) < 5:
            return 0
        time.sleep(0.2)
    sys.stderr.write(f"no path of the line is up: see {STATE} and journalctl -u yiyun-line\n")
    return 1


def main() -> int:
    """Entry point of `run` and `wait`."""
    parser = argparse.ArgumentParser(description="The line's path.")
    parser.add_argument("verb", choices=["run", "wait"])
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    if options.verb == "wait":
        return wait_up(options.seconds)
    run(json.loads(CONFIGURATION.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
