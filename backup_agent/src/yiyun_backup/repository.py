"""A restic repository in a region's bucket: encrypted where it is made, deduplicated, one a host or tier.

Restic sets no retention of its own: what a run stored is locked at its end (`locking`), and what a new
snapshot leans on is kept longer by the day's care (`keeping`). A host may add to it; of deletes it needs only
those of its own lock files.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from yiyun_backup.errors import BackupError, DamageError, KeyMissingError
from yiyun_backup.rewind import rewound
from yiyun_backup.store import AbsentError, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from datetime import timedelta
    from pathlib import Path

    from yiyun_backup.store import Place

NO_REPOSITORY, LOCKED, WRONG_KEY = 10, 11, 12
"""Exit codes of restic 0.18 (its manual; dr-facts section 5)."""


@dataclass(frozen=True)
class Repository:
    """Where it is, and the file of its password."""

    place: Place
    name: str
    password: Path
    cache: Path

    @property
    def url(self) -> str:
        """As restic names it."""
        return f"s3:{self.place.endpoint}/{self.place.bucket}/restic/{self.name}"

    def environment(self, prefix: str = "") -> dict[str, str]:
        """What restic is told, apart from what it shall do and the store's key (`store_key`). No secrets."""
        names = {f"RESTIC_{prefix}REPOSITORY": self.url, f"RESTIC_{prefix}PASSWORD_FILE": str(self.password)}
        return names | {
            "RESTIC_CACHE_DIR": str(self.cache),
            "RESTIC_CACERT": str(self.place.authority),
            "RESTIC_PROGRESS_FPS": "1",
            # Its memory is nearly all garbage that was not collected yet: 340 MB for 200 of files (measured).
            "GOGC": "25",
        }


@dataclass(frozen=True)
class Saved:
    """A snapshot that was made."""

    snapshot: str
    files: int
    bytes: int
    added: int
    """Bytes that the repository did not have yet."""


@contextmanager
def locking(repository: Repository, time: timedelta) -> Generator[None]:
    """What is stored meanwhile is locked for so long at the end: restic itself sets no lock.

    A bucket's default does not stand on the object everywhere: a stolen key of a host could give it a lock of
    a minute. By names, not by times: this host's clock may be wrong. Raises StoreError, RefusedError.
    """
    store, prefix = Store(repository.place), f"restic/{repository.name}/"
    before = {item.key for item in store.list(prefix)}
    yield
    until = datetime.now(UTC).replace(microsecond=0) + time
    for item in store.list(prefix):
        if item.key not in before and not item.key.startswith(f"{prefix}locks/"):
            store.extend(item.key, until)


def ensure(repository: Repository, like: Repository | None = None) -> None:
    """Make the repository when the store says that there is none. `like`: share its chunks' borders.

    A repository whose configuration alone is gone is not made anew: that would hide everything in it.
    """
    done = _run(repository, ["cat", "config"])
    if done.returncode == 0:
        return
    if done.returncode != NO_REPOSITORY:
        raise _problem(repository, done, "open")
    argv, more = ["init"], dict[str, str]()
    if like is not None:
        argv += ["--copy-chunker-params"]
        more = like.environment("FROM_")
    done = _run(repository, argv, more)
    if done.returncode != 0:
        raise _problem(repository, done, "init")


def save(
    repository: Repository,
    paths: Sequence[str],
    tags: Sequence[str],
    progress: Callable[[float, int], None],
    *,
    folder: Path | None = None,
    stdin_of: Sequence[str] = (),
    name: str = "",
) -> Saved:
    """Save files, or what a command prints (`stdin_of`, under `name`). Raises BackupError if any is missing.

    `progress`: share done, and bytes.
    """
    argv = ["backup", "--json", *(f"--tag={tag}" for tag in tags), "--host", repository.name]
    argv += (
        ["--stdin-filename", name, "--stdin-from-command", "--", *stdin_of] if stdin_of else ["--", *paths]
    )
    summary: dict[str, Any] = {}
    running = _Running(repository, argv, folder)
    for message in running.messages():
        if message.get("message_type") == "status":
            progress(float(message.get("percent_done", 0)), int(message.get("bytes_done", 0)))
        elif message.get("message_type") == "summary":
            summary = message
    done = running.ended()
    if done.returncode != 0 or not summary.get("snapshot_id"):
        raise _problem(repository, done, "save")
    return Saved(
        str(summary["snapshot_id"]),
        int(summary["total_files_processed"]),
        int(summary["total_bytes_processed"]),
        int(summary["data_added"]),
    )


def copy(source: Repository, target: Repository, snapshot: str) -> str:
    """Copy a snapshot to another region's repository. Returns its id there, which is another."""
    ensure(target, like=source)
    done = _run(target, ["copy", snapshot], source.environment("FROM_"))
    if done.returncode != 0:
        raise _problem(target, done, "copy")
    same = [name for name, original in snapshots(target).items() if original == snapshot]
    if not same:
        raise DamageError(
            "missing", f"{target.place.region}: the copy of snapshot {snapshot[:8]} is not there"
        )
    return same[-1]


def snapshots(repository: Repository) -> dict[str, str]:
    """Snapshots that are there: id → the id it was copied from, or its own. Raises BackupError."""
    done = _run(repository, ["snapshots", "--json", "--no-lock"])
    if done.returncode != 0:
        raise _problem(repository, done, "list")
    return {str(s["id"]): str(s.get("original") or s["id"]) for s in json.loads(done.stdout)}


def bring_back(
    repository: Repository,
    snapshot: str,
    target: Path,
    progress: Callable[[float, int], None],
    path: str = "",
) -> None:
    """Restore a snapshot, by its whole id, into an empty folder, and compare what was written.

    Raises BackupError; DamageError when restic reports any error, although it goes on by itself.
    """
    argv = ["restore", "--json", "--no-lock", "--verify", "--target", str(target), f"{snapshot}{path}"]
    running = _Running(repository, argv)
    errors: list[str] = []
    for message in running.messages():
        if message.get("message_type") == "status":
            progress(float(message.get("percent_done", 0)), int(message.get("bytes_restored", 0)))
        elif message.get("message_type") == "error":
            errors.append(f"{message.get('item', '')}: {message.get('error', {}).get('message', '')}")
    done = running.ended()
    if errors:
        raise DamageError("repository", f"{repository.place.region}: {'; '.join(errors)[:500]}", _OTHER)
    if done.returncode != 0:
        _must_have(repository, snapshot)
        problem = _problem(repository, done, "restore")
        raise DamageError("repository", problem.message, _OTHER) if done.returncode == 1 else problem


def forget(repository: Repository, those: Sequence[str]) -> None:
    """Take snapshots out, and what no other one needs: in a bucket with versions this only hides it.

    Needs the repository for itself; locks of those that are dead are taken away first. Raises BackupError.
    """
    there = snapshots(repository)
    gone = [snapshot for snapshot in those if snapshot in there]
    if not gone:
        return
    for argv in (["unlock"], ["forget", "--prune", *gone]):
        done = _run(repository, argv)
        if done.returncode != 0:
            raise _problem(repository, done, argv[0])


def _must_have(repository: Repository, snapshot: str) -> None:
    """Ask the store itself, which knows being away from being damaged; restic ends with 1 for both.

    Raises DamageError, StoreError.
    """
    where = f"{repository.place.region}: snapshot {snapshot[:8]} of {repository.name}"
    try:
        data = Store(repository.place).get(f"restic/{repository.name}/snapshots/{snapshot}")
    except AbsentError as error:
        raise DamageError("missing", f"{where} is gone", _OTHER) from error
    if hashlib.sha256(data).hexdigest() != snapshot:
        raise DamageError("hash", f"{where}: the bytes are not those that were stored", _OTHER)


def check(repository: Repository, share: str = "") -> bool:
    """Check the repository; `share`: read so much of all data too (`1/7`, `100%`). Raises DamageError.

    Returns whether files are there that no index names, as a backup that was killed leaves them.
    """
    argv = ["check", "--no-lock", *((f"--read-data-subset={share}",) if share else ())]
    done = _run(repository, argv)
    if done.returncode == 1:
        text = " ".join((done.stderr or done.stdout).split())[-500:]
        raise DamageError("repository", f"{repository.place.region}: {repository.name}: {text}", _OTHER)
    if done.returncode != 0:
        raise _problem(repository, done, "check")
    return "additional files" in done.stdout + done.stderr


_OTHER = "use the copy in the other region"


def _run(
    repository: Repository, argv: Sequence[str], more: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    with _reached(repository) as environment:
        return subprocess.run(
            _command(repository, argv),
            env={**os.environ, **environment, **(more or {})},
            capture_output=True,
            text=True,
            check=False,
        )


@contextmanager
def store_key(place: Place) -> Generator[dict[str, str]]:
    """The store's account as a file in memory, for as long as restic runs: what it is told to find it.

    Not by its environment, which the programs inherit whose output it saves, some as another user: pg_dump's
    could be read by the database's. The file is our process's own, and nobody inherits it.
    """
    secret = place.secret_file.read_text(encoding="utf-8").strip()
    text = f"[default]\naws_access_key_id = {place.account}\naws_secret_access_key = {secret}\n"
    with os.fdopen(os.memfd_create("store-key"), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        yield {"AWS_SHARED_CREDENTIALS_FILE": f"/proc/{os.getpid()}/fd/{file.fileno()}"}


@contextmanager
def _reached(repository: Repository) -> Generator[dict[str, str]]:
    """What restic is told to reach it: the store, or what stands before a store as it was."""
    environment = repository.environment()
    if repository.place.as_of is None:
        with store_key(repository.place) as key:
            yield environment | key
        return
    with rewound(repository.place, repository.name) as address:
        yield environment | {"RESTIC_REPOSITORY": address}


def _command(repository: Repository, argv: Sequence[str]) -> list[str]:
    """It dies with us, and sends no more than its share of the line."""
    limit = [f"--limit-upload={repository.place.upload_kib}"] if repository.place.upload_kib else []
    return ["setpriv", "--pdeathsig", "KILL", "restic", *limit, *argv]


class _Running:
    """A restic that tells how far it is."""

    def __init__(self, repository: Repository, argv: Sequence[str], folder: Path | None = None) -> None:
        self._other: list[str] = []
        self._stack = ExitStack()
        environment = self._stack.enter_context(_reached(repository))
        self._process = subprocess.Popen(
            _command(repository, argv),
            env={**os.environ, **environment},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def messages(self) -> Iterator[dict[str, Any]]:
        """Its JSON messages as they come; what is none is kept for `ended`."""
        for line in self._process.stdout or ():
            try:
                message: dict[str, Any] = json.loads(line)
            except ValueError:
                self._other.append(line)
                continue
            if message.get("message_type") == "exit_error":
                self._other.append(str(message.get("message", "")))
            yield message

    def ended(self) -> subprocess.CompletedProcess[str]:
        """Its exit code and last words."""
        with self._stack:
            return subprocess.CompletedProcess([], self._process.wait(), "", "".join(self._other))


def _problem(repository: Repository, done: subprocess.CompletedProcess[str], what: str) -> BackupError:
    where = f"{repository.place.region}: repository {repository.name}"
    if done.returncode == WRONG_KEY:
        text = f"{where}: the password in {repository.password} does not open it"
        return KeyMissingError(
            text, "its own password is in the recovery kit (yiyun secrets export-recovery)"
        )
    if done.returncode == NO_REPOSITORY:
        return DamageError("missing", f"{where} does not exist", "wrong bucket, or its configuration is gone")
    words = " ".join((done.stderr or done.stdout).split())[-400:]
    return BackupError(f"{where}: {what} failed ({done.returncode}): {words}")
