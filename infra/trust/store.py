"""Secrets of an estate, encrypted with age, generated when first asked for, never printed."""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import pyrage
from pyrage import x25519

from infra.errors import YiyunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.paths import EstatePaths


class Secret(str):
    """A secret string: prints as asterisks in representations, so that a log of a plan cannot leak it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('********')"


class SecretStore:
    """Name → secret, in one age file. The key lies beside it (lab) or where `YIYUN_AGE_KEY_FILE` says."""

    def __init__(self, paths: EstatePaths) -> None:
        self._file = paths.secrets
        self._key_file = _key_file(paths)
        self._values: dict[str, str] | None = None

    def get(self, name: str) -> Secret | None:
        """The secret of that name, or None."""
        value = self._load().get(name)
        return None if value is None else Secret(value)

    def ensure(self, name: str, make: Callable[[], str]) -> Secret:
        """The secret of that name; made and stored first when there is none."""
        values = self._load()
        if name not in values:
            values[name] = make()
            self._save(values)
        return Secret(values[name])

    def ensure_all(self, makers: dict[str, Callable[[], str]]) -> dict[str, Secret]:
        """Several secrets at once, with one write."""
        values = self._load()
        missing = [name for name in makers if name not in values]
        for name in missing:
            values[name] = makers[name]()
        if missing:
            self._save(values)
        return {name: Secret(values[name]) for name in makers}

    def put(self, name: str, value: str) -> None:
        """Store a secret, replacing an older one."""
        values = self._load()
        if values.get(name) != value:
            values[name] = value
            self._save(values)

    def names(self) -> list[str]:
        """Names of all secrets, sorted. Never their values."""
        return sorted(self._load())

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
        recipient = _identity(self._key_file, create=True).to_public()
        write_private(self._file, pyrage.encrypt(json.dumps(values, sort_keys=True).encode(), [recipient]))


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


def _key_file(paths: EstatePaths) -> Path:
    given = os.environ.get("YIYUN_AGE_KEY_FILE")
    return Path(given) if given else paths.secrets_key


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
