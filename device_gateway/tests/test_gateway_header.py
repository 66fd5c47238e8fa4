from datetime import UTC, datetime

import pytest

from yiyun_gateway.hl7v2.header import EncodingError, NotHl7Error, acknowledge, codec_of, decode, peek, reject

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_the_acknowledgement_names_the_control_id_and_swaps_the_ends() -> None:
    header = peek(b"MSH|^~\\&|LIS|HIS-1|YIYUN|EDGE|20260102||ORU^R01|A 1|P|2.4\rPID|1\r", "utf-8")
    lines = acknowledge(header, "AA", "", NOW).decode().split("\r")
    fields = lines[0].split("|")
    assert fields[2:6] == ["YIYUN", "EDGE", "LIS", "HIS-1"]
    assert (fields[8], fields[10], fields[11]) == ("ACK^R01", "P", "2.4")
    assert lines[1] == "MSA|AA|A 1"


def test_other_delimiters_are_used_in_the_answer() -> None:
    header = peek(b"MSH#*~\\&#LIS#HIS-1#Y#E#2026##ORU*R01#77#P#2.3", "utf-8")
    assert header.message_type == "ORU^R01"
    assert acknowledge(header, "AE", "full", NOW).split(b"\r")[1] == b"MSA#AE#77#full"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello",
        b"MSH",
        b"MSH|",
        b"MSH|^~\\&",
        b"MSH|^~\\&|a|b|c|d|e||",
        b"MSHx^~\\&|a",
        b"PID|1\rMSH|^~\\&|",
        b"\xff\xfeM\0",
    ],
)
def test_what_has_no_header_is_not_hl7(raw: bytes) -> None:
    with pytest.raises(NotHl7Error):
        peek(raw, "utf-8")


def test_a_rejection_without_header_is_ar_without_control_id() -> None:
    assert b"MSA|AR||no MSH" in reject("no MSH", NOW)


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("UNICODE UTF-8", "utf-8"), ("GB18030", "gb18030"), ("GB 18030-2000", "gb18030"), ("GBK", "gb18030"),
        ("8859/1", "iso8859-1"), ("8859/15", "iso8859-15"), ("ASCII", "ascii"), ("", "gb18030"),
        ("KLINGON", None),
    ],
)  # fmt: skip
def test_character_sets_of_msh_18_are_known(charset: str, codec: str | None) -> None:
    assert codec_of(charset, "gb18030") == codec


def test_gb18030_trail_bytes_that_look_like_delimiters_do_not_shift_the_fields() -> None:
    name = "鷟"
    tricky = next(c for c in map(chr, range(0x4E00, 0x9FFF)) if c.encode("gb18030").endswith(b"|"))
    raw = f"MSH|^~\\&|{tricky}{name}|院|Y|E|2026||ORU^R01|9|P|2.4||||||GB18030\rPID|1\r".encode("gb18030")
    header = peek(raw, "utf-8")
    assert (header.application, header.control_id, header.encoding) == (tricky + name, "9", "gb18030")
    assert (tricky + name).encode("gb18030") in acknowledge(header, "AA", "", NOW)


def test_undecodable_control_ids_are_echoed_byte_for_byte() -> None:
    raw = b"MSH|^~\\&|a|b|c|d|2026||ORU^R01|\xff\xfe\x80|P|2.4\r"
    assert b"MSA|AA|\xff\xfe\x80\r" in acknowledge(peek(raw, "utf-8"), "AA", "", NOW)


def test_declared_ascii_with_other_bytes_is_not_guessed() -> None:
    raw = "MSH|^~\\&|a|b|c|d|2026||ORU^R01|1|P|2.4||||||ASCII\rPID|1||1||王\r".encode("gb18030")
    with pytest.raises(EncodingError, match="encoding_by_sender"):
        decode(raw, peek(raw, "utf-8"))
    assert "王" in decode(raw, peek(raw, "utf-8", {"a|b": "gb18030"}))


def test_an_unknown_character_set_is_an_encoding_error() -> None:
    raw = b"MSH|^~\\&|a|b|c|d|2026||ORU^R01|1|P|2.4||||||KLINGON\r"
    with pytest.raises(EncodingError, match="KLINGON"):
        decode(raw, peek(raw, "utf-8"))
