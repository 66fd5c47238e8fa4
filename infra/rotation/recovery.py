"""The recovery key: the age identity that opens the store, kept apart, put back where it is missing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyrage
from pydantic import BaseModel, Field

from infra.errors import BadInputError, RefusedError, YiyunError
from infra.estate.backups import stores_of
from infra.estate.endpoints import endpoints
from infra.services.backup import READER
from infra.trust.material import Material
from infra.trust.store import key_file, opens, write_private

if TYPE_CHECKING:
    from pathlib import Path

    from infra.estate.model import Estate
    from infra.paths import EstatePaths

MIN_PASSPHRASE = 16


class StoreOfCopies(BaseModel):
    """How the copies in the other region are reached: where nothing of the estate is left, this is."""

    region: str
    endpoint: str
    bucket: str
    account: str
    secret: str


class Kit(BaseModel):
    """What the recovery kit holds: the key to the secrets, the way to the copies, and whose word counts."""

    estate: str
    made: str
    identity: str
    copies: StoreOfCopies | None = None
    authority: str = ""
    """Certificates (PEM) that the store's is judged by."""
    signers: dict[str, str] = Field(default_factory=dict[str, str])
    """Host → public key, in hexadecimal, of what it signs its catalogue with."""
    premises: dict[str, str] = Field(default_factory=dict[str, str])
    """Machine that stands elsewhere → its SSH host key, so that it is known again."""


def export_recovery(
    estate: Estate, paths: EstatePaths, to: Path, *, recipient: str = "", passphrase: str = ""
) -> None:
    """Write the kit to a new file, encrypted to an age recipient or with a passphrase.

    Raises RefusedError when the file exists, BadInputError for a bad recipient or a short passphrase,
    YiyunError when this estate has no key here.
    """
    if to.exists():
        raise RefusedError(f"{to} exists already", hint="choose another name")
    source = key_file(paths)
    if not source.exists():
        raise YiyunError("there is no key to export", hint="yiyun up makes it", where=str(source))
    plain = kit_of(estate, paths, source.read_text(encoding="ascii").strip()).model_dump_json().encode()
    write_private(to, _to_recipient(plain, recipient) if recipient else _by_passphrase(plain, passphrase))


def kit_of(estate: Estate, paths: EstatePaths, identity: str) -> Kit:
    """The kit of an estate as it is now. `identity`: the key to its secrets."""
    material = Material(estate, paths)
    return Kit(
        estate=estate.estate,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        identity=identity,
        copies=_copies(estate, material),
        authority=material.trusted(),
        signers=material.backup_signers(),
        premises=_premises(estate, paths),
    )


def _premises(estate: Estate, paths: EstatePaths) -> dict[str, str]:
    """As the operators' machine has pinned them; nothing of a machine that was never reached."""
    pinned = paths.known_hosts.read_text(encoding="utf-8") if paths.known_hosts.exists() else ""
    keys = dict(line.split(" ", 1) for line in pinned.splitlines() if " " in line)
    return {h.name: keys[h.name] for h in estate.hosts if h.site and h.name in keys}


def _copies(estate: Estate, material: Material) -> StoreOfCopies | None:
    """Of an estate with backups in another region."""
    far = [(region, bucket) for region, bucket in stores_of(estate) if region != estate.region.name]
    if not far:
        return None
    region, bucket = far[-1]
    endpoint = next(e for e in endpoints(estate) if e.region == region)
    # In a lab operators come through a port of this machine, which the store's certificate names too.
    port = estate.lab.published.backups if endpoint.address else endpoint.service.port("s3").number
    return StoreOfCopies(
        region=region,
        endpoint=f"https://{'127.0.0.1' if endpoint.address else endpoint.host_name}:{port}",
        bucket=bucket,
        account=READER,
        secret=material.bucket_keys()[READER],
    )


def read_kit(file: Path, *, identity: str = "", passphrase: str = "") -> Kit:
    """Open a kit. Raises BadInputError when it cannot be opened with that, or is none."""
    try:
        data = file.read_bytes()
        if identity:
            plain = pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(identity.strip())])
        else:
            plain = pyrage.passphrase.decrypt(data, passphrase)
        return Kit.model_validate_json(plain)
    except (OSError, pyrage.DecryptError, pyrage.IdentityError, ValueError) as error:
        raise BadInputError(
            f"{file} cannot be opened: {error}", hint="the key or passphrase it was made for"
        ) from None


def import_recovery(paths: EstatePaths, file: Path, *, identity: str = "", passphrase: str = "") -> None:
    """Put the store's key back from an exported file, when it opens this estate's store.

    Raises BadInputError when the file cannot be opened or is another estate's, RefusedError when a key that
    opens the store is there already.
    """
    if not paths.secrets.exists():
        raise BadInputError("this estate has no secrets here", hint=f"copy {paths.secrets.name} back first")
    kit = read_kit(file, identity=identity, passphrase=passphrase)
    if kit.estate != paths.estate:
        raise BadInputError(f"{file} is the key of the estate {kit.estate}", where=str(file))
    target = key_file(paths)
    if target.exists() and opens(paths.secrets, target.read_text(encoding="ascii")):
        raise RefusedError(
            "the key that is there opens the secrets", hint="nothing was changed", where=str(target)
        )
    if not opens(paths.secrets, kit.identity):
        raise BadInputError(
            f"{file} does not open these secrets: the key was replaced since",
            hint="use the newest export",
            where=str(file),
        )
    write_private(target, kit.identity.encode() + b"\n")


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
