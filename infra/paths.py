"""Where yiyun keeps what it made: state an estate, and caches that may be thrown away."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def state_root() -> Path:
    """Folder of all estates' states: `YIYUN_STATE`, else the user's state folder."""
    return Path(os.environ.get("YIYUN_STATE") or platformdirs.user_state_path("yiyun"))


def cache_root() -> Path:
    """Folder of rebuildable things (engine, images, bundles): `YIYUN_CACHE`, else the user's cache folder."""
    return Path(os.environ.get("YIYUN_CACHE") or platformdirs.user_cache_path("yiyun"))


def cold() -> bool:
    """True when `YIYUN_COLD=1` asks that no cache be believed."""
    return os.environ.get("YIYUN_COLD", "") not in ("", "0")


class EstatePaths:
    """The files of one estate's state. All of it is private to its owner (mode 0700)."""

    def __init__(self, estate: str, root: Path | None = None) -> None:
        self.estate = estate
        self.root = (root or state_root()) / estate

    def ensure(self) -> EstatePaths:
        """Make the state folder, readable by its owner only."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root.chmod(0o700)
        return self

    @property
    def drills(self) -> Path:
        """Evidence and reports of drills: an auditor's, so that removing the estate leaves them."""
        return self.root.parent / "drills.d" / self.estate

    @property
    def lock(self) -> Path:
        """One lock an estate; it names its holder."""
        return self.root / "lock"

    @property
    def journal(self) -> Path:
        """Which steps of `up` are done, as JSON."""
        return self.root / "steps.json"

    @property
    def pulumi(self) -> Path:
        """The engine's `file://` backend."""
        return self.root / "pulumi"

    @property
    def engine_passphrase(self) -> Path:
        """What opens the secrets in the engine's state, mode 0600."""
        return self.root / "pulumi-passphrase"

    @property
    def records(self) -> Path:
        """The lab driver's durable records: `KIND/NAME.json`."""
        return self.root / "records"

    @property
    def lab(self) -> Path:
        """What `realise` made on disk: hosts' system disks, data disks, run files."""
        return self.root / "lab"

    @property
    def secrets(self) -> Path:
        """Secrets, encrypted with age."""
        return self.root / "secrets.age"

    @property
    def secrets_key(self) -> Path:
        """The lab's own key to its secrets, mode 0600 (a real estate keeps it elsewhere)."""
        return self.root / "secrets.key"

    @property
    def operator_password(self) -> Path:
        """The lab's first account of the platform, mode 0600, so that a person can log in."""
        return self.root / "operator-password"

    @property
    def ssh_config(self) -> Path:
        """OpenSSH configuration that reaches every host through the bastion."""
        return self.root / "ssh" / "config"

    @property
    def ssh_key(self) -> Path:
        """The operators' private key, mode 0600."""
        return self.root / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Pinned host keys."""
        return self.root / "ssh" / "known_hosts"

    @property
    def learnt_host_keys(self) -> Path:
        """Host keys of machines that exist already, as a person compared them."""
        return self.root / "ssh" / "learnt-host-keys.json"

    @property
    def ansible(self) -> Path:
        """Fact cache, journals and logs of converge runs."""
        return self.root / "ansible"

    @property
    def desired(self) -> Path:
        """What the last good converge left on each host, as `drift` compares it."""
        return self.root / "desired"

    @property
    def verified(self) -> Path:
        """When everything was last checked and good, and of what; gone as soon as something changes."""
        return self.root / "verified.json"

    @property
    def deposited(self) -> Path:
        """Digest of the state that every region has."""
        return self.root / "deposited.json"

    @property
    def last_probe(self) -> Path:
        """Result of the last all-pairs probe, for `why` and `status`."""
        return self.root / "last-probe.json"
