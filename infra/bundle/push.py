"""Send a bundle to a host by SSH: only what it lacks, checked there before it replaces the old one."""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from pydantic import ValidationError

from infra.bundle.model import LOCK_NAME, BundleLock, LockedFile, read_lock
from infra.errors import BadInputError, YiyunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RECEIVE = """\
set -eu
target=$1 incoming=$1.incoming
rm -rf "$incoming"
mkdir -p "$incoming"
tar -x -f - -C "$incoming"
cd "$incoming"
while read -r name; do
  mkdir -p "$(dirname "$name")"
  ln "$target/$name" "$name"
done < .keep
sha256sum --check --quiet --strict .sums >&2
rm .keep .sums
chmod -R a+rX .
rm -rf "$target.old"
if [ -e "$target" ]; then mv "$target" "$target.old"; fi
mv "$incoming" "$target"
rm -rf "$target.old"
"""
"""Runs on the host: unpack, link what is already there, check every file, then swap."""


def part_of(lock: BundleLock, role: str) -> tuple[BundleLock, dict[str, str]]:
    """What a host gets (all, or only one role's packages), and where each file lies in the bundle.

    A role's own index takes the place of the whole one, so that apt chooses only what is there.
    Raises BadInputError when the bundle was built without that role.
    """
    if not role:
        return lock, {f.path: f.path for f in lock.files}
    own = f"debs/Packages.{role}"
    if own not in lock.by_path():
        raise BadInputError(
            f"the bundle has no packages of the role {role}",
            hint=f"name them in roles/{role}/meta/packages.yml",
        )
    files = [f.model_copy(update={"path": "debs/Packages"}) for f in lock.files if f.path == own]
    files += [f for f in lock.files if role in f.roles]
    sources = {f.path: f.path for f in files} | {"debs/Packages": own}
    return BundleLock(inputs=lock.inputs, files=tuple(files)), sources


def missing_files(wanted: Iterable[LockedFile], there: BundleLock | None) -> list[LockedFile]:
    """Which of them have to be sent to a host that has the bundle `there`."""
    present = {(f.path, f.sha256) for f in there.files} if there else set[tuple[str, str]]()
    return [f for f in wanted if (f.path, f.sha256) not in present]


def push(bundle: Path, ssh: Sequence[str], target: str, role: str = "") -> bool:
    """Make `target` on the host equal to the bundle (or its part for `role`); True when it changed.

    `ssh`: argv that runs a shell command on the host. Raises YiyunError when the host refuses or a file
    arrives damaged; the old bundle then stays in place.
    """
    lock = read_lock(bundle)
    part, names = part_of(lock, role)
    sources = {path: bundle / name for path, name in names.items()}
    there = _lock_there(ssh, target)
    if there is not None and there.files == part.files and (role or there.inputs == part.inputs):
        return False
    problem = _send(sources, ssh, target, part, missing_files(part.files, there))
    if problem and there is not None:
        problem = _send(sources, ssh, target, part, list(part.files))
    if problem:
        raise YiyunError(f"the bundle did not arrive: {problem}", hint="yiyun doctor checks the way there")
    return True


def _send(
    sources: Mapping[str, Path], ssh: Sequence[str], target: str, part: BundleLock, send: list[LockedFile]
) -> str:
    """Send and swap; what went wrong, or an empty string."""
    script = f"sh -c {shlex.quote(RECEIVE)} receive {shlex.quote(target)}"
    with subprocess.Popen([*ssh, script], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        with contextlib.suppress(BrokenPipeError):
            _write_tar(cast("IO[bytes]", process.stdin), sources, part, send)
        said = process.communicate()[1]
    if process.returncode == 0:
        return ""
    return said.decode(errors="replace").strip()[-500:] or f"exit code {process.returncode}"


def _lock_there(ssh: Sequence[str], target: str) -> BundleLock | None:
    command = f"cat {shlex.quote(target)}/{LOCK_NAME}"
    done = subprocess.run([*ssh, command], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    try:
        return BundleLock.model_validate_json(done.stdout) if done.returncode == 0 else None
    except ValidationError:
        return None


def _write_tar(
    stream: IO[bytes], sources: Mapping[str, Path], part: BundleLock, send: list[LockedFile]
) -> None:
    kept = {f.path for f in part.files} - {f.path for f in send}
    texts = {
        LOCK_NAME: part.model_dump_json(indent=1) + "\n",
        ".keep": "".join(f"{name}\n" for name in sorted(kept)),
        ".sums": "".join(f"{f.sha256}  {f.path}\n" for f in part.files),
    }
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name, text in texts.items():
            _add_text(archive, name, text.encode())
        for file in send:
            archive.add(sources[file.path], file.path, recursive=False, filter=_anonymous)


def _add_text(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    archive.addfile(member, io.BytesIO(data))


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m infra.bundle.push BUNDLE HOST TARGET`: prints `changed` or `unchanged`."""
    parser = argparse.ArgumentParser(description="Send a bundle to a host.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("host")
    parser.add_argument("target")
    parser.add_argument("--ssh-args", default="", help="options of ssh, as one string")
    parser.add_argument("--role", default="", help="only the packages of this role")
    options = parser.parse_args(arguments)
    ssh = ["ssh", *shlex.split(options.ssh_args), options.host]
    try:
        changed = push(options.bundle, ssh, options.target, options.role)
    except YiyunError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code
    sys.stdout.write("changed\n" if changed else "unchanged\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
