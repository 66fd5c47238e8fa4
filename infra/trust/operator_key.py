"""The operator's own Ed25519 signing keys: not of one estate, so that removing a lab leaves them.

A public key is written `ed25519:BASE64`, as it is printed, pinned and given by `--key`.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from infra.errors import BadInputError, YiyunError
from infra.paths import state_root
from infra.trust.store import write_private

PREFIX = "ed25519:"
KEY_BYTES = 32


@dataclass(frozen=True)
class OperatorKey:
    """A key by its file's name in the state folder, and the variable that names another place for it."""

    name: str
    variable: str

    def file(self) -> Path:
        """Where the private key is."""
        return Path(os.environ.get(self.variable) or state_root() / self.name)

    def private(self) -> Ed25519PrivateKey:
        """The key, made on first use, mode 0600. Raises YiyunError when the file is no such key."""
        path = self.file()
        if not path.exists():
            made = Ed25519PrivateKey.generate()
            write_private(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        if path.stat().st_mode & 0o077:
            raise YiyunError(
                "the signing key is readable by others", hint=f"chmod 600 {path}", where=str(path)
            )
        try:
            key = load_pem_private_key(path.read_bytes(), None)
        except ValueError as error:
            raise self._no_key(path) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise self._no_key(path)
        return key

    def _no_key(self, path: Path) -> YiyunError:
        return YiyunError("this is not an Ed25519 private key", hint=f"see {self.variable}", where=str(path))


def key_text(key: Ed25519PublicKey) -> str:
    """A public key as it is printed and pinned."""
    return PREFIX + base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode("ascii")


def parse_key(text: str) -> Ed25519PublicKey:
    """A public key from its text. Raises BadInputError when it is none."""
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except ValueError:
        raw = b""
    if not text.startswith(PREFIX) or len(raw) != KEY_BYTES:
        raise BadInputError(f"{text!r} is not a key", hint=f"{PREFIX}BASE64, as it was printed")
    return Ed25519PublicKey.from_public_bytes(raw)


def given_key(word: str) -> str:
    """A key's text, given as such or as a file that holds it. Raises BadInputError when it is none."""
    path = Path(word)
    text = (path.read_text(encoding="ascii", errors="replace") if path.is_file() else word).strip()
    parse_key(text)
    return text
