"""Damage that is not in the store's bytes: what a host signed wrongly, its keys, its disk, and the target."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from damage_kit import HOUR_US, change_entry, rewrite, rewrite_entry
from pyrage import x25519
from server_kit import eventually, program, towards

from yiyun_backup import signed
from yiyun_backup.config import Config
from yiyun_backup.segments import Seal, log_of, manifest_of, pack

if TYPE_CHECKING:
    from damage_kit import Place
    from damage_play import Play

EARLY = timedelta(hours=5)
MARK = ".yiyun-unfinished"
ROOM_BYTES = 256 << 20
"""Beside the base: the restore begins."""
FILLER = 'while [ ! -e "$folder/data/ibdata1" ]; do sleep 0.02; done; cat /dev/zero > "$folder/filler" 2>&-'
"""Somebody else fills the disk as soon as the base is being written."""


def early_log(place: Place) -> None:
    """The later half of the log, stamped five hours early by its own host; the chain is as it was."""
    own, prev = place.key(), ""
    keys = {signed.fingerprint(own.public_key()): own.public_key()}
    paths = place.segments()
    for number, path in enumerate(paths):
        data = path.read_bytes()
        opened, start = manifest_of(data, keys, "it")
        segment, changes = opened.document, dict[str, Any](prev=prev)
        if number >= len(paths) // 2:
            changes["cut_at"] = segment.cut_at - EARLY
            changes["first_us"] = str(int(segment.first_us) - 5 * HOUR_US)
            changes["last_us"] = str(int(segment.last_us) - 5 * HOUR_US)
        manifest = segment.model_copy(update=changes)
        rewrite(path, signed.sign(manifest, own) + b"\n" + data[start:])
        prev = signed.digest(manifest)


def early_base(place: Place) -> None:
    """The newest base's entry, stamped five hours early by its own host."""
    change_entry(place, lambda entry: {"began": entry.began - EARLY, "ended": entry.ended - EARLY})


def other_case(place: Place) -> None:
    """As a server would find that takes names of tables in another way."""
    rewrite_entry(place, {"lower_case_table_names": 1})


def sealed_to_nobody(place: Place) -> None:
    """The newest segment, rightly signed, encrypted to a key that nobody kept."""
    own, path = place.key(), place.segments()[-1]
    keys = {signed.fingerprint(own.public_key()): own.public_key()}
    opened, log = log_of(path.read_bytes(), keys, [place.bed.agent.identity], "it")
    rewrite(path, pack(opened.document, log, Seal([x25519.Identity.generate().to_public()], own))[1])


def wrong_password(play: Play) -> None:
    (play.agent.folder / "password").write_text("another")


def full_target(play: Play) -> None:
    """Somebody's data is where the restore is to go."""
    play.target.mkdir(parents=True)
    (play.target / "ibdata1").write_text("mine")


def killed_before(play: Play) -> None:
    """A restore into the same folder was killed while it wrote the base."""
    running = play.agent.start(*play.words)
    eventually(
        lambda: (play.target / "ibdata1").exists() or running.poll() is not None, "nothing is restored"
    )
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL, "it had ended before"
    assert (play.target / MARK).exists(), "what was killed is not marked"


def with_auto_cnf(play: Play) -> None:
    """The newest base brings the source's own identity along, as a copy by hand does."""
    config = Config.read(play.agent.folder / "backup.toml")
    environment = {**play.agent.environment(), **towards(config.repository("mysql", "far"))}
    folder = play.target.parent / "remade"
    folder.mkdir(parents=True)

    def restic(*words: str) -> str:
        argv = [program("RESTIC"), "--no-cache", *words]
        done = subprocess.run(argv, env=environment, cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout

    restic("restore", f"{play.bed.bases[1]['body']['snapshots']['far']}:/data", "--target", "data")
    (folder / "data/auto.cnf").write_bytes((play.bed.server.folder / "data/auto.cnf").read_bytes())
    told = [json.loads(line) for line in restic("backup", "--json", "data").splitlines()]
    (made,) = [one["snapshot_id"] for one in told if one["message_type"] == "summary"]
    rewrite_entry(play.place, {"snapshots": {**play.bed.bases[1]["body"]["snapshots"], "far": made}})


def on_a_small_disk(play: Play, size: int, meanwhile: str = ":") -> subprocess.CompletedProcess[str]:
    """Restore onto a file system of that size, in a mount namespace of its own; the mark is kept outside."""
    disk = play.target.parent
    disk.mkdir(parents=True)
    kept = disk.with_name("kept")
    script = (
        'mount -t tmpfs -o size="$1" none "$2" && folder="$2" kept="$3" && shift 3 || exit 9; '
        f'({meanwhile}) & "$@"; code=$?; kill $! 2>/dev/null; '
        'test -z "$(ls -A "$folder/data" 2>/dev/null)" || { mkdir -p "$kept/data"; '
        f'cp "$folder/data/{MARK}" "$kept/data/" || touch "$kept/data/unmarked"; }}; exit $code'
    )
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(size), str(disk), str(kept)]
    environment = play.agent.environment()
    done = subprocess.run(
        [*argv, *play.agent.argv(*play.words)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    play.target = kept / "data"
    return done


def no_room(play: Play) -> subprocess.CompletedProcess[str]:
    return on_a_small_disk(play, 16 << 20)


def filled_half_way(play: Play) -> subprocess.CompletedProcess[str]:
    return on_a_small_disk(play, int(play.bed.bases[1]["body"]["bytes"]) + ROOM_BYTES, FILLER)


def may_mount() -> bool:
    """Whether this is a machine and a user for the rows that need a disk of their own."""
    return os.geteuid() == 0 and Path("/usr/bin/unshare").exists()
