"""The copies in the other region, read from the operators' machine: all that is left, and all that is used.

It runs the backup agent's own program, from the sources that this yiyun carries, with what the kit says.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from infra.bundle.build import source_root
from infra.drivers.lab.commands import run
from infra.engine.parent import die_with_parent
from infra.errors import BadInputError, YiyunError
from infra.trust.store import write_private
from runbooks.backups.own_state import OPENER

if TYPE_CHECKING:
    from collections.abc import Generator

    from infra.rotation.recovery import Kit, StoreOfCopies

LONGEST = 3600.0


@dataclass(frozen=True)
class Away:
    """A way to the copies. Everything it writes is in one folder, which goes when it is closed."""

    kit: Kit
    copies: StoreOfCopies
    folder: Path

    def ask(self, *words: str, stdin: str = "") -> dict[str, Any]:
        """One verb of the agent. Raises YiyunError with the agent's own message and next step."""
        argv = [
            sys.executable,
            "-m",
            "yiyun_backup.command",
            words[0],
            "--config",
            str(self.folder / "away.toml"),
        ]
        tools = f"{self.folder / 'tools'}:{os.environ.get('PATH', '/usr/bin:/bin')}"
        done = subprocess.run(
            [*argv, *words[1:]],
            env={**os.environ, "PYTHONPATH": str(source_root() / "backup_agent/src"), "PATH": tools},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
            preexec_fn=die_with_parent,
        )
        try:
            told: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            words_of = " ".join(done.stderr.split())[-300:]
            raise YiyunError(
                f"the copies could not be read: {words_of}", hint="run it again; yiyun doctor"
            ) from None
        if error := told.get("error"):
            raise YiyunError(
                f"the copies in {self.copies.region}: {error['message']}", hint=str(error["hint"])
            )
        return told

    def deposit(self, name: str) -> tuple[dict[str, Any], bytes]:
        """What was deposited last under a name: what is known of it, and its bytes. Raises YiyunError."""
        told = self.ask("fetch", "--name", name, "--from", self.copies.region)
        return told, base64.b64decode(told.pop("data"))

    def fetch_tools(self) -> None:
        """Get the program that opens repositories: it too comes from the copies."""
        _, package = self.deposit(OPENER)
        tools = self.folder / "tools"
        tools.mkdir(exist_ok=True)
        path = self.folder / "restic.deb"
        path.write_bytes(package)
        run(["dpkg-deb", "--extract", str(path), str(self.folder / "unpacked")])
        (tools / OPENER).symlink_to(self.folder / "unpacked/usr/bin/restic")


@contextmanager
def away(kit: Kit) -> Generator[Away]:
    """The way to the copies that a kit tells. Raises BadInputError for a kit without one."""
    if kit.copies is None:
        raise BadInputError(
            "the kit does not say where the copies are", hint="export it anew: yiyun secrets export-recovery"
        )
    with TemporaryDirectory(prefix="yiyun-away-") as name:
        folder = Path(name)
        _write(folder, kit, kit.copies)
        yield Away(kit, kit.copies, folder)


def _write(folder: Path, kit: Kit, copies: StoreOfCopies) -> None:
    for file, text in (("authority.pem", kit.authority), ("store.secret", copies.secret), ("none", "")):
        write_private(folder / file, text.encode())
    write_private(folder / "away.toml", settings(folder, kit, copies).encode())


def settings(folder: Path, kit: Kit, copies: StoreOfCopies) -> str:
    """The agent's settings: one region, which is read. Pure."""
    trusted = ", ".join(f'"{host}" = "{key}"' for host, key in sorted(kit.signers.items()))
    lines = [
        f'estate = "{kit.estate}"',
        'host = "operators"',
        f'authority = "{folder}/authority.pem"',
        "recipients = []",
        f'signing_key = "{folder}/none"',
        f'password = "{folder}/none"',
        f'state = "{folder}/state"',
        f'run = "{folder}/run"',
        f"trusted = {{{trusted}}}",
        "[[regions]]",
        f'name = "{copies.region}"',
        f'endpoint = "{copies.endpoint}"',
        f'bucket = "{copies.bucket}"',
        f'account = "{copies.account}"',
        f'secret = "{folder}/store.secret"',
        "",
    ]
    return "\n".join(lines)
