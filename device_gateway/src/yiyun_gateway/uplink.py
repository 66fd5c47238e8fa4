"""The line to the platform: HTTPS with a client certificate to the first healthy of several proxies."""

from __future__ import annotations

import json
import logging
import random
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import httpx

from yiyun_gateway.logs import event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from yiyun_gateway.config import Uplink

PATH = "/ingest/v1/results"
DELIVERED = {200, 201}
REFUSED = {400, 409, 413, 422}
"""Answers that would be the same for ever: the message is parked with the answer."""

AWAY = {502, 503, 504}
"""Answers of a proxy or a platform that is not there just now, whatever the message."""

IDLE_S = 1.0
"""An idle connection is not used again after so long: the line's agent needs 1.5 s to change the path, and a
connection from before would answer nothing for `answer_timeout_s` (measured: 5 s)."""

_BASE_BACKOFF_S = 0.1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request. After the last two it must be sent again under its key.

    delivered, refused (for ever), retry (this message failed: its lane waits), away (nobody there: all wait).
    """

    kind: Literal["delivered", "refused", "retry", "away"]
    reason: str = ""


def backoff(failures: int, cap_s: float, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds to wait after `failures` failures in a row: doubling from 0.1 s to `cap_s`, times 0.5 to 1."""
    return min(cap_s, _BASE_BACKOFF_S * 2 ** min(failures - 1, 16)) * uniform(0.5, 1.0)


@dataclass(slots=True)
class _Proxy:
    url: str
    failures: int = 0
    due: float = 0.0
    served: float = 0.0
    """When it last answered."""
    failed: float = 0.0
    """When it last failed. Requests that were on their way then say nothing new when they fail too."""


class Line:
    """Posts documents. A proxy that fails rests for its backoff; one request at a time tries it again."""

    def __init__(self, uplink: Uplink, clock: Callable[[], float] = time.monotonic) -> None:
        self._uplink = uplink
        self._clock = clock
        self._proxies = [_Proxy(url) for url in uplink.urls]
        self._client: httpx.AsyncClient | None = None
        self._certificates: tuple[int, ...] = ()
        self._retired: list[httpx.AsyncClient] = []

    async def close(self) -> None:
        """Close the connections."""
        for client in [*self._retired, *([self._client] if self._client else [])]:
            await client.aclose()

    def wait_s(self) -> float:
        """Seconds until some proxy may be tried; 0 when one is healthy or due."""
        return max(0.0, min(proxy.due for proxy in self._proxies) - self._clock())

    async def post(self, body: bytes, key: str) -> Outcome:
        """Send one document under its idempotency key, trying each proxy that is due once.

        One that failed here and has answered another request meanwhile is asked once more first: the way to
        it has changed, what was lost was lost with the old one, and the next one may be behind that.
        """
        outcome = Outcome("away", "no proxy is due")
        for proxy in self._proxies:
            if proxy.due > self._clock():
                continue
            if proxy.failures:  # claim the trial: nobody else waits on a proxy that is probably still down
                proxy.due = self._clock() + self._uplink.connect_timeout_s + self._uplink.answer_timeout_s
            for _ in range(2):
                began = self._clock()
                outcome = await self._try(proxy, body, key, began)
                if outcome.kind != "away" or proxy.served <= began:
                    break
            if outcome.kind in {"delivered", "refused"}:
                return outcome
        return outcome

    async def _try(self, proxy: _Proxy, body: bytes, key: str, began: float) -> Outcome:
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        try:
            response = await self._http().post(proxy.url + PATH, content=body, headers=headers)
            outcome = judge(response.status_code, response.text)
        except (httpx.HTTPError, OSError) as error:
            outcome = Outcome("away", f"{type(error).__name__}: {error}")
        if outcome.kind != "away":
            proxy.served = self._clock()
            if proxy.failures:
                event(logging.INFO, "uplink recovered", url=proxy.url, failures=proxy.failures)
                proxy.failures, proxy.due = 0, 0.0
        elif max(proxy.served, proxy.failed) <= began:
            proxy.failures, proxy.failed = proxy.failures + 1, self._clock()
            proxy.due = proxy.failed + backoff(proxy.failures, self._uplink.backoff_cap_s)
            if proxy.failures == 1:
                event(logging.WARNING, "uplink failing", url=proxy.url, reason=outcome.reason)
        return outcome

    def _http(self) -> httpx.AsyncClient:
        """The client; made anew when a certificate file changed, so rotation needs no restart."""
        files = [path for path in (self._uplink.ca, self._uplink.cert, self._uplink.key) if path is not None]
        stamp = tuple(path.stat().st_mtime_ns for path in files)
        if self._client is None or stamp != self._certificates:
            if self._client is not None:
                self._retired.append(self._client)
            self._client = httpx.AsyncClient(
                verify=tls_context(*files) if files else True,
                timeout=httpx.Timeout(self._uplink.answer_timeout_s, connect=self._uplink.connect_timeout_s),
                limits=httpx.Limits(max_connections=2 * self._uplink.in_flight, keepalive_expiry=IDLE_S),
                trust_env=False,
            )
            self._certificates = stamp
        return self._client


def tls_context(ca: Path, cert: Path, key: Path) -> ssl.SSLContext:
    """Return a client context that trusts only `ca` and shows `cert`.

    Raises OSError (ssl.SSLError is one) when they do not fit.
    """
    context = ssl.create_default_context(cafile=str(ca))
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # Python 3.13's default, so that 3.11 judges alike
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(str(cert), str(key))
    return context


def judge(status: int, text: str) -> Outcome:
    """Turn an HTTP answer into an outcome. A 200/201 must be the platform's receipt."""
    if status in DELIVERED:
        return (
            Outcome("delivered")
            if _is_receipt(text)
            else Outcome("retry", f"HTTP {status} without a receipt")
        )
    if status in REFUSED:
        return Outcome("refused", f"platform answered {status}: {text[:2000]}")
    return Outcome("away" if status in AWAY else "retry", f"HTTP {status}")


def _is_receipt(text: str) -> bool:
    try:
        answer: Any = json.loads(text)
    except ValueError:
        return False
    return isinstance(answer, dict) and isinstance(answer.get("duplicate"), bool)
