"""Segments and their chain: each kind of damage is found, and named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from backup_kit import OTHER, SOURCE, Stream, head, transaction
from pyrage import x25519

from yiyun_backup import binlog, signed
from yiyun_backup.chain import follow
from yiyun_backup.errors import DamageError, KeyMissingError
from yiyun_backup.segments import key_of, log_of, manifest_of


@pytest.fixture
def stream() -> Stream:
    made = Stream()
    for numbers in ((1, 2), (3,), (4, 5, 6)):
        made.cut(*numbers)
    return made


def read(stream: Stream, data: bytes, identity: Any = None) -> bytes:
    return log_of(data, stream.trusted, [identity or stream.identity], "it")[1]


def test_a_segment_comes_back_as_it_was(stream: Stream) -> None:
    assert read(stream, stream.stored[0]) == head() + transaction(1) + transaction(2)
    assert read(stream, stream.stored[1]) == transaction(3)
    assert b"change" not in stream.stored[0], "it is not encrypted"


def test_segments_in_a_row_are_a_chain_and_say_what_they_hold(stream: Stream) -> None:
    chain = stream.follow()
    assert (chain.first, chain.last, str(chain.held), chain.holes) == (1, 3, f"{SOURCE}:1-6", ())
    assert chain.digest == signed.digest(stream.manifests[-1])
    later = stream.follow(stream.stored[1:])
    assert (later.first, str(later.gtids)) == (2, f"{SOURCE}:3-6")
    assert follow("db-1", stream.opened(stream.stored[2:]), stream.follow(stream.stored[:2])) == chain


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ((0, 2), "segment 2 of db-1 is missing"),
        ((0, 2, 1), "segment 2 of db-1 is missing"),
        ((0, 1, 1, 2), "segment 2 of db-1 stands after segment 2"),
        ((1, 0), "segment 1 of db-1 stands after segment 2"),
    ],
)
def test_a_gap_a_swap_and_a_double_are_found(stream: Stream, order: tuple[int, ...], words: str) -> None:
    with pytest.raises(DamageError, match=words) as caught:
        stream.follow([stream.stored[n] for n in order])
    assert caught.value.check == "chain"


def test_a_segment_of_another_chain_with_the_right_number_is_found(stream: Stream) -> None:
    forked = Stream(keys=stream.keys)
    for numbers in ((1,), (2, 3), (4,)):
        forked.cut(*numbers)
    with pytest.raises(DamageError, match="does not follow the segment before it"):
        stream.follow([stream.stored[0], forked.stored[1]])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stream": "db-2"}, "says that it is of db-2"),
        ({"estate": "yucheng"}, "of the estate yucheng"),
        ({"begins": 5}, "begins at 5 of binlog.000001"),
        ({"log": "binlog.000002"}, "in the middle of binlog.000002"),
        ({"head_seq": 4}, "begins anew in binlog.000001"),
        ({"source": OTHER}, "of another server"),
        ({"session": "s2"}, "in the middle of a log"),
        ({"gtids": f"{SOURCE}:6"}, "holds what came before it"),
        ({"held": f"{SOURCE}:1-5"}, "begins after other transactions"),
        ({"held": ""}, "begins after other transactions"),
    ],
)
def test_a_segment_that_contradicts_the_one_before_is_found(
    stream: Stream, changes: dict[str, Any], words: str
) -> None:
    stream.cut(7, **changes)
    with pytest.raises(DamageError, match=words):
        stream.follow()


def test_a_new_session_goes_on_where_the_stream_was_and_its_hole_is_known(stream: Stream) -> None:
    stream.session = "s2"
    stream.cut(9, hole=f"{SOURCE}:7-8")
    chain = stream.follow()
    assert [(h.before_seq, str(h.gtids)) for h in chain.holes] == [(4, f"{SOURCE}:7-8")]
    assert (str(chain.held), str(chain.gtids)) == (f"{SOURCE}:1-9", f"{SOURCE}:1-6:9")
    stream.session = "s3"
    stream.cut(10)
    assert stream.follow().last == 5
    middle = stream.follow(stream.stored[2:])
    assert (str(middle.held), str(middle.gtids)) == (f"{SOURCE}:1-10", f"{SOURCE}:4-6:9-10")


@pytest.mark.parametrize("at", [3, 400, -1])
def test_a_flipped_byte_is_found_wherever_it_is(stream: Stream, at: int) -> None:
    data = bytearray(stream.stored[0])
    data[at] ^= 1
    with pytest.raises(DamageError):
        read(stream, bytes(data))


@pytest.mark.parametrize("cut", [0, 10, -1])
def test_a_segment_that_was_cut_short_or_emptied_is_found(stream: Stream, cut: int) -> None:
    with pytest.raises(DamageError):
        read(stream, stream.stored[0][:cut])


def test_two_sealed_logs_that_were_swapped_are_found(stream: Stream) -> None:
    first, second = (data.split(b"\n", 1) for data in stream.stored[:2])
    with pytest.raises(DamageError, match=r"bytes, the manifest says|not those that were stored"):
        read(stream, first[0] + b"\n" + second[1])


def test_another_key_opens_nothing_and_another_signer_is_not_believed(stream: Stream) -> None:
    with pytest.raises(KeyMissingError, match="no key here opens it"):
        read(stream, stream.stored[0], x25519.Identity.generate())
    stranger = Stream()
    stranger.cut(1)
    with pytest.raises(DamageError, match="nobody here trusts") as caught:
        read(stream, stranger.stored[0])
    assert caught.value.check == "key"


def test_a_document_of_another_type_is_no_manifest(stream: Stream) -> None:
    class Segment(signed.Document):
        estate: str = "test"

    named = type("Hold", (Segment,), {})
    line = signed.sign(named(), stream.keys)
    with pytest.raises(DamageError, match="backup-hold") as caught:
        manifest_of(line + b"\nx", stream.trusted, "it")
    assert caught.value.check == "type"


def test_a_manifest_whose_text_was_changed_is_not_believed(stream: Stream) -> None:
    line, sealed = stream.stored[1].split(b"\n", 1)
    envelope = json.loads(line)
    import base64

    text = base64.b64decode(envelope["payload"]).replace(b'"seq":2', b'"seq":9')
    envelope["payload"] = base64.b64encode(text).decode()
    changed = json.dumps(envelope, separators=(",", ":"), sort_keys=True).encode()
    with pytest.raises(DamageError, match="signature"):
        manifest_of(changed + b"\n" + sealed, stream.trusted, "it")


def test_a_log_with_other_transactions_than_its_manifest_is_found(stream: Stream) -> None:
    data = stream.cut(7, gtids=f"{SOURCE}:8")
    with pytest.raises(DamageError, match="other transactions"):
        read(stream, data)


def test_a_log_that_does_not_sum_up_is_found(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage from before it was hashed: on the source's disk, say."""
    stream.session = "s2"
    broken = transaction(7).replace(b"change", b"chance")
    monkeypatch.setattr("backup_kit.transaction", lambda *_args, **_more: broken)
    with pytest.raises(DamageError, match="does not sum up"):
        read(stream, stream.cut(7))


def test_names_of_objects_sort_as_their_numbers() -> None:
    names = [key_of("db-1", n) for n in (1, 9, 10, 10**6)]
    assert names == sorted(names)


def test_a_transaction_is_read_only_when_all_of_it_is_there() -> None:
    log = head() + transaction(1) + transaction(2)
    for end in range(len(log)):
        found = list(binlog.pieces(lambda at, n: log[at : at + n], 0, end))
        assert all(piece.end <= end for piece in found)
    assert len(list(binlog.pieces(lambda at, n: log[at : at + n], 0, len(log)))) == 3


def test_a_transaction_without_a_gtid_is_refused() -> None:
    from backup_kit import event

    log = head() + event(binlog.ANONYMOUS_GTID, bytes(60))
    with pytest.raises(binlog.LogError, match="without a GTID"):
        binlog.gtids_of(log)
