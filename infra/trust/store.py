"""Secrets of an estate, encrypted with age, generated when first asked for, never printed."""

from __future__ import annotations

import base64
import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyrage
from filelock import FileLock
from pyrage import x25519

from infra.errors import YiyunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.paths import EstatePaths


NEXT, PREVIOUS, LEDGER = "#next", "#previous", "#ledger"
Ledger = dict[str, dict[str, str]]
"""Secret's name → `made`, `since` (RFC 3339), and while it is being rotated `phase` and `phase_since`."""


class Secret(str):
    """A secret string: prints as asterisks in representations, so that a log of a plan cannot leak it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('********')"


class SecretStore:
    """Name → secret, in one age file. The key lies beside it (lab) or where `YIYUN_AGE_KEY_FILE` says.

    Beside a secret may stand `NAME#next` and `NAME#previous` while it is being rotated: both count as well
    (`accepted`). `#ledger` holds when each was made, and how far a rotation came: in the same file, so that a
    secret and its phase change in one write.
    """

    def __init__(self, paths: EstatePaths) -> None:
        self._file = paths.secrets
        self._key_file = key_file(paths)
        self._lock = FileLock(paths.root / "secrets.lock", mode=0o600)
        self._values: dict[str, str] | None = None

    def get(self, name: str) -> Secret | None:
        """The secret of that name, or None."""
        value = self._load().get(name)
        return None if value is None else Secret(value)

    def accepted(self, name: str) -> list[Secret]:
        """The secret of that name first, then what is accepted beside it while it is being rotated."""
        values = self._load()
        return [Secret(values[n]) for n in (name, name + NEXT, name + PREVIOUS) if n in values]

    def ensure(self, name: str, make: Callable[[], str]) -> Secret:
        """The secret of that name; made and stored first when there is none."""
        return self.ensure_all({name: make})[name]

    def ensure_all(self, makers: dict[str, Callable[[], str]]) -> dict[str, Secret]:
        """Several secrets at once, with one write."""
        if any(name not in self._load() for name in makers):
            self.update(lambda values: _make_missing(values, makers))
        values = self._load()
        return {name: Secret(values[name]) for name in makers}

    def put(self, name: str, value: str) -> None:
        """Store a secret, replacing an older one."""
        if self._load().get(name) != value:
            self.update(lambda values: values.__setitem__(name, value))

    def update(self, change: Callable[[dict[str, str]], None]) -> None:
        """Change several things in one write, seen from what the file holds now."""
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock:
            before = self._decrypted() if self._file.exists() else {}
            values = dict(before)
            change(values)
            if values != before:
                note_times(before, values, datetime.now(UTC))
                self._save(values)
            self._values = values

    def ledger(self) -> Ledger:
        """What is known of each secret's life, by name."""
        return read_ledger(self._load())

    def names(self) -> list[str]:
        """Names of all secrets, sorted. Never their values."""
        return sorted(name for name in self._load() if "#" not in name)

    def all_values(self) -> dict[str, Secret]:
        """Every value with its name, those of a running rotation too: for those who search for leaks."""
        return {name: Secret(value) for name, value in self._load().items() if name != LEDGER}

    def _load(self) -> dict[str, str]:
        if self._values is None:
            self._values = self._decrypted() if self._file.exists() else {}
        return self._values

    def _decrypted(self) -> dict[str, str]:
        try:
            plain = pyrage.decrypt(self._file.read_bytes(), [_identity(self._key_file)])
        except pyrage.DecryptError:
            raise YiyunError(
                "the secrets cannot be decrypted with this key",
                hint=f"put the estate's own age key at {self._key_file}",
                where=str(self._file),
            ) from None
        values: dict[str, str] = json.loads(plain)
        return values

    def _save(self, values: dict[str, str]) -> None:
        recipient = _identity(self._key_file, create=not self._file.exists()).to_public()
        write_private(self._file, pyrage.encrypt(json.dumps(values, sort_keys=True).encode(), [recipient]))


def read_ledger(values: dict[str, str]) -> Ledger:
    """The ledger among a store's values."""
    ledger: Ledger = json.loads(values.get(LEDGER, "{}"))
    return ledger


def write_ledger(values: dict[str, str], ledger: Ledger) -> None:
    """Put the ledger among a store's values."""
    values[LEDGER] = json.dumps(ledger, sort_keys=True)


def note_times(before: dict[str, str], values: dict[str, str], now: datetime) -> None:
    """Note in the ledger when a value was first made (`made`) and when the present one came (`since`)."""
    ledger, moment = read_ledger(values), now.isoformat(timespec="seconds")
    for name, value in values.items():
        if "#" not in name and before.get(name) != value:
            entry = ledger.setdefault(name, {})
            entry.setdefault("made", moment)
            entry["since"] = moment
    write_ledger(values, ledger)


def _make_missing(values: dict[str, str], makers: dict[str, Callable[[], str]]) -> None:
    for name, make in makers.items():
        if name not in values:
            values[name] = make()


def random_password(length: int = 32) -> str:
    """A random URL-safe secret of `length` characters (about 6 bits of entropy each)."""
    return secrets.token_urlsafe(length)[:length]


def random_key() -> str:
    """32 random bytes in base64, as field keys and WireGuard want them."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def random_psk() -> str:
    """32 random bytes in hexadecimal: a pre-shared key as TLS and Zabbix want it."""
    return secrets.token_hex(32)


def write_private(path: Path, data: bytes) -> None:
    """Write a file only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def opens(file: Path, identity: str) -> bool:
    """Whether an age identity opens a file."""
    try:
        pyrage.decrypt(file.read_bytes(), [x25519.Identity.from_str(identity.strip())])
    except (pyrage.DecryptError, pyrage.IdentityError):
        return False
    return True


def key_file(paths: EstatePaths) -> Path:
    """Where the store's key is: beside it, or where `YIYUN_AGE_KEY_FILE` says."""
    given = os.environ.get("YIYUN_AGE_KEY_FILE")
    return Path(given) if given else paths.secrets_key


def own_identity(paths: EstatePaths) -> x25519.Identity:
    """The key that opens this estate's secrets. Raises YiyunError when it is not here."""
    return _identity(key_file(paths))


def _identity(path: Path, *, create: bool = False) -> x25519.Identity:
    if not path.exists():
        if not create:
            raise YiyunError(
                "the key to the estate's secrets is missing",
                hint="restore it from where the recovery key is kept, or set YIYUN_AGE_KEY_FILE",
                where=str(path),
            )
        write_private(path, f"{x25519.Identity.generate()}\n".encode())
    if path.stat().st_mode & 0o077:
        raise YiyunError(
            "the key to the secrets is readable by others", hint=f"chmod 600 {path}", where=str(path)
        )
    return x25519.Identity.from_str(path.read_text(encoding="ascii").strip())
