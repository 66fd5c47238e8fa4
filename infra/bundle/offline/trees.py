"""Root file systems as one file: owners, modes, links and capabilities kept."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from typing import TYPE_CHECKING

from infra.bundle.model import CHUNK_BYTES
from infra.drivers.lab.commands import failure_text, run
from infra.engine.parent import die_with_parent
from infra.errors import YiyunError

if TYPE_CHECKING:
    from pathlib import Path

KEEP = ("--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls")


def pack_tree(root: Path, target: Path) -> None:
    """Write everything below `root` to a tar file, in an order of its own."""
    options = [*KEEP, "--sort=name", "--format=posix", "--one-file-system"]
    run(["tar", "--create", *options, f"--file={target}", f"--directory={root}", "."], timeout=900)


def unpack_tree(archive: Path, sha256: str, root: Path) -> None:
    """Unpack below `root`, hashing the very bytes that are unpacked. Raises YiyunError when they differ."""
    root.mkdir(parents=True)
    digest = hashlib.sha256()
    command = ["tar", "--extract", *KEEP, "--preserve-permissions", f"--directory={root}", "--file=-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent
    ) as process:
        if process.stdin is None:
            raise YiyunError("tar has no input")
        # tar says why it ends early; that it no longer reads is only the consequence
        with contextlib.suppress(BrokenPipeError), archive.open("rb") as stream, process.stdin as sink:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
                sink.write(chunk)
        said = process.stderr.read() if process.stderr else b""
    if process.returncode != 0:
        raise YiyunError(f"{archive.name} cannot be unpacked: {failure_text(said.decode(errors='replace'))}")
    if digest.hexdigest() != sha256:
        raise YiyunError(f"{archive.name} was altered while it was read", hint="get the folder again")
