"""A soak is drawn from its seed, goes on with its own file and with no other, and hides no run."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from infra.errors import BadInputError, YiyunError
from runbooks.drills.comparison import summarised
from runbooks.drills.ran import Ran
from runbooks.drills.soak import Draw, Limits, Result, draw, gone_on_with, read_result, soak
from runbooks.drills.soak_lab import LabHands
from tests.lab.harness import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAMES = ["kill", "freeze", "cut", "isolate"]
BEGAN = datetime(2026, 11, 28, tzinfo=UTC)


def wanted(**changes: Any) -> Result:
    given = {
        "command": "yiyun drill soak",
        "estate": "lab",
        "scope": "lab",
        "seed": 7,
        "count": 6,
        "drills": NAMES[:2],
        "began": BEGAN,
        "commit": "abc",
        "machine": {"cores": 2, "memory_gib": 24, "kernel": "6.1"},
        "versions": {"mysql": "9.7.4"},
    }
    return Result.model_validate(given | changes)


class Hands:
    """An estate on which drills end as told, by number."""

    def __init__(self, verdicts: dict[int, str] | None = None, broken: dict[int, str] | None = None) -> None:
        self.verdicts, self.broken = verdicts or {}, broken or {}
        self.run_numbers: list[int] = []
        self.kept: list[int] = []
        self.whole = 0

    def wait_until_whole(self, drill: str) -> None:
        self.whole += 1

    def run(self, draw: Draw) -> Ran:
        self.run_numbers.append(draw.number)
        if draw.number in self.broken:
            raise YiyunError(self.broken[draw.number])
        verdict = self.verdicts.get(draw.number, "passed")
        rto = None if verdict == "void" else draw.number / 10
        return Ran.model_validate(
            {"drill": draw.drill, "at": BEGAN, "verdict": verdict, "seed": draw.seed, "rto_s": rto}
        )

    def keep(self, result: Result) -> None:
        self.kept.append(len(result.runs))


def as_json(runs: Sequence[Ran]) -> dict[str, dict[str, Any]]:
    return {name: figures.as_json() for name, figures in summarised(runs).items()}


def endured(hands: Hands, result: Result | None = None, limits: Limits = Limits(), **more: Any) -> Result:  # noqa: B008
    return soak(result or wanted(), hands, limits, as_json, **more)


def test_the_same_seed_draws_the_same_and_each_drill_comes_as_often() -> None:
    drawn = draw(42, 100, NAMES)
    assert drawn == draw(42, 100, NAMES)
    assert Counter(d.drill for d in drawn) == dict.fromkeys(NAMES, 25)
    assert [d.drill for d in drawn] != [d.drill for d in draw(43, 100, NAMES)]
    assert [d.drill for d in drawn] != sorted(d.drill for d in drawn), "mixed"
    assert len({d.seed for d in drawn}) > 90
    assert sorted(Counter(d.drill for d in draw(1, 10, NAMES)).values()) == [2, 2, 3, 3]
    with pytest.raises(BadInputError, match="no drills"):
        draw(1, 10, [])


def test_every_run_is_kept_at_once_with_its_verdict_void_ones_too() -> None:
    hands = Hands({2: "void", 3: "failed"})
    result = endured(hands)
    assert [r.verdict for r in result.runs] == ["passed", "void", "failed", "passed", "passed", "passed"]
    assert hands.kept[:6] == [1, 2, 3, 4, 5, 6]
    assert hands.whole == 6
    assert result.stopped == ""
    assert sum(of["runs"] for of in result.summary.values()) == 6
    assert sum(of["void"] for of in result.summary.values()) == 1


def test_it_goes_on_where_its_file_ended(tmp_path: Path) -> None:
    file = tmp_path / "soak.json"
    half = endured(Hands(), limits=Limits(minutes=1), clock=iter(range(0, 10**4, 25)).__next__)
    assert 0 < len(half.runs) < 6
    assert half.stopped == "1 minutes are over"
    file.write_text(half.model_dump_json(), encoding="utf-8")
    again = gone_on_with(file, wanted())
    assert again.stopped == ""
    hands = Hands()
    whole = endured(hands, again)
    assert hands.run_numbers == list(range(len(half.runs) + 1, 7))
    assert [r.drill for r in whole.runs] == [d.drill for d in draw(7, 6, NAMES[:2])]
    assert [r.number for r in whole.runs] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("change", [{"seed": 8}, {"count": 7}, {"drills": NAMES}, {"estate": "other"}])
def test_results_of_two_soaks_never_stand_in_one_file(tmp_path: Path, change: dict[str, Any]) -> None:
    file = tmp_path / "soak.json"
    file.write_text(wanted().model_dump_json(), encoding="utf-8")
    assert gone_on_with(file, wanted()).runs == []
    with pytest.raises(BadInputError, match=f"its {next(iter(change))} is"):
        gone_on_with(file, wanted(**change))


@pytest.mark.parametrize("text", ["", "{}", '{"format": "yiyun.drill-soak/1"', "[1]"])
def test_what_is_no_result_is_refused_not_overwritten(tmp_path: Path, text: str) -> None:
    file = tmp_path / "soak.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError, match="is no result of a soak"):
        gone_on_with(file, wanted())
    assert file.read_text(encoding="utf-8") == text


def test_it_stops_at_the_first_failure_only_when_asked() -> None:
    assert len(endured(Hands({2: "failed"})).runs) == 6
    result = endured(Hands({2: "failed"}), limits=Limits(stop_on_failure=True))
    assert (len(result.runs), result.stopped) == (2, "drill 2 failed")
    assert len(endured(Hands({2: "void"}), limits=Limits(stop_on_failure=True)).runs) == 6


def test_a_drill_that_was_not_undone_ends_the_soak_and_stands_in_the_file() -> None:
    hands = Hands(broken={3: "the drill could not be undone"})
    result = endured(hands)
    assert hands.run_numbers == [1, 2, 3]
    assert (result.runs[-1].verdict, result.runs[-1].reasons) == (
        "aborted",
        ["the drill could not be undone"],
    )
    assert result.stopped == "drill 3: the drill could not be undone"
    assert hands.kept[-1] == 3


def test_the_file_fits_its_schema_and_is_never_half_written(tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    lab = LabHands(None, None, out, print)  # type: ignore[arg-type]
    lab.keep(endured(Hands({2: "void", 3: "failed"}, broken={5: "x"})))
    schema = json.loads((SCHEMAS / "drill-soak-file.json").read_text(encoding="utf-8"))
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    validator.validate(json.loads(out.read_text(encoding="utf-8")))
    assert len(read_result(out).runs) == 5
    assert [p.name for p in tmp_path.iterdir()] == ["soak.json"]
    missing = LabHands(None, None, tmp_path / "none" / "soak.json", print)  # type: ignore[arg-type]
    with pytest.raises(YiyunError, match=r"soak\.json"):
        missing.keep(wanted())
