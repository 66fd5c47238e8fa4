"""Which kills a seed gives, and which of them were put right."""

from __future__ import annotations

from typing import Any

import pytest

from tests.killed_drills import DRILLS, LONGEST_SECONDS, drawn, good

RIGHT: dict[str, Any] = {"killed": True, "left": 1, "undone": ["x"], "resumed_again": [], "problems": []}


def test_a_seed_gives_the_same_kills_again_and_another_others() -> None:
    kills = drawn(7, 10)
    assert kills == drawn(7, 10) != drawn(8, 10)
    assert {k.drill for k in kills} <= set(DRILLS)
    assert all(0 < k.after_s <= LONGEST_SECONDS for k in kills)


@pytest.mark.parametrize(
    "wrong",
    [
        {"killed": False},
        {"undone": []},
        {"resumed_again": ["x"]},
        {"problems": ["db-1 is OFFLINE"]},
    ],
)
def test_what_was_not_put_right_is_not_good(wrong: dict[str, Any]) -> None:
    assert good(RIGHT)
    assert good(RIGHT | {"left": 0, "undone": []}), "it was killed before it broke anything"
    assert not good(RIGHT | wrong)
