"""Programs that a registry has as Go modules only: built once, checked at each use.

A recipe names exact module versions, so its hash names the binary. The Go checksum database and the
machine's own Go settings (proxy, private modules) are respected.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from infra.engine.coldness import is_fresh
from infra.engine.parent import die_with_parent
from infra.engine.toolchain import MINIMUM_GO, ensure_go
from infra.errors import YiyunError
from infra.paths import cache_root, cold

if TYPE_CHECKING:
    from collections.abc import Callable

DISK_NEEDED_GIB = 4
"""Sources, build cache and linker of the largest program (the engine), measured with room to spare."""

PROGRESS_SECONDS = 3.0

_UNREACHABLE = ("dial tcp", "no such host", "connection refused", "i/o timeout", "TLS handshake", "Forbidden")


@dataclass(frozen=True)
class GoProgram:
    """What makes a binary what it is. `replaces`: module → `module version`."""

    name: str
    version: str
    requires: dict[str, str]
    replaces: dict[str, str]
    package: str
    ldflags: str

    @property
    def key(self) -> str:
        """Hash of the recipe and of the machine's kind."""
        content = json.dumps([asdict(self), platform.system(), platform.machine()], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def go_mod(self) -> str:
        """A `go.mod` that requires exactly these versions."""
        lines = [f"module yiyun.internal/{self.name}", f"go {'.'.join(map(str, MINIMUM_GO))}"]
        lines += [f"require {module} {version}" for module, version in sorted(self.requires.items())]
        lines += [f"replace {module} => {other}" for module, other in sorted(self.replaces.items())]
        return "\n".join(lines) + "\n"


def build(program: GoProgram, progress: Callable[[str], None]) -> Path:
    """The binary of a Go program, built on first use and kept in the cache.

    Two runs at once build it once. A cached binary whose SHA-256 is not the one written at its build is
    built anew. Raises YiyunError when there is too little disk, no toolchain or registry, or it fails.
    """
    binary = _binary(program)
    if _usable(binary):
        return binary
    binary.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(binary.parent / "lock"):
        if not _usable(binary):  # another run may have built it while we waited
            _build(program, binary, progress)
    return binary


def built(program: GoProgram) -> Path | None:
    """The cached binary of a recipe, or None when it has to be built."""
    binary = _binary(program)
    return binary if _usable(binary) else None


def adopt(program: GoProgram, source: Path, sha256: str) -> Path:
    """Put a binary that was built elsewhere into the cache. Raises YiyunError when it is another file."""
    binary = _binary(program)
    binary.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(binary.parent / "lock"):
        half = binary.with_name(f"{binary.name}.new")
        shutil.copyfile(source, half)
        if _sha256(half) != sha256:
            half.unlink()
            raise YiyunError(f"{source} was altered while it was read", hint="get it again, then run again")
        half.chmod(0o755)
        half.replace(binary)
        _checksum_file(binary).write_text(sha256 + "\n", encoding="ascii")
    return binary


def _binary(program: GoProgram) -> Path:
    return cache_root() / "go-programs" / program.key / program.name


def _usable(binary: Path) -> bool:
    checksum = _checksum_file(binary)
    if not (is_fresh(binary) and checksum.exists()):
        return False
    return checksum.read_text(encoding="ascii").strip() == _sha256(binary)


def _checksum_file(binary: Path) -> Path:
    return binary.with_name(binary.name + ".sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _build(program: GoProgram, binary: Path, progress: Callable[[str], None]) -> None:
    require_disk(binary.parent, DISK_NEEDED_GIB, f"building {program.name}")
    for leftover in binary.parent.glob("build-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    go = ensure_go(progress)
    with tempfile.TemporaryDirectory(prefix="build-", dir=binary.parent) as folder:
        work = Path(folder)
        (work / "go.mod").write_text(program.go_mod, encoding="utf-8")
        built = work / program.name
        command = [str(go), "build", "-v", "-o", str(built), "-ldflags", program.ldflags, program.package]
        log = binary.parent / "build.log"
        began = time.monotonic()
        code = _watch(command, work, log, program, progress)
        if code != 0 or not built.exists():
            raise _failure(program, log)
        digest = _sha256(built)
        built.replace(binary)
        _checksum_file(binary).write_text(digest + "\n", encoding="ascii")
        progress(f"{program.name} {program.version} built in {time.monotonic() - began:.0f} s")


def require_disk(folder: Path, gib: int, purpose: str) -> None:
    """Raises YiyunError when the file system of `folder` has less than `gib` GiB free."""
    free = shutil.disk_usage(folder).free / 2**30
    if free < gib:
        raise YiyunError(
            f"{purpose} needs {gib} GiB of disk below {folder}, and {free:.1f} GiB are free",
            hint="free some space, or set YIYUN_CACHE to a folder on a larger disk",
        )


def _environment(work: Path) -> dict[str, str]:
    """In a cold run not even Go's own caches are believed: they live and die with the build."""
    caches = work if cold() else cache_root() / "go-cache"
    flags = "-mod=mod -trimpath -buildvcs=false -modcacherw"
    return os.environ | {
        "GOFLAGS": flags,
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOMODCACHE": str(caches / "mod"),
        "GOCACHE": str(caches / "build"),
        "CGO_ENABLED": "0",
    }


def _watch(
    command: list[str], work: Path, log: Path, program: GoProgram, progress: Callable[[str], None]
) -> int:
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command,
            cwd=work,
            env=_environment(work),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            preexec_fn=die_with_parent,  # one prctl call, safe with threads
        )
        try:
            while True:
                try:
                    return process.wait(timeout=PROGRESS_SECONDS)
                except subprocess.TimeoutExpired:
                    progress(progress_line(program, log, time.monotonic() - began))
        finally:
            process.kill()
            process.wait()


def progress_line(program: GoProgram, log: Path, seconds: float) -> str:
    """How far a build is, from its log: modules fetched, packages compiled, time."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    fetched = sum(line.startswith("go: downloading") for line in lines)
    compiled = sum(bool(line) and not line.startswith("go: ") for line in lines)
    return (
        f"building {program.name} {program.version}: "
        f"{fetched} modules fetched, {compiled} packages compiled, {seconds:.0f} s"
    )


def _failure(program: GoProgram, log: Path) -> YiyunError:
    text = log.read_text(encoding="utf-8", errors="replace")
    errors = [line.strip() for line in text.splitlines() if ":" in line and "downloading" not in line]
    last = errors[-1] if errors else "the build said nothing"
    if any(sign in text for sign in _UNREACHABLE):
        return YiyunError(
            f"{program.name} cannot be built: the Go module registry cannot be reached ({last})",
            hint="check this machine's network, or point GOPROXY at a module proxy it reaches",
        )
    if "no space left" in text:
        return YiyunError(
            f"{program.name} cannot be built: the disk is full",
            hint="free some space, or set YIYUN_CACHE to a folder on a larger disk",
        )
    return YiyunError(f"{program.name} cannot be built: {last}", hint=f"the build's log is {log}")
