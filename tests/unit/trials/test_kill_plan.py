"""Which kills a seed gives, and which of them were put right."""

from __future__ import annotations

from typing import Any

import pytest

from tests.trials.kill_plan import VICTIMS, drawn, is_good, untrusted

PAIRS = {(verb, victim) for verb, victims in VICTIMS.items() for victim in victims}


def test_a_seed_gives_the_same_kills_again_and_every_pair_before_one_comes_twice() -> None:
    kills = drawn(7, 30)
    assert kills == drawn(7, 30) != drawn(8, 30)
    assert [kill.number for kill in kills] == list(range(1, 31))
    assert {(kill.verb, kill.victim) for kill in kills[: len(PAIRS)]} == PAIRS
    assert all(0 <= kill.share <= 1 for kill in kills)


@pytest.mark.parametrize("wrong", [{"hit": False}, {"problems": ["a target is not marked"]}])
def test_a_kill_that_met_nothing_or_left_something_is_not_good(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"hit": True, "problems": []}
    assert is_good(right)
    assert not is_good(right | wrong)


def test_an_entry_that_one_region_has_first_is_no_distrust_and_one_without_its_data_is() -> None:
    behind = "far: the catalogue of db-1 ends at 3, and was at 4"
    gone = "far: mysql: snapshot 0a1b2c3d of db-1.4 is gone"
    assert untrusted([behind, gone]) == [gone]
