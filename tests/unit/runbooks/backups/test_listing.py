"""Lines of `backup list`: what is there, how far it reaches, when it was read back, until when it stays."""

from __future__ import annotations

from typing import Any

from runbooks.backups.listing import HELD, listed


def at(hour: int) -> str:
    return f"2026-11-28T{hour:02d}:00:00+00:00"


def entry(name: str, hour: int, **body: Any) -> dict[str, Any]:
    return {"id": name, "writer": name.split(".")[0], "began": at(hour), "ended": at(hour + 1), "body": body}


def saved(name: str, hour: int, kind: str = "base", repository: str = "mysql", **body: Any) -> dict[str, Any]:
    more = {"repository": repository, "bytes": 9, "snapshots": {"near": "a", "far": "b"}}
    return entry(name, hour, kind=kind, **more, **body)


def read_back(name: str, hour: int, *problems: str, region: str = "near") -> dict[str, Any]:
    body = {"region": region, "repositories": ["mysql"], "problems": list(problems)}
    return entry(name, hour, kind="read-back", **body)


def told(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    fields = {"region": "near", "entries": entries, "removed": [], "held": [], "locked_until": {}, "log": {}}
    return fields | more


def test_a_base_reaches_as_far_as_a_log_that_began_before_it() -> None:
    log = {"db-1": {"from": at(1), "to": at(9)}, "db-2": {"from": at(8), "to": at(23)}}
    (base,) = listed(told(saved("db-3.1", 3), log=log))
    assert (base.what, base.host, base.where) == ("mysql", "db-3", ("far", "near"))
    assert (base.taken, base.covers_from, base.covers_to) == (at(4), at(4), at(9))
    (alone,) = listed(told(saved("db-3.1", 3), log={"db-2": log["db-2"]}))
    assert alone.covers_to == at(4), "a log from after the base leads nowhere"


def test_files_are_of_the_time_when_saving_began() -> None:
    (files,) = listed(told(saved("app-1.2", 3, "snapshot", "app-1", service="proxy")))
    assert (files.what, files.covers_from, files.covers_to) == ("proxy", at(3), at(3))


def test_only_a_look_after_it_at_its_repository_without_a_problem_counts() -> None:
    base = saved("db-3.1", 5)
    looks = (read_back("ops-1.1", 3), read_back("ops-1.2", 8, "gone"), read_back("ops-1.3", 9, region="far"))
    assert listed(told(base, *looks))[0].verified == ""
    assert listed(told(base, *looks, read_back("ops-1.4", 10)))[0].verified == at(11)
    other = saved("app-1.1", 5, "snapshot", "app-1", service="proxy")
    assert listed(told(other, read_back("ops-1.4", 10)))[0].verified == ""


def test_what_was_removed_is_not_listed_and_a_hold_is_until_it_is_taken_off() -> None:
    two = (saved("db-3.1", 3), saved("db-3.2", 4))
    left = listed(told(*two, removed=["db-3.1"], locked_until={"db-3.2": at(20)}))
    assert [(one.id, one.held_until) for one in left] == [("db-3.2", at(20))]
    assert [one.held_until for one in listed(told(*two, held=["db-3.2"]))] == ["", HELD]
