"""The probe's hands, run inside a host: opens temporary listeners and tries ports. Standard library only.

Sent over stdin (see `infra.verify.channel`) and never installed. It speaks JSON, a request and a reply a
line. It ends with its standard input, or after `LIFETIME_S`, and takes its listeners with it.

requests  {"listen": {"address": A, "tcp": [PORT…], "udp": [PORT…]}}
          {"source_for": A}
          {"probe": [[A, PORT, PROTOCOL, SOURCE_ADDRESS]…], "deadline_s": S}
replies   {"occupied": ["tcp/22"…]}   ports somebody listens at already
          {"address": B | null}       own address that packets to A would carry
          {"ends": [END…]}            in the order asked
"""

from __future__ import annotations

import contextlib
import errno
import json
import resource
import selectors
import signal
import socket
import sys
import threading
import time
from typing import Any

LIFETIME_S = 120
BATCH = 1500
"""Sockets open at once."""
NTP_REQUEST = b"\x23" + bytes(39) + b"probing!"
"""What every UDP probe carries: a client's request of NTP version 4 (RFC 5905, 7.3), which a time server
answers and a temporary listener echoes."""

OPEN, REFUSED, SILENT, NOT_SENT, UNREACHABLE = "open", "refused", "silent", "not-sent", "unreachable"
ENDS = {
    0: OPEN,
    errno.ECONNREFUSED: REFUSED,
    errno.ECONNRESET: REFUSED,
    errno.EPERM: NOT_SENT,
    errno.EACCES: NOT_SENT,
    errno.ENETUNREACH: UNREACHABLE,
    errno.EHOSTUNREACH: UNREACHABLE,
    errno.EADDRNOTAVAIL: NOT_SENT,
}


class Listeners:
    """Temporary listeners: TCP closes what it accepts, UDP echoes."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._serving = False

    def open(self, address: str, kind: str, port: int) -> bool:
        """Listen at a port of one address. False when somebody listens there already."""
        tcp = kind == "tcp"
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        listener.setblocking(False)
        try:
            if tcp:  # else what an earlier probe left in TIME_WAIT would look like a service
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            if tcp:
                listener.listen(128)
        except OSError:
            listener.close()
            return False
        self._selector.register(listener, selectors.EVENT_READ, tcp)
        return True

    def serve(self) -> None:
        """Answer in the background until the process ends."""
        if not self._serving:
            self._serving = True
            threading.Thread(target=self._loop, daemon=True).start()

    def _loop(self) -> None:
        while True:
            for key, _ in self._selector.select():
                listener = key.fileobj
                if isinstance(listener, socket.socket):
                    with contextlib.suppress(OSError):
                        self._answer(listener, tcp=bool(key.data))

    @staticmethod
    def _answer(listener: socket.socket, *, tcp: bool) -> None:
        if tcp:
            listener.accept()[0].close()
        else:
            data, caller = listener.recvfrom(512)
            listener.sendto(data, caller)


class Probes:
    """Tries of one batch, all in flight together."""

    def __init__(self, tries: list[tuple[str, int, str, str]]) -> None:
        self.ends = [SILENT] * len(tries)
        self._selector = selectors.DefaultSelector()
        self._waiting: dict[int, socket.socket] = {}
        for index, (address, port, kind, source) in enumerate(tries):
            self._start(index, address, port, kind, source)

    def _start(self, index: int, address: str, port: int, kind: str, source: str) -> None:
        udp = kind == "udp"
        trying = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        trying.setblocking(False)
        try:
            if source:
                trying.bind((source, 0))
            code = trying.connect_ex((address, port))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, "connect")  # noqa: TRY301  one place judges what went wrong
            if udp:
                trying.send(NTP_REQUEST)
        except OSError as error:
            self._end(index, trying, error.errno)
            return
        self._waiting[index] = trying
        self._selector.register(trying, selectors.EVENT_READ if udp else selectors.EVENT_WRITE, index)

    def wait(self, deadline_s: float) -> list[str]:
        """Collect answers until all have come or the deadline is over."""
        began, repeated = time.monotonic(), False
        while self._waiting and (passed := time.monotonic() - began) < deadline_s:
            if not repeated and passed > deadline_s / 2:
                repeated = True
                self._repeat_datagrams()
            for key, _ in self._selector.select(min(0.05, deadline_s - passed)):
                self._answered(key.data)
        for trying in self._waiting.values():
            trying.close()
        self._selector.close()
        return self.ends

    def _answered(self, index: int) -> None:
        trying = self._waiting[index]
        try:
            code = trying.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code and trying.type == socket.SOCK_DGRAM:
                trying.recv(512)
        except OSError as error:
            code = error.errno
        self._selector.unregister(trying)
        del self._waiting[index]
        self._end(index, trying, code)

    def _repeat_datagrams(self) -> None:
        for trying in self._waiting.values():
            if trying.type == socket.SOCK_DGRAM:
                with contextlib.suppress(OSError):
                    trying.send(NTP_REQUEST)

    def _end(self, index: int, trying: socket.socket, code: int | None) -> None:
        self.ends[index] = ENDS.get(code or 0, SILENT)
        trying.close()


def source_for(address: str) -> str | None:
    """Own address that packets to another would carry, by the host's routes; None without a route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((address, 9))
        except OSError:
            return None
        return str(asking.getsockname()[0])


def answer(request: dict[str, Any], listeners: Listeners) -> dict[str, Any]:
    """The reply to one request. Raises KeyError for a request it does not know."""
    if "listen" in request:
        wanted = request["listen"]
        occupied = [
            f"{kind}/{port}"
            for kind in ("tcp", "udp")
            for port in wanted[kind]
            if not listeners.open(wanted["address"], kind, port)
        ]
        listeners.serve()
        return {"occupied": occupied}
    if "source_for" in request:
        return {"address": source_for(request["source_for"])}
    tries = [(str(a), int(p), str(k), str(s)) for a, p, k, s in request["probe"]]
    ends: list[str] = []
    for first in range(0, len(tries), BATCH):
        ends += Probes(tries[first : first + BATCH]).wait(float(request["deadline_s"]))
    return {"ends": ends}


def main() -> None:
    """Serve requests until standard input ends."""
    signal.alarm(LIFETIME_S)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(hard, 8192)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    listeners = Listeners()
    for line in sys.stdin.buffer:
        sys.stdout.write(json.dumps(answer(json.loads(line), listeners)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
