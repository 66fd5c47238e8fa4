"""Each thing that must not be is named, when it is planted; the attacks cover what a store lets be asked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ransom.__main__ import compared
from tests.ransom.attacks import OF_A_BUCKET, OF_A_NAME, OF_A_VERSION, calls
from tests.ransom.stored import Stored, parsed
from tests.ransom.verdict import problems, table

OWNERS = {"ROOT"}


def good() -> dict[str, Any]:
    figures = {"versions_lost": 0, "hidden": 0, "shortened": 0, "overwritten": 3}
    return {
        "credentials": {"db-1": ["backup"]},
        "attacks": {"hide": {"AccessDenied": 4}, "overwrite": {"done": 3}},
        "buckets": {"backups-remote": figures},
        "seen": True,
        "read_as_of_before": [],
        "restored": {"same": True},
    }


def test_nothing_is_said_of_what_is_as_it_must_be() -> None:
    assert problems(good(), OWNERS) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attacks": {"hide": {"done": 1}, "overwrite": {"done": 1}}}, "hide: done 1 times"),
        ({"attacks": {"shorten": {"no answer: away": 1}}}, "shorten: no answer: away"),
        ({"credentials": {"db-1": ["ROOT"]}}, "db-1 holds the key of ROOT"),
        ({"seen": False}, "did not show the attack"),
        ({"read_as_of_before": ["a hole"]}, "as of before: a hole"),
        ({"restored": {"same": False}}, "not what was there before"),
    ],
)
def test_what_must_not_be_is_named(change: dict[str, Any], said: str) -> None:
    (found,) = problems(good() | change, OWNERS)
    assert said in found


@pytest.mark.parametrize("figure", ["versions_lost", "hidden", "shortened"])
def test_what_became_of_a_bucket_is_judged(figure: str) -> None:
    result = good()
    result["buckets"]["backups-remote"][figure] = 2
    (found,) = problems(result, OWNERS)
    assert "backups-remote" in found


def test_an_attack_that_did_not_take_place_proves_nothing() -> None:
    result = good()
    result["buckets"]["backups-remote"]["overwritten"] = 0
    assert problems(result, OWNERS) == ["nothing was written over: the attack did not take place"]


def test_answers_are_counted_by_attack() -> None:
    found = [{"attack": "hide", "answer": a} for a in ("AccessDenied", "done", "AccessDenied")]
    assert table(found) == {"hide": {"AccessDenied": 2, "done": 1}}


def test_what_became_of_versions_is_seen() -> None:
    before = [
        Stored("a", "1", True, False),
        Stored("b", "2", True, False),
        Stored("c", "3", True, False),
        Stored("restic/x/locks/d", "4", True, False),
    ]
    after = [
        Stored("a", "1", False, False),
        Stored("a", "9", True, False),
        Stored("b", "2", False, False),
        Stored("b", "8", True, True),
        Stored("restic/x/locks/d", "4", False, False),
        Stored("restic/x/locks/d", "7", True, True),
    ]
    told = compared(
        before, after, {"1": "2026-12-30", "2": "2026-12-30"}, {"1": "2026-12-30", "2": "2026-11-30"}
    )
    assert told == {
        "versions": 4,
        "versions_lost": 1,
        "hidden": 2,
        "overwritten": 1,
        "retention_read": 2,
        "shortened": 1,
    }


def test_versions_are_read_from_the_stores_answer() -> None:
    body = (
        "<ListVersionsResult><Version><Key>a &amp; b</Key><VersionId>v1</VersionId><IsLatest>false</IsLatest>"
        "</Version><DeleteMarker><Key>c</Key><VersionId>v2</VersionId><IsLatest>true</IsLatest></DeleteMarker>"
    )
    assert parsed(body) == [Stored("a & b", "v1", False, False), Stored("c", "v2", True, True)]


def test_every_attack_is_tried_on_each_object_and_names_are_written_over_last() -> None:
    planned = list(calls("bucket", [["a", "1"], ["b", "2"]]))
    names = [name for name, _, _ in planned]
    assert set(names) == {*OF_A_BUCKET, *OF_A_VERSION, *OF_A_NAME, "write a policy", "delete many"}
    assert {key for _, key, _ in planned} == {"", "a", "b"}
    assert set(names[-4:]) == set(OF_A_NAME)
    assert all(parameters["Bucket"] == "bucket" for _, _, (_, parameters) in planned)
