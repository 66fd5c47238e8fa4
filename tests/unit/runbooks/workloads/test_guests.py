"""The drill's residents are nobody's, and what members hold of them is judged like any list."""

from __future__ import annotations

from runbooks.drills.journal import Event
from runbooks.drills.workloads import guests
from runbooks.drills.workloads.offered import OFFERS, to_remove


def test_record_numbers_are_well_formed_and_of_a_county_that_does_not_exist() -> None:
    numbers = guests.record_numbers(64)
    assert len(set(numbers)) == 64
    assert all(len(n) == 17 and n.isdecimal() for n in numbers)
    assert {n[:6] for n in numbers} == {"000000"}, "codes of GB/T 2260 begin with 1 to 8"
    statement = guests.admission(numbers[:2])
    assert all(n in statement for n in numbers[:2])


def row(resident: int, name: str, key: str) -> list[str]:
    return [f"{guests.NAMESPACE}{resident:05d}", name, key, "digest"]


def test_a_resident_is_a_list_and_a_file_an_element() -> None:
    rows = [row(2, "1000002.pdf", "k2"), row(1, "3.pdf", "k3"), row(1, "1.pdf", "k1"), row(1, "1.pdf", "k4")]
    held = guests.as_held("db-1", {"gtid_set": "g:1-9", "rows": rows}, ())
    assert held.lists == {"list-0": [1, 1, 3], "list-1": [1000002]}
    assert (held.member, held.gtid_set, held.total, held.registers) == ("db-1", "g:1-9", 0, {})


def test_a_file_that_is_not_in_the_store_is_not_held_and_a_strange_name_is_seen() -> None:
    rows = [row(1, "1.pdf", "k1"), row(1, "2.pdf", "k2"), row(1, "心电图.pdf", "k3")]
    assert guests.as_held("db-1", {"gtid_set": "", "rows": rows}, {"k1"}).lists == {"list-0": [-1, 2]}
    assert guests.as_held("db-1", {"gtid_set": "", "rows": None}, ()).lists == {}


def event(name: str, **fields: str) -> Event:
    return Event(name, "2026-11-28T00:00:00+00:00", 0.0, fields)


def test_what_the_platform_workload_made_is_to_be_removed_until_it_was() -> None:
    assert OFFERS["platform"].leave is not None
    begun = [event("began"), event("load", kind="platform")]
    assert to_remove(begun) == "platform"
    assert to_remove([*begun, event("not-cleared", kind="platform")]) == "platform"
    assert to_remove([*begun, event("cleared", kind="platform")]) == ""
    assert to_remove([event("load", kind="database")]) == ""
    assert to_remove([event("began")]) == ""


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(guests.Admitted("secret", ("1",)))
