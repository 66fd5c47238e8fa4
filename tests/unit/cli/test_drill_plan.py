"""`drill schedule`, `compare`, `soak`, and the picture of `drill history`, on evidence without a lab."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cli.main import app
from cli.verbs import drill_plan
from runbooks.drills.ran import Ran
from runbooks.drills.soak_lab import LabHands
from tests.drill_folders import evidence
from tests.lab.harness import check_schema
from tests.unit.cli.test_contract import result_of, yiyun

if TYPE_CHECKING:
    from pathlib import Path

    from runbooks.drills.soak import Draw, Result

NAME = "mysql-writer-kill"


@pytest.fixture
def rehearsed(tmp_path: Path) -> Path:
    """A state folder in which one drill passed just now. Returns the folder of the drills."""
    drills = tmp_path / "state" / "drills.d" / "lab"
    folder = evidence(tmp_path / "made")
    shutil.move(folder.path, drills / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{NAME}-abc123")
    return drills


def test_a_schedule_names_what_is_overdue_and_exits_2_when_asked(rehearsed: Path, tmp_path: Path) -> None:
    code, result = result_of("drill", "schedule", "--exit-code", state=tmp_path)
    assert code == 2
    by_name = {d["drill"]: d for d in result["drills"]}
    assert by_name[NAME]["overdue"] is False
    assert by_name[NAME]["last_verdict"] == "passed"
    never = [d for d in result["drills"] if d["drill"] != NAME]
    assert all(d["overdue"] and d["next_due"] is None for d in never)
    assert result["overdue"] == len(never) > 0
    assert result_of("drill", "schedule", state=tmp_path)[0] == 0
    said = yiyun("drill", "schedule", state=tmp_path).stdout
    assert "overdue" in said
    assert "8.1.10.13" in said


def test_folders_of_evidence_are_compared(rehearsed: Path, tmp_path: Path) -> None:
    other = evidence(tmp_path / "other", kept=59).path.parent
    code, result = result_of("drill", "compare", str(rehearsed), str(other), state=tmp_path)
    assert (code, result["sources"]) == (0, ["lab", "other"])
    (drill,) = result["drills"]
    assert [(f["source"], f["passed"], f["lost"]) for f in drill["figures"]] == [
        ("lab", 1, 0),
        ("other", 0, 1),
    ]
    assert "other" in yiyun("drill", "compare", str(rehearsed), str(other), state=tmp_path).stdout


def test_what_cannot_be_compared_is_bad_input(tmp_path: Path) -> None:
    code, result = result_of("drill", "compare", str(tmp_path / "none"), state=tmp_path)
    assert (code, result["error"]["where"]) == (4, str(tmp_path / "none"))


def test_a_history_has_its_picture(rehearsed: Path, tmp_path: Path) -> None:
    file = tmp_path / "trend.svg"
    words = ("drill", "history", "--picture", str(file), "--language", "en")
    code, result = result_of(*words, state=tmp_path)
    assert (code, result["picture"]) == (0, str(file))
    assert 'class="passed"' in file.read_text(encoding="utf-8")
    assert "objective 1.5 s" in file.read_text(encoding="utf-8")
    code, result = result_of("drill", "history", "--picture", str(tmp_path / "no" / "x.svg"), state=tmp_path)
    assert code == 4
    assert str(rehearsed)


def test_a_soak_is_refused_before_anything_where_it_cannot_be(tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    words = ("drill", "soak", "--count", "2", "--out", str(out))
    code, result = result_of(*words, state=tmp_path)
    assert code == 4
    assert "never brought up" in result["error"]["message"]
    ssh = tmp_path / "state" / "lab" / "ssh"
    ssh.mkdir(parents=True)
    (ssh / "config").touch()
    code, result = result_of(*words, "--yes", "--drills", "mysql-writer-kill,nonsense", state=tmp_path)
    assert (code, result["error"]["message"]) == (4, "no drill nonsense")
    assert result_of(*words, state=tmp_path)[0] == 3, "it breaks things: not without a terminal or --yes"
    out.write_text("[]", encoding="utf-8")
    code, result = result_of(*words, "--yes", "--seed", "1", state=tmp_path)
    assert code == 4
    assert "no result of a soak" in result["error"]["message"]
    assert json.loads(out.read_text(encoding="utf-8")) == []


class Hands:
    """An estate on which every drill passes, and the second one not."""

    def __init__(self, _estate: object, _paths: object, out: Path, _progress: object) -> None:
        self.lab = LabHands(None, None, out, print)  # type: ignore[arg-type]

    def wait_until_whole(self, drill: str) -> None:
        pass

    def run(self, draw: Draw) -> Ran:
        verdict = "failed" if draw.number == 2 else "passed"
        found = {"drill": draw.drill, "at": datetime.now(UTC), "verdict": verdict, "seed": draw.seed}
        return Ran.model_validate(found | {"rto_s": 0.4, "objective_rto_s": 1.5})

    def keep(self, result: Result) -> None:
        self.lab.keep(result)


def test_a_soak_says_what_its_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("YIYUN_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(drill_plan, "LabHands", Hands)
    monkeypatch.setattr(drill_plan, "must_be_deployed", lambda _report: None)
    monkeypatch.setattr(drill_plan, "versions", lambda *_: {"mysql": "9.7.4"})
    out = tmp_path / "soak.json"

    def soaked(*more: str) -> dict:
        words = ["drill", "soak", "--count", "3", "--drills", NAME, "--out", str(out), "--yes", "--json"]
        app([*words, *more], standalone_mode=False)
        result = json.loads(capsys.readouterr().out)
        check_schema(result)
        return result

    first = soaked("--stop-on-failure", "--seed", "5")
    assert (len(first["runs"]), first["stopped"], first["ok"]) == (2, "drill 2 failed", False)
    file = json.loads(out.read_text(encoding="utf-8"))
    assert file["runs"] == first["runs"]
    assert file["versions"] == {"mysql": "9.7.4"}
    again = soaked()
    assert (again["seed"], len(again["runs"]), again["stopped"], again["ok"]) == (5, 3, "", False)
    assert again["runs"][:2] == first["runs"]
    assert again["summary"][NAME]["failed"] == 1
