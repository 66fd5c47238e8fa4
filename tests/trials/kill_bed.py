"""What the agent is killed on: files to save, a log to replay, and a look at what a kill left."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from bed_kit import bedded, unlike_source
from server_kit import Agent, eventually

from tests.trials.kill_plan import untrusted
from tests.trials.kill_strike import Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from server_kit import Bed

FILES, FILE_BYTES, FRESH = 10, 2 << 20, 5
UPLOAD_KIB = 8192
"""A second to each region, so that a copy takes a while as on a line."""
LOG_SECONDS = 12
MARK = ".yiyun-unfinished"
REGIONS = ("near", "far")


class KillBed:
    """A bed with a base and the log behind it in both regions: verbs are prepared, run, and looked at."""

    def __init__(self, bed: Bed) -> None:
        self.bed, self.agent = bed, bed.agent
        self.files, self.temporary = bed.folder / "files", bed.folder / "tmp"
        self.target = bed.folder / "restored" / "data"
        for folder in (self.files, self.temporary):
            folder.mkdir()
        self._configure(self.agent)

    def _configure(self, agent: Agent) -> None:
        config = agent.write()
        text = config.read_text().replace(
            'account = "host"\n', f'account = "host"\nupload_kib = {UPLOAD_KIB}\n'
        )
        words = json.dumps(["cat", str(self.files / "dumped")])
        items = [("files", f'paths = ["{self.files / "kept"}"]'), ("dump", f"command = {words}")]
        items.append(("sqlite", f'paths = ["{self.files / "kept.db"}"]'))
        for way, what in items:
            text += f'[[items]]\nservice = "{way}"\nway = "{way}"\n{what}\n'
        config.write_text(text)

    def begin(self) -> None:
        """A base, a log behind it in both regions, and the stream ended."""
        with self.bed.streaming():
            self.bed.take_base()
            self._work(LOG_SECONDS)
            self.bed.executed = self.bed.server.executed()
            eventually(lambda: self.bed.stored(self.bed.executed), "not everything is stored")

    def _work(self, seconds: float) -> None:
        self.bed.transfers.rest = 0.01
        with self.bed.transfers.running():
            time.sleep(seconds)

    @contextmanager
    def prepared(self, verb: str) -> Iterator[tuple[str, ...]]:
        """The words of a verb that has something to do, while it has."""
        if verb in {"save", "copy"}:
            self._change_files()
        if verb == "copy":
            self._save_near_only()
        if verb == "base":
            self._work(1.0)
        if verb == "stream":
            self.bed.transfers.rest = 0.01
            with self.bed.transfers.running():
                yield ("stream",)
        elif verb == "restore":
            opens = str(self.agent.folder / "identity")
            what = ("--base", self.bed.bases[0]["id"], "--gtid", self.bed.executed)
            yield ("restore", "--to", str(self.target), "--from", "far", "--identity", opens, *what)
        else:
            yield (verb,)

    def _change_files(self) -> None:
        kept = self.files / "kept"
        kept.mkdir(exist_ok=True)
        names = [kept / f"{n}" for n in range(FILES)]
        for path in (p for p in names if not p.exists()):
            path.write_bytes(os.urandom(FILE_BYTES))
        for path in secrets.SystemRandom().sample(names, FRESH):
            path.write_bytes(os.urandom(FILE_BYTES))
        (self.files / "dumped").write_bytes(os.urandom(FILE_BYTES))
        with closing(sqlite3.connect(self.files / "kept.db")) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS t (v BLOB)")
            database.execute("INSERT INTO t VALUES (?)", (os.urandom(FILE_BYTES // 4),))

    def _save_near_only(self) -> None:
        """As when the far region did not answer."""
        agent = self.agent
        near = {"near": agent.regions["near"]}
        self._configure(Agent(agent.folder, agent.server, near, agent.identity, agent.key, agent.other_key))
        done = agent.run("save")
        self._configure(agent)
        assert done.returncode == 0, done.stdout

    def start(self, words: tuple[str, ...]) -> Run:
        os.environ["TMPDIR"] = str(self.temporary)
        return Run(self.agent, words)

    def left(self) -> dict[str, Any]:
        """What lies about: locks of repositories, copies half made, notes, a target that is not finished."""
        outbox = self.agent.folder / "state/outbox"
        head = json.loads((outbox / "head.json").read_text())["seq"]
        cut = [int(path.name) for path in outbox.iterdir() if path.name.isdecimal()]
        found = {
            "restic_locks": {r: len(self._objects(r, "restic/", "/locks/")) for r in REGIONS},
            "entries": {r: len(self._objects(r, "catalogue/db-1/")) for r in REGIONS},
            "note_of_what_runs": (self.agent.folder / "state/running").exists(),
            "staged_base": (self.agent.folder / "staging/data").exists(),
            "staged_files": (self.agent.folder / "state/staging").exists(),
            "spooled_log": any((self.agent.folder / "state").glob("spool/*")),
            "segments_waiting": len([n for n in cut if n <= head]),
            "segments_beyond_the_note": len([n for n in cut if n > head]),
            "temporary_folders": len(list(self.temporary.iterdir())),
            "target": self.target_is(),
        }
        return {name: value for name, value in found.items() if value and any(_values(value))}

    def _objects(self, region: str, prefix: str, part: str = "") -> list[str]:
        """As the store lists them: what was removed there is hidden, and not gone."""
        keys = (item.key for item in self.agent.regions[region].store("owner").list(prefix))
        return [key for key in keys if part in key]

    def target_is(self) -> str:
        """`marked`, `whole` when nothing says that it is not, or empty."""
        if not self.target.exists() or not any(self.target.iterdir()):
            return ""
        return "marked" if (self.target / MARK).exists() else "whole"

    def distrusted(self) -> list[str]:
        """Right after a kill: what is in a region's catalogue and not whole there, every byte read."""
        return [problem for told in self._checks() for problem in untrusted(told["problems"])]

    def unclean(self) -> list[str]:
        """When all is over: everything that a check of all bytes finds."""
        return [problem for told in self._checks() for problem in told["problems"]]

    def _checks(self) -> Iterator[dict[str, Any]]:
        for region in REGIONS:
            done = self.agent.run("check", "--region", region, "--all")
            told = json.loads(done.stdout)
            yield told if "problems" in told else {"problems": [told["error"]["message"]]}

    def lacking(self, verb: str, answer: dict[str, Any]) -> list[str]:
        """What a run that completed has not done after all."""
        if verb == "stream":
            eventually(lambda: self.bed.stored(self.bed.server.executed()), "not everything is stored")
            return []
        if verb == "restore":
            said = [] if answer["gtids"] == self.bed.executed else ["it ended with another set"]
            said += [] if self.target_is() == "whole" else ["the target is still marked"]
            shutil.rmtree(self.target)
            return said
        if verb == "copy":
            return [f"{answer['left']} snapshot(s) not copied"] if answer["left"] else []
        bodies = [answer["body"]] if verb == "base" else [entry["body"] for entry in answer["entries"]]
        return ["it is not in both regions" for body in bodies if set(body["snapshots"]) != set(REGIONS)]

    def catch_up(self) -> None:
        """The stream runs until everything that the source holds is stored."""
        with self.bed.streaming():
            eventually(lambda: self.bed.stored(self.bed.server.executed()), "not everything is stored")

    def restored_alone(self, region: str) -> list[str]:
        """The newest state, from one region alone, beside the source."""
        alone = self.agent.beside(self.bed.folder / f"scratch-{region}", {region: self.agent.regions[region]})
        where = ("--to", str(self.target), "--identity", str(alone.folder / "identity"))
        done = alone.run("restore", *where)
        if done.returncode != 0:
            return [f"from {region} alone: {done.stdout[-500:]}"]
        said = unlike_source(self.bed, self.target)
        shutil.rmtree(self.target)
        return [f"from {region} alone: {text}" for text in said]


def _values(found: Any) -> list[Any]:
    return list(found.values()) if isinstance(found, dict) else [found]


@contextmanager
def kill_bed(folder: Path) -> Iterator[KillBed]:
    """A bed where the first base and its log are stored."""
    with bedded(folder) as bed:
        made = KillBed(bed)
        made.begin()
        yield made
