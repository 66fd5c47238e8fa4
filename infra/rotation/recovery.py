"""The recovery key: the age identity that opens the store, kept apart, put back where it is missing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyrage

from infra.errors import BadInputError, RefusedError, YiyunError
from infra.trust.store import key_file, opens, write_private

if TYPE_CHECKING:
    from pathlib import Path

    from infra.paths import EstatePaths

MIN_PASSPHRASE = 16


def export_recovery(paths: EstatePaths, to: Path, *, recipient: str = "", passphrase: str = "") -> None:
    """Write the store's key to a new file, encrypted to an age recipient or with a passphrase.

    Raises RefusedError when the file exists, BadInputError for a bad recipient or a short passphrase,
    YiyunError when this estate has no key here.
    """
    if to.exists():
        raise RefusedError(f"{to} exists already", hint="choose another name")
    source = key_file(paths)
    if not source.exists():
        raise YiyunError("there is no key to export", hint="yiyun up makes it", where=str(source))
    content = {
        "estate": paths.estate,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "identity": source.read_text(encoding="ascii").strip(),
    }
    plain = json.dumps(content).encode()
    write_private(to, _to_recipient(plain, recipient) if recipient else _by_passphrase(plain, passphrase))


def import_recovery(paths: EstatePaths, file: Path, *, identity: str = "", passphrase: str = "") -> None:
    """Put the store's key back from an exported file, when it opens this estate's store.

    Raises BadInputError when the file cannot be opened or is another estate's, RefusedError when a key that
    opens the store is there already.
    """
    if not paths.secrets.exists():
        raise BadInputError("this estate has no secrets here", hint=f"copy {paths.secrets.name} back first")
    content = _opened(file, identity, passphrase)
    if content.get("estate") != paths.estate:
        raise BadInputError(f"{file} is the key of the estate {content.get('estate')}", where=str(file))
    target = key_file(paths)
    if target.exists() and opens(paths.secrets, target.read_text(encoding="ascii")):
        raise RefusedError(
            "the key that is there opens the secrets", hint="nothing was changed", where=str(target)
        )
    if not opens(paths.secrets, content["identity"]):
        raise BadInputError(
            f"{file} does not open these secrets: the key was replaced since",
            hint="use the newest export",
            where=str(file),
        )
    write_private(target, content["identity"].encode() + b"\n")


def _to_recipient(plain: bytes, recipient: str) -> bytes:
    try:
        return pyrage.encrypt(plain, [pyrage.x25519.Recipient.from_str(recipient)])
    except pyrage.RecipientError:
        raise BadInputError("that is no age recipient", hint="age1…, as `age-keygen -y` prints it") from None


def _by_passphrase(plain: bytes, passphrase: str) -> bytes:
    if len(passphrase) < MIN_PASSPHRASE:
        raise BadInputError(
            f"the passphrase is shorter than {MIN_PASSPHRASE} characters", hint="take a longer one"
        )
    return pyrage.passphrase.encrypt(plain, passphrase)


def _opened(file: Path, identity: str, passphrase: str) -> dict[str, Any]:
    try:
        data = file.read_bytes()
        if identity:
            plain = pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(identity.strip())])
        else:
            plain = pyrage.passphrase.decrypt(data, passphrase)
        content: dict[str, Any] = json.loads(plain)
    except (OSError, pyrage.DecryptError, pyrage.IdentityError, ValueError) as error:
        raise BadInputError(
            f"{file} cannot be opened: {error}", hint="the key or passphrase it was made for"
        ) from None
    return content
