"""Protection of ID numbers and phones at rest: AES-256-GCM, and a keyed index to look them up by."""

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_VERSION = b"\x01"
_NONCE_BYTES = 12
KEY_BYTES = 32


class FieldDecryptionError(Exception):
    """A stored field does not open under the configured key: wrong key, or the row was altered."""


class FieldCipher:
    """Encrypts single fields; each ciphertext is bound to its column and row so that none can be moved."""

    def __init__(self, key: bytes) -> None:
        """Take the 32-byte master key; encryption and index get keys derived by HKDF-SHA256."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"the field key has {len(key)} bytes, it must have {KEY_BYTES}")
        self._aead = AESGCM(_derive(key, b"yiyun field encryption"))
        self._index_key = _derive(key, b"yiyun blind index")

    def encrypt(self, text: str, column: str, row: str) -> bytes:
        """Encrypt a field of a row: version byte, 12-byte random nonce, ciphertext with 16-byte tag."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._aead.encrypt(nonce, text.encode(), _context(column, row))

    def decrypt(self, stored: bytes, column: str, row: str) -> str:
        """Open a field encrypted for the same column and row; raise FieldDecryptionError otherwise."""
        if stored[:1] != _VERSION:
            raise FieldDecryptionError(f"{column} has an unknown encryption version")
        nonce, ciphertext = stored[1 : 1 + _NONCE_BYTES], stored[1 + _NONCE_BYTES :]
        try:
            return self._aead.decrypt(nonce, ciphertext, _context(column, row)).decode()
        except InvalidTag as error:
            raise FieldDecryptionError(f"{column} does not open under the configured key") from error

    def blind_index(self, text: str, column: str) -> bytes:
        """32-byte HMAC-SHA256 by which an encrypted value can be found without being decrypted."""
        return hmac.new(self._index_key, f"{column}\0{text}".encode(), hashlib.sha256).digest()


def _context(column: str, row: str) -> bytes:
    return f"{column}\0{row}".encode()


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(key)
