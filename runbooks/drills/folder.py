"""Where one drill keeps its evidence; the verdict comes from there alone, and anyone can compute it again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from infra.errors import BadInputError
from runbooks.drills.evidence.history import Held, read_history
from runbooks.drills.evidence.observers import read_sightings
from runbooks.drills.evidence.verdict import Evidence, Verdict, judge
from runbooks.drills.journal import Journal, named, read_journal
from runbooks.drills.model import Drill
from runbooks.drills.rehearsal import Loss, Rehearsal
from runbooks.drills.roles import hit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from infra.paths import EstatePaths
    from runbooks.drills.evidence.observers import Sighting
    from runbooks.drills.journal import Event

HELD = TypeAdapter(list[Held])
DRILL: TypeAdapter[Drill | Rehearsal | Loss] = TypeAdapter(Drill | Rehearsal | Loss)
EVIDENCE = (
    *("drill.json", "journal.jsonl", "history.jsonl", "held.json", "seen.jsonl", "about.json"),
    "results.jsonl",
)
"""The files that a report names by their hashes, where they exist."""


@dataclass(frozen=True)
class Folder:
    """Where one drill keeps its evidence; everything the verdict needs is in it."""

    path: Path

    @property
    def journal(self) -> Path:
        """What was done, a line an event."""
        return self.path / "journal.jsonl"

    @property
    def history(self) -> Path:
        """What the workload asked and was answered."""
        return self.path / "history.jsonl"

    @property
    def held(self) -> Path:
        """What each member held afterwards."""
        return self.path / "held.json"

    @property
    def seen(self) -> Path:
        """What each layer noticed, a line a sighting."""
        return self.path / "seen.jsonl"

    @property
    def drill(self) -> Path:
        """The drill as it was run: roles are hosts here."""
        return self.path / "drill.json"

    @property
    def about(self) -> Path:
        """Of which estate, its versions and configuration, who ran it, and who could not be asked."""
        return self.path / "about.json"

    @property
    def report(self) -> Path:
        """The signed report; pages beside it have its name with a language."""
        return self.path / "report.json"

    @property
    def later(self) -> Path:
        """What was done after the report: it must not change what the report names by its hash."""
        return self.path / "later.jsonl"

    def open_journal(self) -> Journal:
        """The journal to go on with: the drill's own until there is a report, then the later one."""
        return Journal(self.later if self.report.exists() else self.journal)

    def events(self) -> list[Event]:
        """Everything that was done, also after the report."""
        return [e for path in (self.journal, self.later) if path.exists() for e in read_journal(path)]

    def operations(self) -> int:
        """How many operations the workload has noted."""
        return self.history.read_bytes().count(b"\n") if self.history.exists() else 0

    def keep_held(self, held: Sequence[Held]) -> None:
        """Write what the members hold."""
        self.held.write_bytes(HELD.dump_json(list(held), indent=1) + b"\n")

    def keep_seen(self, seen: Sequence[Sighting]) -> None:
        """Write what each layer noticed."""
        self.seen.write_text("".join(s.model_dump_json() + "\n" for s in seen), encoding="utf-8")

    def keep_about(self, facts: dict[str, Any]) -> None:
        """Write of what the report speaks."""
        self.about.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def evidence(self) -> Evidence:
        """Everything that was recorded. Raises BadInputError for a file that is not what it should be."""
        try:
            drill = DRILL.validate_json(self.drill.read_bytes())
            held = HELD.validate_json(self.held.read_bytes()) if self.held.exists() else []
        except (OSError, ValidationError) as error:
            raise BadInputError(f"{self.path.name}: {error}", hint="the evidence is not whole") from None
        events = read_journal(self.journal)
        loads = named(events, "load")
        return Evidence(
            drill=drill,
            events=events,
            history=read_history(self.history) if self.history.exists() else [],
            held=held,
            total=int(loads[0]["total"]) if loads else 0,
            seen=read_sightings(self.seen) if self.seen.exists() else [],
            broken=hit(drill),
        )

    def verdict(self) -> Verdict:
        """The verdict, computed from the evidence. Raises BadInputError as `evidence` does."""
        return judge(self.evidence())

    def files(self) -> dict[str, bytes]:
        """Name → content of every file of evidence."""
        found = {name: self.path / name for name in EVIDENCE}
        return {name: path.read_bytes() for name, path in found.items() if path.exists()}


def folders(paths: EstatePaths) -> list[Folder]:
    """Every drill's folder, oldest first."""
    root = paths.drills
    return [Folder(p) for p in sorted(root.iterdir()) if p.is_dir()] if root.exists() else []
