"""What a stranger is told: whole reports are believed, and everything that was altered is refused by name."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import pytest
import rfc8785

from infra.errors import BadInputError
from infra.paths import EstatePaths
from runbooks.drills.evidence.verdict import RULES
from runbooks.drills.reports.envelope import seal, unseal
from runbooks.drills.reports.errors import RefusedReportError
from runbooks.drills.reports.publish import chain_head, publish, sign
from runbooks.drills.reports.verify import JUDGED, verify
from tests.drill_folders import evidence
from tests.drill_sample import KEY, OTHER_KEY, report

if TYPE_CHECKING:
    from pathlib import Path

    from runbooks.drills.folder import Folder
    from runbooks.drills.reports.chain import Head

PUBLIC = KEY.public_key()


@pytest.fixture
def paths(tmp_path: Path) -> EstatePaths:
    return EstatePaths("lab", tmp_path)


@pytest.fixture
def three(paths: EstatePaths) -> list[Folder]:
    """Three drills with signed reports; the last has its pages too."""
    made = [evidence(paths.drills, name=f"2026112{n}T000000Z-mysql-writer-kill-{n}") for n in range(3)]
    for folder in made:
        sign(folder, paths, KEY)
    publish(made[-1], paths, KEY)
    return made


def refusal(*targets: Path, anchored: Head | None = None) -> str:
    with pytest.raises(RefusedReportError) as refused:
        verify(targets, PUBLIC, anchored)
    return refused.value.check


def test_a_whole_folder_is_believed_with_its_chain(paths: EstatePaths, three: list[Folder]) -> None:
    found = verify([paths.drills], PUBLIC)
    assert [c.seq for c in found.files] == [1, 2, 3, 3, 3, 3, 3]
    assert {c.evidence for c in found.files} == {"whole"}
    assert found.head == chain_head(paths, PUBLIC)
    assert verify([three[0].path], PUBLIC).head is None, "one drill is no chain"


def test_a_report_without_its_evidence_says_so(tmp_path: Path, three: list[Folder]) -> None:
    alone = tmp_path / "mail"
    alone.mkdir()
    for name in ("report.json", "report.zh.html", "report.en.pdf"):
        shutil.copy(three[2].path / name, alone)
    assert {c.evidence for c in verify(list(alone.iterdir()), PUBLIC).files} == {"absent"}


def test_a_report_of_other_rules_is_told_from_an_altered_one(
    three: list[Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbooks.drills.reports.verify.RULES", RULES + 1)
    assert {c.evidence for c in verify([three[0].path], PUBLIC).files} == {"other-rules"}
    (three[0].path / "history.jsonl").write_text("", encoding="utf-8")
    assert refusal(three[0].path) == "evidence", "what it lists must be there all the same"


def test_the_same_evidence_gives_the_same_report_or_the_rules_have_another_number() -> None:
    """When this fails, raise `RULES` and write its new number and digest here."""
    judged = {name: report()[name] for name in JUDGED if name in report()}
    digest = hashlib.sha256(rfc8785.dumps(judged)).hexdigest()
    assert (RULES, digest[:16]) == (1, "2ccf69fc12fb12e3")


def test_a_report_that_is_taken_out_or_cut_off_is_missed(paths: EstatePaths, three: list[Folder]) -> None:
    head = chain_head(paths, PUBLIC)
    shutil.move(three[2].path, paths.root / "aside")
    assert verify([paths.drills], PUBLIC).head is not None, "nobody can see a cut end without a note"
    assert refusal(paths.drills, anchored=head) == "head"
    with pytest.raises(RefusedReportError, match="head"):
        sign(evidence(paths.drills, name="20261129T000000Z-mysql-writer-kill-9"), paths, KEY)
    shutil.move(paths.root / "aside", three[2].path)
    shutil.rmtree(three[1].path)
    assert refusal(paths.drills) == "gap"


@pytest.mark.parametrize("name", ["journal.jsonl", "history.jsonl", "held.json", "drill.json", "about.json"])
def test_evidence_of_another_drill_or_none_is_refused(three: list[Folder], name: str) -> None:
    shutil.copy(three[1].path / name, three[0].path / name)
    same = (three[1].path / name).read_bytes() == (three[2].path / name).read_bytes()
    if same:  # two drills of one kind have the same drill file
        (three[0].path / name).write_bytes(b"{}\n")
    assert refusal(three[0].path) == "evidence"
    (three[0].path / name).unlink()
    assert refusal(three[0].path) == "evidence"


def test_a_verdict_that_the_evidence_does_not_give_is_refused_even_when_signed(three: list[Folder]) -> None:
    """The signer's own lie: a report with a better time, signed with the right key over true evidence."""
    report = unseal(three[0].report.read_bytes(), PUBLIC).report
    report["result"]["rto_s"] = 0.1
    three[0].report.write_bytes(seal(report, KEY))
    assert refusal(three[0].path) == "verdict"


def test_another_key_an_altered_byte_and_a_swapped_page_are_refused(three: list[Folder]) -> None:
    with pytest.raises(RefusedReportError, match="key"):
        verify([three[0].path], OTHER_KEY.public_key())
    data = three[0].report.read_bytes()
    three[0].report.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    assert refusal(three[0].path) in {"form", "signature", "canonical"}
    page = three[2].path / "report.en.html"
    shutil.copy(page, three[1].path / page.name)
    assert refusal(three[1].path) == "pairing"
    page.write_bytes(page.read_bytes().replace(b"Passed", b"passed", 1))
    assert refusal(page) == "page"


def test_a_report_can_be_made_of_a_drill_whose_controller_died(paths: EstatePaths) -> None:
    folder = evidence(paths.drills, undone=False)
    head, troubles = publish(folder, paths, KEY)
    assert (head.seq, troubles) == (1, [])
    (checked, *_) = verify([folder.path], PUBLIC).files
    assert checked.as_json()["verdict"] == "aborted"


def test_what_is_no_report_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no file"):
        verify([tmp_path / "none"], PUBLIC)
    with pytest.raises(BadInputError, match="no report here"):
        verify([tmp_path], PUBLIC)
    (tmp_path / "x.json").write_text(json.dumps({"verdict": "passed"}), encoding="utf-8")
    assert refusal(tmp_path / "x.json") == "form"
