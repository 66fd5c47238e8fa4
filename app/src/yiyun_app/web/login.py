"""Signed cookies, tokens in forms, and the brake on guessing passwords."""

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from itsdangerous import BadSignature, TimestampSigner

SESSION_COOKIE = "__Host-yiyun_session"
CSRF_COOKIE = "__Host-yiyun_csrf"
LANGUAGE_COOKIE = "yiyun_lang"
MAX_FAILURES = 5
WINDOW_SECONDS = 300.0
_MAX_TRACKED = 10_000
_CREDENTIAL_SECONDS = 60.0


class Signer:
    """Signs what the browser keeps; the keys are the same on every application host."""

    def __init__(self, keys: str | Callable[[], Sequence[str]], session_hours: float) -> None:
        """Take one key, or what gives the accepted ones: the first signs, all of them open."""
        self._keys = (lambda: (keys,)) if isinstance(keys, str) else keys
        self._seconds = int(session_hours * 3600)

    @property
    def key(self) -> str:
        """The key that signs now."""
        return self._keys()[0]

    def seal(self, identifier: str) -> str:
        """The session cookie's value."""
        return self._signer().sign(identifier).decode()

    def open(self, cookie: str | None) -> str | None:
        """The session identifier of an intact and not outdated cookie."""
        try:
            return self._signer().unsign(cookie, max_age=self._seconds).decode() if cookie else None
        except BadSignature:
            return None

    def form_token(self, browser: str) -> str:
        """Token that proves that a form was made for the browser holding this cookie value."""
        return _form_token(self.key, browser)

    def form_is_ours(self, browser: str | None, token: str) -> bool:
        """Whether a posted token belongs to the browser's cookie."""
        tokens = [_form_token(key, browser or "") for key in self._keys()]
        return bool(browser) and any(hmac.compare_digest(own, token) for own in tokens)

    def _signer(self) -> TimestampSigner:
        newest_last = [*reversed(self._keys())]
        return TimestampSigner(newest_last, salt="yiyun session", digest_method=hashlib.sha256)


def _form_token(key: str, browser: str) -> str:
    return hmac.new(key.encode(), f"form\0{browser}".encode(), hashlib.sha256).hexdigest()


class LoginGuard:
    """Counts failed logins of an account from an address, in this process, for five minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._proven: OrderedDict[bytes, float] = OrderedDict()
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()

    def wait_seconds(self, account: str, address: str) -> float:
        """Seconds until the next attempt is allowed; 0 when it is allowed now."""
        with self._lock:
            times = self._recent((account, address))
            return max(0.0, times[0] + WINDOW_SECONDS - self._clock()) if len(times) >= MAX_FAILURES else 0.0

    def failed(self, account: str, address: str) -> None:
        """Count a failure."""
        with self._lock:
            times = self._recent((account, address))
            times.append(self._clock())
            self._failures[account, address] = times
            self._failures.move_to_end((account, address))
            while len(self._failures) > _MAX_TRACKED:
                self._failures.popitem(last=False)

    def succeeded(self, account: str, address: str) -> None:
        """Forget the failures."""
        with self._lock:
            self._failures.pop((account, address), None)

    def remember(self, account: str, password: str, stored_hash: str) -> None:
        """Remember for a minute that a password fits a stored hash (argon2 is slow on purpose)."""
        with self._lock:
            self._proven[self._proof(account, password, stored_hash)] = self._clock() + _CREDENTIAL_SECONDS
            while len(self._proven) > _MAX_TRACKED:
                self._proven.popitem(last=False)

    def remembers(self, account: str, password: str, stored_hash: str) -> bool:
        """Whether the password was proven against this very hash within the last minute."""
        with self._lock:
            return self._proven.get(self._proof(account, password, stored_hash), 0.0) > self._clock()

    def _proof(self, account: str, password: str, stored_hash: str) -> bytes:
        text = "\0".join((account, password, stored_hash))
        return hmac.new(self._secret, text.encode(), hashlib.sha256).digest()

    def _recent(self, key: tuple[str, str]) -> deque[float]:
        times = self._failures.get(key, deque())
        while times and times[0] <= self._clock() - WINDOW_SECONDS:
            times.popleft()
        return times
