"""Check reports as a stranger would: with their files and a public key that came by another way.

What is checked of a report: signature and form; its pages' seals; every file of evidence beside it by its
hash; and that the whole report, verdict and all, comes out of that evidence again. Of a folder of drills: the
chain besides. Every refusal names its check.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from infra.errors import BadInputError
from runbooks.drills.evidence.verdict import RULES, judge
from runbooks.drills.folder import Folder
from runbooks.drills.reports.chain import Head, check_chain
from runbooks.drills.reports.compose import compose
from runbooks.drills.reports.envelope import Opened, unseal
from runbooks.drills.reports.errors import RefusedReportError
from runbooks.drills.reports.publish import about_of
from runbooks.drills.reports.seals import check_page, is_page
from runbooks.drills.reports.stamp import Stamp, check, stamp_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

REPORT_NAME = "report.json"
JUDGED = ("objectives", "result", "deviations", "timeline", "graph", "undo", "rehearsal")
"""What comes out of the evidence; the rest is copied, or words that a later yiyun may choose better."""
Evidence = Literal["whole", "absent", "other-rules"]
"""Of a report's evidence: beside it, as listed and giving the same report; not beside it; beside it and as
listed, but judged by another version's rules, so that it was not computed again."""


@dataclass(frozen=True)
class Checked:
    """One file that was believed. `evidence`: whether it lay beside the report and gave the same verdict."""

    path: Path
    opened: Opened
    evidence: Evidence
    stamp: Stamp | None = None
    """Of a report that has a time stamp beside it."""

    @property
    def seq(self) -> int:
        """Its number in the chain."""
        return int(self.opened.report["seq"])

    def as_json(self) -> dict[str, Any]:
        """An entry of `reports` in the JSON contract."""
        report = self.opened.report
        return {
            "file": str(self.path),
            "seq": self.seq,
            "id": report["id"],
            "drill": report["drill"]["name"],
            "verdict": report["result"]["verdict"],
            "sha256": self.opened.digest,
            "evidence": self.evidence,
            "stamped": self.stamp.at.isoformat() if self.stamp else None,
            "stamp_checked": bool(self.stamp and self.stamp.checked),
        }


@dataclass(frozen=True)
class Verified:
    """Everything that was believed, and the chain's newest report where there was a chain to check."""

    files: tuple[Checked, ...]
    head: Head | None


def verify(
    targets: Sequence[Path],
    key: Ed25519PublicKey,
    anchored: Head | None = None,
    roots: Sequence[Path] = (),
) -> Verified:
    """Check files, a drill's folder, or a folder of drills.

    `anchored`: the newest report as the user noted it. `roots`: of time stamp authorities that they trust.
    Raises RefusedReportError naming the check and the file, BadInputError when there is nothing to check.
    """
    checked = tuple(_checked(path, key, roots) for target in targets for path in _files(target))
    if not checked:
        raise BadInputError("no report here", hint="give report.json, a page, or a folder of them")
    whole = anchored is not None or any(_holds_drills(target) for target in targets)
    return Verified(checked, check_chain([c.opened for c in checked], anchored) if whole else None)


def _files(target: Path) -> Iterator[Path]:
    if not target.exists():
        raise BadInputError(f"no file {target}", hint="give report.json, a page, or a folder of them")
    if not target.is_dir():
        yield target
    else:
        reports = (
            [target / REPORT_NAME] if (target / REPORT_NAME).exists() else target.glob(f"*/{REPORT_NAME}")
        )
        for report in sorted(reports):
            yield report
            yield from sorted([*report.parent.glob("report.*.html"), *report.parent.glob("report.*.pdf")])


def _holds_drills(target: Path) -> bool:
    return target.is_dir() and not (target / REPORT_NAME).exists()


def _checked(path: Path, key: Ed25519PublicKey, roots: Sequence[Path]) -> Checked:
    try:
        data = path.read_bytes()
        opened = check_page(data, key)[0] if is_page(data) else unseal(data, key)
        _of_the_report_beside(path, opened, key)
        stamped = path.name == REPORT_NAME and stamp_path(path).exists()
        stamp = check(path, tuple(roots)) if stamped else None
        return Checked(path, opened, _evidence(Folder(path.parent), opened), stamp)
    except OSError as error:
        raise BadInputError(f"{path}: {error}", hint="can it be read?") from None
    except RefusedReportError as error:
        raise RefusedReportError(error.check, error.told, where=str(path)) from error


def _of_the_report_beside(path: Path, opened: Opened, key: Ed25519PublicKey) -> None:
    beside = path.with_name(REPORT_NAME)
    if beside != path and beside.exists() and unseal(beside.read_bytes(), key).digest != opened.digest:
        raise RefusedReportError("pairing", f"shows another report than {REPORT_NAME} beside it")


def _evidence(folder: Folder, opened: Opened) -> Evidence:
    """Compare what lies beside the report with what it lists, then compute the report again."""
    listed = {e["file"]: e["sha256"] for e in opened.report["evidence"]}
    found = {name: folder.path / name for name in listed if (folder.path / name).exists()}
    if not found:
        return "absent"
    for name, digest in listed.items():
        if name not in found:
            raise RefusedReportError("evidence", f"{name} is missing")
        if hashlib.sha256(found[name].read_bytes()).hexdigest() != digest:
            raise RefusedReportError("evidence", f"{name} is not the file that the report lists")
    if opened.report["rules"] != RULES:
        return "other-rules"
    _recomputed(folder, opened.report)
    return "whole"


def _recomputed(folder: Folder, report: dict[str, Any]) -> None:
    evidence = folder.evidence()
    about = about_of(folder) | {"seq": report["seq"], "prev_sha256": report["prev_sha256"]}
    again = compose(evidence, judge(evidence), about, folder.files())
    different = [name for name in JUDGED if again.get(name) != report.get(name)]
    if different:
        raise RefusedReportError("verdict", f"its evidence gives another {', '.join(different)}")
