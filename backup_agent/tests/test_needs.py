"""What is needed, from entries alone: no moment of the time that is kept is without a base; holds hold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from backup_kit import AT
from test_catalogue import BASE as NEAR

from yiyun_backup.bases import bases_in
from yiyun_backup.catalogue import Copied, Entry, Hold, Pruned, Snapshot
from yiyun_backup.config import Keep
from yiyun_backup.needs import needs_in

KEEP = Keep(log=35, base=35, files=35)
BASE = NEAR.model_copy(update={"bytes": 1, "snapshots": {"near": "ab12", "far": "cd34"}})


def files(service: str) -> Snapshot:
    return Snapshot(
        service=service, way="files", files=1, bytes=1, repository="db-3", snapshots=BASE.snapshots
    )


def hold(of: str, *, on: bool = True) -> Hold:
    return Hold(of=of, on=on, by="li", reason="case 7")


def written(writer: str, *them: tuple[Any, float]) -> dict[str, list[Entry]]:
    """Bodies, and how many days ago each was."""
    made = []
    for seq, (body, days) in enumerate(them, 1):
        at = AT - timedelta(days=days)
        made.append(Entry(estate="t", writer=writer, seq=seq, prev="", began=at, ended=at, body=body))
    return {writer: made}


def over(*catalogues: dict[str, list[Entry]]) -> list[str]:
    every = {writer: them for one in catalogues for writer, them in one.items()}
    needs = needs_in(every, KEEP, AT, ["near", "far"])
    assert not {e.id for e in needs.kept} & {e.id for e in needs.over}
    return [e.id for e in needs.over]


FOUR = ((BASE, 60), (BASE, 40), (BASE, 30), (BASE, 1))


def test_the_last_base_from_before_the_time_that_is_kept_is_needed() -> None:
    assert over(written("db-3", *FOUR)) == ["db-3.1"]
    assert over(written("db-3", (BASE, 60))) == [], "the only one there is"
    assert over(written("db-3", (BASE, 60)), written("db-1", (BASE, 50))) == ["db-3.1"], "of any member"


def test_what_did_not_arrive_in_a_region_stands_for_nothing_there() -> None:
    here = BASE.model_copy(update={"snapshots": {"near": "ab12"}})
    four = ((BASE, 60), (BASE, 50), (here, 40), (BASE, 1))
    assert over(written("db-3", *four)) == ["db-3.1"]
    later = Copied(of="db-3.3", region="far", snapshot="ef56")
    assert over(written("db-3", *four, (later, 0))) == ["db-3.1", "db-3.2"]
    nowhere = files("zabbix").model_copy(update={"snapshots": {"near": "ab12"}})
    assert over(written("db-3", (files("zabbix"), 60), (nowhere, 1))) == []


def test_of_files_the_newest_of_each_service_stays() -> None:
    them = ((files("zabbix"), 60), (files("zabbix"), 50), (files("platform"), 90), (files("zabbix"), 40))
    assert over(written("db-3", *them)) == ["db-3.1", "db-3.2"]
    assert over(written("db-3", *them, (files("zabbix"), 1))) == ["db-3.1", "db-3.2", "db-3.4"]


def test_what_is_held_is_kept_until_the_hold_is_taken_off() -> None:
    held = (*FOUR, (hold("db-3.1"), 2))
    assert over(written("db-3", *held)) == []
    assert over(written("db-3", *held, (hold("db-3.1", on=False), 1))) == ["db-3.1"]
    assert over(written("db-3", *held, (hold("db-3.2", on=False), 1))) == [], "another one's"


@pytest.mark.parametrize("days", [3, 1])
def test_another_host_cannot_take_a_hold_off(days: float) -> None:
    """Also not with an earlier or a later stamp: who took the key of one host has not that of all."""
    ops = written("ops-1", (hold("db-3.1"), 2))
    assert over(written("db-3", *FOUR, (hold("db-3.1", on=False), days)), ops) == []


def test_what_was_pruned_is_no_candidate_any_more() -> None:
    entries = written("db-3", *FOUR, (Pruned(of=("db-3.1",)), 0))
    assert over(entries) == []
    assert [e.id for e in bases_in(entries["db-3"])] == ["db-3.4", "db-3.3", "db-3.2"]
