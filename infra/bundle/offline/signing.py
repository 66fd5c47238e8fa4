"""Whose an offline folder is: the operator's Ed25519 key, and the keys this machine trusts.

The key belongs to the operator, not to one estate: a folder serves any estate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature

from infra.bundle.offline.model import LOCK, SIGNATURE, OfflineLock, read_lock
from infra.errors import RefusedError
from infra.paths import state_root
from infra.trust.operator_key import OperatorKey, given_key, key_text, parse_key
from infra.trust.store import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY = OperatorKey("bundle-signing.pem", "YIYUN_BUNDLE_KEY_FILE")


def pins_file() -> Path:
    """Public keys that were given by `bundle use --key`, one a line."""
    return state_root() / "bundle-trusted-keys"


def sign(folder: Path, key: Ed25519PrivateKey) -> None:
    """Sign the folder's lock."""
    (folder / SIGNATURE).write_bytes(key.sign((folder / LOCK).read_bytes()))


def trusted_keys(given: str = "") -> tuple[str, ...]:
    """The key that was given (text, or a file that holds it), else those pinned here and the operator's own.

    Raises BadInputError when what was given is no key.
    """
    if given:
        return (given_key(given),)
    own = [key_text(KEY.private().public_key())] if KEY.file().exists() else []
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
            parse_key(key).verify(signature, lock)
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
