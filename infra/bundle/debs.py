"""Debian packages: resolved against the hosts' image by the machine's own apt, with a state of its own."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

from infra.bundle.lists import preferences
from infra.bundle.model import LockedFile, sha256_of
from infra.drivers.lab.commands import Progress, failure_text, follow, run
from infra.drivers.lab.images import KEYRING, SUITE, debian_mirror
from infra.errors import YiyunError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from infra.bundle.lists import PackageList

URI_LINE = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+)")
REGISTRY_HINT = "check that `apt-get update` works on this machine, then run the same command again"


CHOICE = ("--no-install-recommends", "--reinstall")
"""What a role names is in the bundle even where the hosts' image has it: somebody may remove it there."""


@dataclass(frozen=True)
class Apt:
    """A private apt: its folder, and the package status it resolves against."""

    folder: Path
    status: Path

    def prepare(self, mirror: str, security: str) -> None:
        """Write its configuration and sources. Downloads of an earlier, interrupted run are kept."""
        for name in ("lists/partial", "archives/partial", "none/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        signed = (
            f"[signed-by={KEYRING} check-valid-until=no]" if KEYRING.exists() else "[check-valid-until=no]"
        )
        suites = [
            (mirror, SUITE),
            (mirror, f"{SUITE}-updates"),
            (security, f"{SUITE}-security"),
            (mirror, "sid"),
        ]
        sources = "".join(f"deb {signed} {uri} {suite} main\n" for uri, suite in suites)
        (self.folder / "sources.list").write_text(sources, encoding="utf-8")
        (self.folder / "apt.conf").write_text(self._configuration(), encoding="utf-8")

    def _configuration(self) -> str:
        values = {
            "Dir::State": self.folder,
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": self.status,
            "Dir::State::extended_states": self.folder / "extended_states",
            "Dir::Cache": self.folder,
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "APT::Architecture": "amd64",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::Retries": "3",
            "Debug::NoLocking": "true",
        }
        return "".join(f'{key} "{value}";\n' for key, value in values.items())

    def _command(self, role: str, archives: str, arguments: Sequence[str]) -> list[str]:
        options = {"Dir::Etc::preferences": self.folder / f"{role}.pref", "Dir::Cache::archives": archives}
        given = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        return ["apt-get", *given, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Environment that makes apt read only this configuration after the machine's own."""
        return {**os.environ, "APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C.UTF-8"}

    def update(self, progress: Progress) -> None:
        """Fetch the package indexes. Raises YiyunError when no mirror answers."""
        self._stream(self._command("none", str(self.folder / "none"), ["update", "--error-on=any"]), progress)

    def resolve(self, role: str, wanted: PackageList) -> list[str]:
        """File names of the packages a role adds to the image. Raises YiyunError naming role and package."""
        (self.folder / f"{role}.pref").write_text(preferences(wanted), encoding="utf-8")
        install = ["install", "-y", "--print-uris", *CHOICE, *wanted.packages]
        command = self._command(role, str(self.folder / "none"), install)
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise YiyunError(
                f"role {role}: its packages cannot be resolved: {failure_text(done.stderr or done.stdout)}",
                hint=f"correct roles/{role}/meta/packages.yml, or wait until the mirror is consistent",
            )
        return [match["file"] for line in done.stdout.splitlines() if (match := URI_LINE.match(line))]

    def download(self, role: str, wanted: PackageList, progress: Progress) -> None:
        """Download a role's packages; apt checks each against the signed index."""
        install = ["install", "-y", "--download-only", *CHOICE, *wanted.packages]
        self._stream(self._command(role, str(self.folder / "archives"), install), progress)

    def _stream(self, command: list[str], progress: Progress) -> None:
        def tell(line: str) -> None:
            if line.startswith("Get:"):
                words = line.split()
                progress(f"bundle: {' '.join(words[2:6] if '://' in words[1] else words[1:5])}")

        done = follow(command, tell, environment=self.environment)
        if done.returncode != 0:
            raise YiyunError(f"apt could not fetch: {failure_text(done.stdout)}", hint=REGISTRY_HINT)


def security_mirror(listing: str, mirror: str) -> str:
    """URI of Debian's security archive: the machine's own, else beside the mirror, as Debian lays it out."""
    for line in listing.splitlines():
        component, origin, label, uri = line.split("|")
        if (component, origin, label) == ("main", "Debian", "Debian-Security"):
            return uri
    return f"{mirror.rstrip('/')}-security"


def fetch_debs(
    lists: Mapping[str, PackageList], status: Path, work: Path, target: Path, progress: Progress
) -> list[LockedFile]:
    """Fetch the packages of all roles into `target`, a flat apt repository with an index for each role too.

    `status`: dpkg status of the hosts' image. `work` keeps what was downloaded if this is interrupted.
    """
    apt = Apt(work, status)
    mirror = debian_mirror()
    fields = "$(COMPONENT)|$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    listing = run(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"]).stdout
    apt.prepare(mirror, security_mirror(listing, mirror))
    apt.update(progress)
    needed: dict[str, set[str]] = {}
    for role, wanted in lists.items():
        for name in apt.resolve(role, wanted):
            needed.setdefault(name, set()).add(role)
        apt.download(role, wanted, progress)
    progress(f"bundle: indexing {len(needed)} packages")
    return write_repository(work / "archives", needed, sorted(lists), target)


def write_repository(
    archives: Path, needed: Mapping[str, set[str]], roles: Sequence[str], target: Path
) -> list[LockedFile]:
    """Copy packages into `target` and write `Packages`, `Release`, and `Packages.ROLE` of each role.

    `needed`: roles by file name. An index may be empty: the hosts' image has all that role needs.
    """
    target.mkdir(parents=True, exist_ok=True)
    files: list[LockedFile] = []
    stanzas: dict[str, str] = {}
    for name, needing in sorted(needed.items()):
        path = target / name.replace("%3a", "-")
        shutil.copyfile(archives / name, path)
        control = run(["dpkg-deb", "--field", str(path)]).stdout.strip()
        fields = dict(re.findall(r"^(Package|Version): (.+)$", control, re.MULTILINE))
        locked = LockedFile(
            path=f"debs/{path.name}",
            size=path.stat().st_size,
            sha256=sha256_of(path),
            package=fields["Package"],
            version=fields["Version"],
            roles=tuple(sorted(needing)),
        )
        files.append(locked)
        stanzas[name] = f"{control}\nFilename: ./{path.name}\nSize: {locked.size}\nSHA256: {locked.sha256}\n"
    _write_index(target, "Packages", list(stanzas.values()))
    for role in roles:
        _write_index(target, f"Packages.{role}", [stanzas[n] for n in sorted(stanzas) if role in needed[n]])
    index = (target / "Packages").read_bytes()
    (target / "Release").write_text(release_text(index), encoding="utf-8")
    return files


def _write_index(target: Path, name: str, stanzas: list[str]) -> None:
    (target / name).write_text("\n".join(stanzas), encoding="utf-8")


def release_text(index: bytes) -> str:
    """`Release` of a flat repository whose only index is `Packages`."""
    digest = hashlib.sha256(index).hexdigest()
    return (
        "Origin: yiyun\nLabel: yiyun bundle\nSuite: stable\nArchitectures: amd64 all\n"
        f"Date: {formatdate(usegmt=True)}\nSHA256:\n {digest} {len(index)} Packages\n"
    )
