"""Protection of ID numbers and phones at rest: AES-256-GCM, and a keyed index to look them up by.

Several keys may be accepted at once, so that a key is replaced without a pause: the first one encrypts, the
others still open and find what was stored under them, until everything is stored under the first one.
"""

import hashlib
import hmac
import os
from collections.abc import Callable, Sequence
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_UNNAMED, _NAMED = b"\x01", b"\x02"
"""First byte of a stored field: without the key's name (as the first release wrote), or with it."""
_NONCE_BYTES = 12
_NAME_BYTES = 4
KEY_BYTES = 32


class FieldDecryptionError(Exception):
    """A stored field does not open under any accepted key: wrong keys, or the row was altered."""


class _Key:
    def __init__(self, key: bytes) -> None:
        self.aead = AESGCM(_derive(key, b"yiyun field encryption"))
        self.index = _derive(key, b"yiyun blind index")
        self.name = _derive(key, b"yiyun key name")[:_NAME_BYTES]


class FieldCipher:
    """Encrypts single fields; each ciphertext is bound to its column and row so that none can be moved."""

    def __init__(self, keys: bytes | Callable[[], Sequence[bytes]]) -> None:
        """Take one 32-byte key, or what gives the accepted ones, the current first."""
        self._keys = (lambda: (keys,)) if isinstance(keys, bytes) else keys
        for key in self._keys():
            if len(key) != KEY_BYTES:
                raise ValueError(f"the field key has {len(key)} bytes, it must have {KEY_BYTES}")

    def encrypt(self, text: str, column: str, row: str) -> bytes:
        """Encrypt a field of a row: version, key's name, 12-byte random nonce, ciphertext, 16-byte tag."""
        key, nonce = self._accepted()[0], os.urandom(_NONCE_BYTES)
        return _NAMED + key.name + nonce + key.aead.encrypt(nonce, text.encode(), _context(column, row))

    def decrypt(self, stored: bytes, column: str, row: str) -> str:
        """Open a field encrypted for the same column and row; raise FieldDecryptionError otherwise."""
        keys = self._accepted()
        if stored[:1] == _NAMED:
            name, body = stored[1 : 1 + _NAME_BYTES], stored[1 + _NAME_BYTES :]
            keys = [key for key in keys if key.name == name]
        elif stored[:1] == _UNNAMED:
            body = stored[1:]
        else:
            raise FieldDecryptionError(f"{column} has an unknown encryption version")
        for key in keys:
            try:
                nonce, ciphertext = body[:_NONCE_BYTES], body[_NONCE_BYTES:]
                return key.aead.decrypt(nonce, ciphertext, _context(column, row)).decode()
            except InvalidTag:
                continue
        raise FieldDecryptionError(f"{column} does not open under the configured key")

    @property
    def prefix(self) -> bytes:
        """How everything begins that is encrypted under the current key."""
        return _NAMED + self._accepted()[0].name

    def blind_index(self, text: str, column: str) -> bytes:
        """32-byte HMAC-SHA256 by which an encrypted value can be found without being decrypted."""
        return self.blind_indexes(text, column)[0]

    def blind_indexes(self, text: str, column: str) -> list[bytes]:
        """The index under every accepted key, the current one first: a row may still carry an older one."""
        message = f"{column}\0{text}".encode()
        return [hmac.new(key.index, message, hashlib.sha256).digest() for key in self._accepted()]

    def _accepted(self) -> list[_Key]:
        return [_key(key) for key in self._keys()]


@lru_cache(maxsize=8)
def _key(key: bytes) -> _Key:
    return _Key(key)


def _context(column: str, row: str) -> bytes:
    return f"{column}\0{row}".encode()


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(key)
