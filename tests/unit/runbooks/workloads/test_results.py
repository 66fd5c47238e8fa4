"""What the drill's results say, as the payload reads them; what members hold is judged like any list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from runbooks.drills.evidence.checkers import check
from runbooks.drills.evidence.history import Operation
from runbooks.drills.workloads import guests, results
from runbooks.drills.workloads.elements import element_of, key_of
from yiyun_app.identifiers import mrn_system
from yiyun_app.ingest_message import Message, numbered_results
from yiyun_gateway import codes
from yiyun_gateway.config import Reading
from yiyun_gateway.documents import Composer
from yiyun_gateway.hl7v2.header import peek
from yiyun_gateway.store import Arrival, now

AT = datetime(2026, 11, 28, 9, 30, 15, tzinfo=UTC)
(RESIDENT,) = guests.record_numbers(1)
RUN = "0123abcd"


def composed(raw: bytes) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """What the collector posts for a message, and the codes that it could not map."""
    header = peek(raw, "utf-8")
    arrival = Arrival(header.sender, header.time, header.control_id, header.message_type, "", raw, now())
    delivery = Composer("edge-1", Reading(), codes.load()).compose(raw, arrival.key, arrival.received_at)
    (post,) = delivery.posts
    return post.document, delivery.unmapped


def test_the_platform_takes_a_document_and_finds_the_resident_by_the_facilitys_number() -> None:
    message = Message.model_validate(results.document(RUN, "edge-1", RESIDENT, 1_000_002, AT))
    assert mrn_system(results.FACILITY) == results.MRN_SYSTEM
    assert (message.facility_number(), message.id_card(), message.patient.name) == (
        RESIDENT,
        None,
        guests.NAME,
    )
    assert [r.value for order in message.orders for r in order.results] == ["1000002"]


def test_the_collector_makes_of_a_message_what_the_line_posts() -> None:
    document, unmapped = composed(results.oru(RUN, RESIDENT, 7, AT))
    own = results.document(RUN, "edge-1", RESIDENT, 7, AT)
    assert unmapped == (), "nobody is asked to map what a drill sent"
    for said in (document, own):
        Message.model_validate(said)
    assert document["orders"][0]["results"][0]["code"] == own["orders"][0]["results"][0]["code"]
    alike = ("source", "message_control_id", "message_type", "raw_sha256", "patient")
    assert {k: document[k] for k in alike} == {k: own[k] for k in alike}
    assert [document["orders"][0][k] for k in ("filler", "placer")] == [
        own["orders"][0][k] for k in ("filler", "placer")
    ]
    assert peek(results.oru(RUN, RESIDENT, 7, AT), "utf-8").sender == results.SENDER


def test_every_element_is_a_result_of_its_own() -> None:
    """Two elements under one natural key would be versions of one result."""
    elements = [element_of(client, number) for client in (0, 1) for number in range(50)]
    documents = [Message.model_validate(results.document(RUN, "", RESIDENT, n, AT)) for n in elements]
    keys = {key for message in documents for *_, key in numbered_results(message, RESIDENT)}
    assert len(keys) == len(set(elements)) == 100
    assert len({key_of(RUN, n) for n in elements} | {key_of("other", 1)}) == 101
    longest = results.filler_of(RUN, element_of(63, 999_998))
    assert len(longest) <= 20


def row(resident: int, value: str, times: int = 1) -> list[Any]:
    return [f"{guests.NAMESPACE}{resident:05d}", value, times]


def test_a_resident_is_a_list_and_a_result_stands_as_often_as_it_was_stored() -> None:
    rows = [row(2, "1000002"), row(1, "3"), row(1, "1", 2), row(1, "阴性")]
    held = results.held_at("db-1", lambda _: {"gtid_set": "g:1-9", "rows": rows})
    assert held.lists == {"list-0": [-1, 1, 1, 3], "list-1": [1000002]}
    assert (held.member, held.gtid_set, held.total, held.registers) == ("db-1", "g:1-9", 0, {})
    assert results.as_held("db-1", {"gtid_set": "", "rows": None}).lists == {}


def sent(number: int, outcome: str = "ok") -> Operation:
    times = {"intended": float(number), "began": float(number), "ended": number + 0.1}
    given = {"client": 0, "number": number, "kind": "append", "target": "list-0", "outcome": outcome}
    return Operation.model_validate({**given, **times, "value": element_of(0, number)})


def faults(rows: list[list[Any]], *history: Operation) -> list[str]:
    held = results.as_held("db-1", {"gtid_set": "g:1", "rows": rows})
    return [v.fault for v in check(history, [held], 0).violations]


def test_planted_faults_are_told_apart() -> None:
    both = [row(1, "1"), row(1, "2")]
    assert faults(both, sent(0), sent(1)) == []
    assert faults(both[:1], sent(0), sent(1)) == ["lost"]
    assert faults([row(1, "1", 2), row(1, "2")], sent(0), sent(1)) == ["doubled"]
    assert faults(both, sent(0), sent(1, "unknown")) == [], "an unknown one may be there"
    assert faults(both[:1], sent(0), sent(1, "unknown")) == [], "or not"
    assert faults([row(1, "1"), row(1, "2", 2)], sent(0), sent(1, "unknown")) == ["doubled"]
    assert faults(both, sent(0), sent(1, "fail")) == ["phantom"]
    assert faults([*both, row(1, "9")], sent(0), sent(1)) == ["phantom"]
    assert faults([row(1, "1"), row(2, "2")], sent(0), sent(1)) == ["lost"], "at the wrong resident"
