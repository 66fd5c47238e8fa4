"""What the result of the table of damage says of a row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.trials.damage import LONGEST, earlier, rendered, shortened, told

if TYPE_CHECKING:
    from pathlib import Path


def row(**more: Any) -> Any:
    from damage_play import NOT, Row

    return Row("3 a pack|emptied", lambda _: None, "repository", NOT, "refuse", **more)


def outcome(**more: Any) -> Any:
    from damage_play import MARKED, Outcome

    error = {"code": "damaged", "message": "x" * 1000, "hint": ""}
    return Outcome(
        **(
            {"check_code": 1, "problems": ["far: repository"], "notes": [], "restore_code": 1, "left": MARKED}
            | {"error": error}
            | more
        )
    )


def test_a_row_says_what_happened_and_that_it_was_required() -> None:
    found = told(row(), outcome())
    assert (found["number"], found["damage"], found["verdict"]) == ("3", "a pack|emptied", "as required")
    assert found["restore"]["target"] == "marked"
    assert len(found["restore"]["message"]) == LONGEST + 1


def test_a_restore_that_is_not_like_its_source_is_wrong_whatever_it_warns_of() -> None:
    found = told(row(), outcome(restore_code=0, warnings=["w"], differences=["bank.moves is missing"]))
    assert found["wrong"]
    assert found["verdict"].startswith("NOT as required")
    assert not told(row(), outcome(restore_code=0, differences=[]))["wrong"]


def test_only_what_was_as_required_is_not_played_again(tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    assert earlier(out) == {}
    wrong = told(row(), outcome(restore_code=0, differences=[])) | {"damage": "another"}
    out.write_text(json.dumps({"commit": "abc", "results": [told(row(), outcome()), wrong]}))
    assert {name: found["commit"] for name, found in earlier(out).items()} == {"3 a pack|emptied": "abc"}


def test_the_table_has_a_line_for_each_row_and_calls_what_is_wrong_wrong() -> None:
    wrong = outcome(restore_code=0, differences=["bank.moves is missing"])
    document = {
        "command": "c",
        "commit": "abc",
        "rows": 2,
        "as_required": 1,
        "restores_that_succeeded": 1,
        "silent_wrong_restores": 1,
        "results": [told(row(), outcome()), told(row(), wrong)],
    }
    lines = rendered(document).splitlines()
    assert sum(line.startswith("| 3 | a pack\\|emptied | refuse | 1 problem |") for line in lines) == 2
    assert lines[-2].endswith("exit 1, `damaged`; target: marked | as required |")
    assert "WRONG" in lines[-1]
    there = "/var/tmp/yiyun-trial-a1/tmpx_9/restored/data has 15 MiB free"
    assert shortened(["short", there]) == ["short", "…/restored/data has 15 MiB free"]
