"""A bounded, open-loop load of idempotent requests through the balancer: a stall is not hidden."""

from __future__ import annotations

import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


@dataclass
class Load:
    """GET `url` `rate` times a second for at most `limit` seconds, measured from the intended moment."""

    url: str
    authority: Path
    cookies: httpx.Cookies | None = None
    rate: float = 25.0
    limit: float = 60.0
    failures: list[str] = field(default_factory=list[str])
    seconds: list[float] = field(default_factory=list[float])
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        context = ssl.create_default_context(cafile=str(self.authority))
        limits = httpx.Limits(max_connections=64)
        self._client = httpx.Client(verify=context, timeout=10, limits=limits, cookies=self.cookies)
        self._pool = ThreadPoolExecutor(64)
        self._clock = threading.Thread(target=self._issue, daemon=True)
        self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._clock.join()
        self._pool.shutdown(wait=True)
        self._client.close()

    @property
    def served(self) -> int:
        """Requests answered with 200 so far."""
        return len(self.seconds)

    def _issue(self) -> None:
        started = time.monotonic()
        for number in range(int(self.rate * self.limit)):
            intended = started + number / self.rate
            if self._stop.wait(max(0.0, intended - time.monotonic())):
                return
            self._pool.submit(self._once, intended)

    def _once(self, intended: float) -> None:
        try:
            answer = self._client.get(self.url)
        except httpx.HTTPError as error:
            self.failures.append(repr(error))
            return
        if answer.status_code != httpx.codes.OK:
            self.failures.append(f"{answer.status_code} {answer.text[:100]}")
            return
        self.seconds.append(time.monotonic() - intended)
