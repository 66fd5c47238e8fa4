"""Whose an offline folder is: the operator's Ed25519 key, and the keys this machine trusts.

The key belongs to the operator, not to one estate: a folder serves any estate, and removing a lab must not
take it along. A key is written `ed25519:BASE64`, as it is printed, pinned and given by `--key`.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from infra.bundle.offline.model import LOCK, SIGNATURE, OfflineLock, read_lock
from infra.errors import BadInputError, RefusedError, YiyunError
from infra.paths import state_root
from infra.trust.store import write_private

PREFIX = "ed25519:"
KEY_BYTES = 32
KEY_VARIABLE = "YIYUN_BUNDLE_KEY_FILE"
"""Where the private key is when it is not beside the estates' states."""


def key_file() -> Path:
    """The operator's private key."""
    return Path(os.environ.get(KEY_VARIABLE) or state_root() / "bundle-signing.pem")


def pins_file() -> Path:
    """Public keys that were given by `bundle use --key`, one a line."""
    return state_root() / "bundle-trusted-keys"


def signing_key() -> Ed25519PrivateKey:
    """The operator's key, made on first use, mode 0600. Raises YiyunError when it is no such key."""
    path = key_file()
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    if path.stat().st_mode & 0o077:
        raise YiyunError("the signing key is readable by others", hint=f"chmod 600 {path}", where=str(path))
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except ValueError as error:
        raise _no_key(path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path)
    return key


def public_text(key: Ed25519PrivateKey) -> str:
    """The public half as it is printed and pinned."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return PREFIX + base64.b64encode(raw).decode("ascii")


def sign(folder: Path, key: Ed25519PrivateKey) -> None:
    """Sign the folder's lock."""
    (folder / SIGNATURE).write_bytes(key.sign((folder / LOCK).read_bytes()))


def trusted_keys(given: str = "") -> tuple[str, ...]:
    """The key that was given (text, or a file that holds it), else those pinned here and the operator's own.

    Raises BadInputError when what was given is no key.
    """
    if given:
        path = Path(given)
        text = path.read_text(encoding="ascii", errors="replace") if path.is_file() else given
        _parsed(text.strip())
        return (text.strip(),)
    own = [public_text(signing_key())] if key_file().exists() else []
    pinned = pins_file().read_text(encoding="ascii").split() if pins_file().exists() else []
    return (*own, *pinned)


def pin(key: str) -> None:
    """Trust a key from now on."""
    pinned = pins_file().read_text(encoding="ascii").split() if pins_file().exists() else []
    if key not in pinned:
        write_private(pins_file(), "".join(f"{k}\n" for k in [*pinned, key]).encode())


def signed_lock(folder: Path, trusted: tuple[str, ...]) -> tuple[str, OfflineLock]:
    """The trusted key that signed the folder's lock, and that very lock. Raises RefusedError without one."""
    signer = read_lock(folder).signer
    lock = (folder / LOCK).read_bytes()
    if not (folder / SIGNATURE).is_file():
        raise RefusedError(f"{SIGNATURE} is missing: nobody answers for this folder", hint=_ask(signer))
    signature = (folder / SIGNATURE).read_bytes()
    for key in trusted:
        try:
            _parsed(key).verify(signature, lock)
        except InvalidSignature:
            continue
        return key, OfflineLock.model_validate_json(lock)
    if signer in trusted:
        raise RefusedError(
            f"{SIGNATURE} does not fit {LOCK}: one of them was altered after signing",
            hint="get the folder again from where it was built",
        )
    raise RefusedError(f"signed by {signer}, which nobody here trusts", hint=_ask(signer))


def _ask(signer: str) -> str:
    return f"ask the builder for the key by another way; if it is this one, add --key {signer}"


def _parsed(text: str) -> Ed25519PublicKey:
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except ValueError:
        raw = b""
    if not text.startswith(PREFIX) or len(raw) != KEY_BYTES:
        raise BadInputError(f"{text!r} is not a key", hint=f"{PREFIX}BASE64, as `bundle build` printed it")
    return Ed25519PublicKey.from_public_bytes(raw)


def _no_key(path: Path) -> YiyunError:
    return YiyunError("this is not an Ed25519 private key", hint=f"see {KEY_VARIABLE}", where=str(path))
