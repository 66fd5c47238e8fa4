"""Results posted from the front-end machine to the platform's ingest door over the line, at a fixed rate.

`python -m runbooks.drills.workloads.line HISTORY`, its settings as one JSON object on standard input; run in
the network of the front-end machine, so that each request goes through the tunnel that its agent has chosen.
It ends at SIGTERM, or after `seconds`. It asks as the collector does (`yiyun_gateway.uplink`): the first door
that is not resting, the next when that one fails, the same key until there is a receipt.

It must end with its host: when the machine is lost its network is gone with it, and what hospitals send waits
on their side. The workload `hospital` is for that.
"""

from __future__ import annotations

import json
import random
import ssl
import sys
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from pydantic import BaseModel, ConfigDict

from runbooks.drills.workloads.asking import PATIENCE_SECONDS, Sender, Try
from runbooks.drills.workloads.elements import key_of
from runbooks.drills.workloads.pacing import carry_out
from runbooks.drills.workloads.results import document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runbooks.drills.evidence.history import Operation

PATH = "/ingest/v1/results"
SERVED_BY = "X-Served-By"
"""The platform's word on which of its hosts answered (`yiyun_app.web.observe`)."""
DELIVERED = frozenset({200, 201})
REFUSED = frozenset({400, 409, 413, 422})
"""Answers that would be the same for ever: nothing was stored, and the collector would park the message."""
AWAY = frozenset({502, 503, 504})
"""Nobody there just now, whatever the message: the door rests."""
_CLIENT_ERRORS = range(400, 500)
_BASE_BACKOFF_S = 0.1
IDLE_SECONDS = 1.0
"""The collector's: no idle connection is used again that may be from before the path changed."""
MOMENT_SECONDS = 0.05


class Door(BaseModel):
    """One of the platform's proxies: its name in the collector's settings, its address on that host."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    port: int
    name: str


class Settings(BaseModel):
    """What the program is told. Times in seconds, as the collector is deployed; files by their paths only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    doors: list[Door]
    ca: str
    certificate: str
    key: str
    connect_timeout: float
    answer_timeout: float
    backoff_cap: float
    site: str
    residents: list[str]
    """Record numbers, one a client: only that client sends their results."""
    run: str
    """Eight characters that make keys and orders unique over all drills."""
    patience: float = PATIENCE_SECONDS
    clients: int
    rate: float
    seconds: float
    seed: int


@dataclass
class _Rest:
    """How a door is: failures in a row, when it may be tried again, its last answer, its last failure.

    Times in monotonic seconds.
    """

    failures: int = 0
    due: float = 0.0
    served: float = 0.0
    failed: float = 0.0


def backoff(failures: int, cap: float, share: float) -> float:
    """Seconds after so many failures in a row: doubling from 0.1 s to `cap`. `share`: 0.5 to 1, by chance."""
    return min(cap, _BASE_BACKOFF_S * 2 ** min(failures - 1, 16)) * share


def judged(status: int, text: str, member: str) -> Try:
    """What an answer says about the message. A 200 or 201 must be the platform's receipt. Pure."""
    if status in DELIVERED and _is_receipt(text):
        return Try("ok", member)
    if status in REFUSED:
        return Try("fail", error=str(status))
    if status in _CLIENT_ERRORS:
        return Try("fail", error=str(status), again=True)
    return Try("unknown", error=f"{status}{' without a receipt' if status in DELIVERED else ''}", again=True)


def _is_receipt(text: str) -> bool:
    try:
        answer = json.loads(text)
    except ValueError:
        return False
    return isinstance(answer, dict) and isinstance(answer.get("duplicate"), bool)


class Line:
    """The way to the platform, one for all clients: a door that failed rests for all of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._http = browser(settings)
        self._rests = [_Rest() for _ in settings.doors]
        self._lock = threading.Lock()
        self._random = random.Random(f"{settings.seed}/line")  # noqa: S311  a seed that can be repeated

    def post(self, body: bytes, key: str) -> list[Try]:
        """One round: each door that is due, once, until one has an answer that stays.

        A door that failed here and has served another client meanwhile is asked once more first: the way to
        it has changed, and what was lost was lost with the old one.
        """
        tries: list[Try] = []
        for door, rest in zip(self.settings.doors, self._rests, strict=True):
            if not self._claimed(rest):
                continue
            for _ in range(2):
                began = time.monotonic()
                tries.append(self._try(door, rest, body, key, began))
                if not tries[-1].away or rest.served <= began:
                    break
            if not tries[-1].again:
                break
        return tries

    def wait(self) -> float:
        """Seconds until some door may be tried; 0 when one is due."""
        with self._lock:
            return max(0.0, min(rest.due for rest in self._rests) - time.monotonic())

    def share(self) -> float:
        """A part by chance of a pause, so that clients do not come all at once."""
        with self._lock:
            return self._random.uniform(0.5, 1.0)

    def _claimed(self, rest: _Rest) -> bool:
        """Whether this door may be tried. Of one that failed before only one client at a time finds out."""
        with self._lock:
            now = time.monotonic()
            if rest.due > now:
                return False
            if rest.failures:
                rest.due = now + self.settings.connect_timeout + self.settings.answer_timeout
            return True

    def _try(self, door: Door, rest: _Rest, body: bytes, key: str, began: float) -> Try:
        """What became of it."""
        away = True
        try:
            answer = self._http.post(
                f"https://{door.address}:{door.port}{PATH}",
                content=body,
                headers={
                    "Host": f"{door.name}:{door.port}",
                    "Idempotency-Key": key,
                    "Content-Type": "application/json",
                },
                extensions={"sni_hostname": door.name},
            )
            found = judged(answer.status_code, answer.text, answer.headers.get(SERVED_BY, ""))
            away = answer.status_code in AWAY
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            found = Try("fail", error=f"{door.name}: {error!r}"[:200], again=True)
        except (httpx.HTTPError, OSError) as error:
            found = Try("unknown", error=f"{door.name}: {error!r}"[:200], again=True)
        self._rested(rest, began, away=away)
        return replace(found, away=away)

    def _rested(self, rest: _Rest, began: float, *, away: bool) -> None:
        """What another client has found since `began`, an answer or the same failure, counts more."""
        share = self.share()
        with self._lock:
            now = time.monotonic()
            if not away:
                rest.failures, rest.due, rest.served = 0, 0.0, now
            elif max(rest.served, rest.failed) <= began:
                rest.failures, rest.failed = rest.failures + 1, now
                rest.due = now + backoff(rest.failures, self.settings.backoff_cap, share)


class Client(Sender):
    """One lane of the collector: one resident, whose messages go one after the other."""

    def __init__(
        self, settings: Settings, line: Line, number: int, note: Callable[[Operation], None]
    ) -> None:
        super().__init__(settings, number, note, settings.patience)
        self.settings, self.line = settings, line

    def message(self, element: int) -> Callable[[], Sequence[Try]]:
        """Posts one document under its key, to each door that is due."""
        told, resident = self.settings, self.settings.residents[self.number]
        content = document(told.run, told.site, resident, element, datetime.now(UTC))
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        key = key_of(told.run, element)
        return lambda: self.line.post(body, key)

    def pause(self, fresh: Sequence[Try], rounds: int) -> float:
        """As the collector: at once when a door is due, a moment while none is, unless it was answered badly.

        A moment, because another client may find at any time that a door serves again: the collector wakes
        its lanes then. After an answer that was none, this lane alone waits, longer each time.
        """
        if fresh and not fresh[-1].away:
            return backoff(rounds, self.settings.backoff_cap, self.line.share())
        return min(MOMENT_SECONDS, max(0.01, self.line.wait()))


def browser(settings: Settings) -> httpx.Client:
    """A client that trusts the estate's authority alone and shows the collector's certificate.

    Raises OSError (ssl.SSLError is one) when the files cannot be read or do not fit.
    """
    context = ssl.create_default_context(cafile=settings.ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.certificate, settings.key)
    return httpx.Client(
        verify=context,
        timeout=httpx.Timeout(settings.answer_timeout, connect=settings.connect_timeout),
        limits=httpx.Limits(max_connections=2 * settings.clients, keepalive_expiry=IDLE_SECONDS),
        trust_env=False,
    )


def main() -> int:
    """Entry point."""
    settings = Settings.model_validate_json(sys.stdin.buffer.read())
    try:
        line = Line(settings)
    except OSError as error:
        sys.stderr.write(f"{error!r}\n")
        return 1
    carry_out(
        Path(sys.argv[1]),
        lambda note: [Client(settings, line, n, note) for n in range(settings.clients)],
        2 * (settings.connect_timeout + settings.answer_timeout),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
