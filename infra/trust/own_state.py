"""What yiyun itself must have to bring an estate back: its file, its secrets, what the engine knows.

One archive, encrypted to the key that opens the secrets, which the recovery kit has: it opens where nothing
else is left.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

import pyrage

from infra.errors import BadInputError
from infra.trust.store import own_identity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyrage import x25519

    from infra.estate.model import Estate
    from infra.paths import EstatePaths

NAME = "yiyun-state"
ESTATE, SECRETS, HOST_KEYS, ENGINE = "estate.json", "secrets.age", "learnt-host-keys.json", "engine"


def decided(estate: Estate, paths: EstatePaths) -> dict[str, bytes]:
    """Name → content of what people decide, the estate and its secrets."""
    found = {ESTATE: estate.model_dump_json(indent=1).encode(), SECRETS: paths.secrets.read_bytes()}
    if paths.learnt_host_keys.exists():
        found[HOST_KEYS] = paths.learnt_host_keys.read_bytes()
    return found


def sealed(estate: Estate, paths: EstatePaths) -> bytes:
    """The archive as it is now. Raises YiyunError without the key to the secrets."""
    known = sorted(p for p in paths.pulumi.glob(".pulumi/stacks/**/*.json") if p.is_file())
    known += [paths.engine_passphrase] if paths.engine_passphrase.exists() else []
    engine = {f"{ENGINE}/{p.relative_to(paths.root)}": p.read_bytes() for p in known}
    return pyrage.encrypt(_packed({**decided(estate, paths), **engine}), [own_identity(paths).to_public()])


def opened(archived: bytes, identity: x25519.Identity) -> dict[str, bytes]:
    """Name → content of an archive's files. Raises BadInputError when this key does not open it."""
    try:
        plain = pyrage.decrypt(archived, [identity])
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            files = [(m.name, archive.extractfile(m)) for m in archive.getmembers() if m.isfile()]
            return {name: file.read() for name, file in files if file is not None}
    except (pyrage.DecryptError, tarfile.TarError) as error:
        raise BadInputError(f"the estate's own state cannot be opened: {error}", hint="its own key") from None


def digest_of(files: Mapping[str, bytes]) -> str:
    """Of what people decide, of an archive too: it changes when there is more to lose."""
    named = {name: data for name, data in files.items() if not name.startswith(f"{ENGINE}/")}
    return hashlib.sha256(_packed(named)).hexdigest()


def _packed(files: Mapping[str, bytes]) -> bytes:
    """The same bytes for the same files: no times, no owners."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()
