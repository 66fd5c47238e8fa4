"""What `secrets list` shows: age, when due, phase, end and issuer of certificates. Never a value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography.x509.oid import NameOID

from infra.rotation.catalogue import ENGINE_PASSPHRASE, HOST_KEY, OBJECT_STORE, RECOVERY_KEY, Entry, catalogue
from infra.rotation.policy import rule_of
from infra.rotation.rotators import ROTATORS
from infra.trust.material import unpack

if TYPE_CHECKING:
    from pathlib import Path

    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from infra.trust.material import Material


@dataclass(frozen=True)
class Listed:
    """One entry with what is known of its life."""

    entry: Entry
    since: datetime | None
    due: datetime | None
    phase: str | None
    not_after: datetime | None
    issuer: str | None

    def overdue(self, now: datetime) -> bool:
        """Whether it should have been replaced by now."""
        return self.due is not None and self.due <= now

    def as_json(self, now: datetime) -> dict[str, Any]:
        """The entry of `secrets` in the JSON contract."""
        return {
            "name": self.entry.name,
            "kind": self.entry.kind,
            "services": list(self.entry.services),
            "hosts": list(self.entry.hosts),
            "since": _text(self.since),
            "age_days": (now - self.since).days if self.since else None,
            "due": _text(self.due),
            "overdue": self.overdue(now),
            "phase": self.phase,
            "not_after": _text(self.not_after),
            "issuer": self.issuer,
            "rotatable": self.entry.kind in ROTATORS,
        }


def listing(estate: Estate, material: Material) -> list[Listed]:
    """Every secret of the estate."""
    ledger, stored = material.store.ledger(), material.store.names()
    found: list[Listed] = []
    for entry in catalogue(estate, stored):
        known, pair = ledger.get(entry.name, {}), _certificate(material, entry)
        since = (
            datetime.fromisoformat(known["since"]) if "since" in known else _since_file(entry, material.paths)
        )
        certificate = pair.x509 if pair else None
        not_after = certificate.not_valid_after_utc if certificate else None
        if certificate and since is None:
            since = certificate.not_valid_before_utc
        names = certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME) if certificate else []
        made = since is not None or entry.name in stored
        due = rule_of(entry.kind).due(since, not_after) if made else None
        issuer = str(names[0].value) if names else None
        found.append(Listed(entry, since, due, known.get("phase"), not_after, issuer))
    return found


def due_names(listed: list[Listed], now: datetime) -> list[str]:
    """Names of those that should have been replaced by now."""
    return [one.entry.name for one in listed if one.overdue(now)]


def _certificate(material: Material, entry: Entry) -> Any:
    text = material.store.get(entry.name) if entry.kind in {"certificate", "authority"} else None
    return unpack(text) if text else None


def _since_file(entry: Entry, paths: EstatePaths) -> datetime | None:
    """When a secret that is a file of its own was made: that file's time."""
    path = _file_of(entry.name, paths)
    if path is None or not path.exists():
        return None
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _file_of(name: str, paths: EstatePaths) -> Path | None:
    if name.startswith(HOST_KEY):
        return paths.lab / "hosts" / name.removeprefix(HOST_KEY) / "upper/etc/ssh/ssh_host_ed25519_key"
    if name.startswith(OBJECT_STORE):
        return paths.lab / "objectstore" / f"{name.removeprefix(OBJECT_STORE)}.json"
    return {RECOVERY_KEY: paths.secrets_key, ENGINE_PASSPHRASE: paths.engine_passphrase}.get(name)


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
