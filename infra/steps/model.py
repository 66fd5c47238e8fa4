"""Steps: what `up` is made of. Each is idempotent, so a run after an interruption simply runs again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from infra.errors import BadInputError, YiyunError
from infra.trust.store import write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from infra.estate.model import Estate
    from infra.paths import EstatePaths

Status = Literal["done", "unchanged", "skipped", "failed"]


@dataclass
class Context:
    """What every step is given."""

    estate: Estate
    source: str
    """The estate as the user named it: a shipped name or a path."""
    paths: EstatePaths
    progress: Callable[[str], None]
    results: dict[str, object] = field(default_factory=dict[str, object])
    """What later steps and the caller need of earlier ones, by step name."""
    full: bool = False
    """Run everything, also what is as recorded."""
    keep: frozenset[str] = frozenset()
    """Hand-made changes to take over (`HOST:KIND:NAME`, as `drift` names them)."""
    changed: int = 0
    """What the steps so far have changed."""


@dataclass(frozen=True)
class Step:
    """One step: its name, what it is for, and what it does. It returns how many things it changed."""

    name: str
    purpose: str
    run: Callable[[Context], int]


@dataclass
class StepResult:
    """How one step went. `seconds` is wall time."""

    name: str
    status: Status
    changed: int = 0
    seconds: float = 0.0

    def as_json(self) -> dict[str, object]:
        """The entry of `steps` in the JSON contract."""
        return {
            "name": self.name,
            "status": self.status,
            "changed": self.changed,
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True)
class Selection:
    """Which steps to run: from one on, or only some."""

    start: str = ""
    only: tuple[str, ...] = ()

    def chooses(self, steps: Sequence[Step]) -> set[str]:
        """Names of the chosen steps. Raises BadInputError for an unknown name."""
        names = [step.name for step in steps]
        for name in (*self.only, *((self.start,) if self.start else ())):
            if name not in names:
                raise BadInputError(f"no step {name}", hint=f"one of {', '.join(names)}")
        chosen = names[names.index(self.start) :] if self.start else names
        return set(chosen) & set(self.only or chosen)


class StepsFailedError(YiyunError):
    """A step failed; `results` says how far the run came."""

    def __init__(self, cause: YiyunError, results: list[StepResult]) -> None:
        name = results[-1].name
        super().__init__(
            f"step {name} failed: {cause.message}",
            hint=f"{cause.hint}; then run again: it goes on by itself" if cause.hint else "run it again",
            where=cause.where,
        )
        self.results = results
        self.exit_code = cause.exit_code  # pyright: ignore[reportAttributeAccessIssue]


def run_steps(
    steps: Sequence[Step],
    context: Context,
    selection: Selection,
    announce: Callable[[StepResult | Step], None],
) -> list[StepResult]:
    """Run the chosen steps in order and journal each. Raises StepsFailedError at the first that fails."""
    chosen = selection.chooses(steps)
    results: list[StepResult] = []
    for step in steps:
        if step.name not in chosen:
            results.append(StepResult(step.name, "skipped"))
            continue
        announce(step)
        started = time.monotonic()
        try:
            changed = step.run(context)
        except YiyunError as error:
            results.append(StepResult(step.name, "failed", seconds=time.monotonic() - started))
            context.paths.verified.unlink(missing_ok=True)
            _journal(context.paths.journal, results)
            raise StepsFailedError(error, results) from error
        context.changed += changed
        if changed:
            context.paths.verified.unlink(missing_ok=True)
        status: Status = "done" if changed else "unchanged"
        results.append(StepResult(step.name, status, changed, time.monotonic() - started))
        announce(results[-1])
        _journal(context.paths.journal, results)
    return results


def completed(journal: Path, steps: Sequence[Step]) -> bool:
    """True when the journal says that the last run of all these steps came to its end."""
    if not journal.exists():
        return False
    entries = json.loads(journal.read_text(encoding="utf-8"))
    good = {entry["name"] for entry in entries if entry["status"] in {"done", "unchanged"}}
    return good >= {step.name for step in steps}


def _journal(path: Path, results: list[StepResult]) -> None:
    older: dict[str, object] = {}
    if path.exists():
        older = {entry["name"]: entry for entry in json.loads(path.read_text(encoding="utf-8"))}
    for result in results:
        if result.status != "skipped" or result.name not in older:
            older[result.name] = result.as_json()
    write_private(path, json.dumps(list(older.values()), indent=1).encode())
