"""Drills side by side: figures of result files of `drill soak`, or of folders of evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from infra.errors import BadInputError
from runbooks.drills.evidence.timing import quantile
from runbooks.drills.folder import Folder
from runbooks.drills.ran import Ran, by_drill, read_ran, times
from runbooks.drills.soak import read_result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Figures:
    """What some runs of one drill showed together. Seconds.

    Recovery times are those of runs that passed or failed; `never`: how many of these were not served again.
    Losses and stale reads are sums over all runs.
    """

    runs: int
    passed: int
    failed: int
    void: int
    aborted: int
    rto_p50_s: float | None
    rto_p99_s: float | None
    rto_max_s: float | None
    never: int
    acknowledged: int
    lost: int
    indeterminate: int
    failed_requests: int
    stale_reads: int
    conflicts: int
    two_writers_max_s: float

    def as_json(self) -> dict[str, Any]:
        """As in the command contract."""
        return asdict(self)


def figures(runs: Sequence[Ran]) -> Figures:
    """Figures of runs of one drill. Pure. Evidence that cannot be read counts as aborted."""
    seconds = times(runs)
    words = [run.verdict for run in runs]
    return Figures(
        runs=len(runs),
        passed=words.count("passed"),
        failed=words.count("failed"),
        void=words.count("void"),
        aborted=words.count("aborted") + words.count("unreadable"),
        rto_p50_s=quantile(seconds, 0.5) if seconds else None,
        rto_p99_s=quantile(seconds, 0.99) if seconds else None,
        rto_max_s=max(seconds, default=None),
        never=sum(run.counts and run.rto_s is None for run in runs),
        acknowledged=sum(run.acknowledged for run in runs),
        lost=sum(run.lost for run in runs),
        indeterminate=sum(run.indeterminate for run in runs),
        failed_requests=sum(run.failed_requests or 0 for run in runs),
        stale_reads=sum(run.stale_reads for run in runs),
        conflicts=sum(run.conflicts for run in runs),
        two_writers_max_s=max((run.two_writers_s for run in runs), default=0.0),
    )


def summarised(runs: Sequence[Ran]) -> dict[str, Figures]:
    """Drill → figures. Pure."""
    return {name: figures(of) for name, of in by_drill(runs).items()}


def beside(sources: Mapping[str, Sequence[Ran]]) -> dict[str, dict[str, Figures | None]]:
    """Drill → source → figures; None where a source does not have that drill. Pure."""
    return {
        name: {source: figures(runs) if runs else None for source, runs in of.items()}
        for name, of in regrouped(sources).items()
    }


def regrouped(sources: Mapping[str, Sequence[Ran]]) -> dict[str, dict[str, list[Ran]]]:
    """Drill → source → its runs, drills in the order of their names; none where it lacks that drill. Pure."""
    found = {source: by_drill(runs) for source, runs in sources.items()}
    names = sorted({name for of in found.values() for name in of})
    return {name: {source: of.get(name, []) for source, of in found.items()} for name in names}


def read_sources(paths: Sequence[Path]) -> dict[str, list[Ran]]:
    """Source's name → runs; two of one name are told apart by their whole paths.

    Raises BadInputError for what is neither a result file nor a folder with evidence.
    """
    names = [p.name.removesuffix(".json") for p in paths]
    twice = {name for name in names if names.count(name) > 1}
    return {str(p) if n in twice else n: runs_of(p) for n, p in zip(names, paths, strict=True)}


def runs_of(path: Path) -> list[Ran]:
    """Runs of a result file, of one drill's folder, or of a folder of such. Raises BadInputError."""
    if path.is_file():
        return list(read_result(path).runs)
    hint = "a result file of drill soak, a drill's folder of evidence, or a folder of such"
    if not path.is_dir():
        raise BadInputError(f"no file or folder {path}", hint=hint, where=str(path))
    if (path / "drill.json").exists():
        return [read_ran(Folder(path))]
    found = [Folder(p) for p in sorted(path.iterdir()) if (p / "drill.json").exists()]
    if not found:
        raise BadInputError(f"{path} holds no drill's evidence", hint=hint, where=str(path))
    return [read_ran(folder) for folder in found]
