"""A report that was altered by one byte, signed by another key or dressed up as one is refused, and why."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runbooks.drills.reports.envelope import REPORT as REPORT_KIND
from runbooks.drills.reports.envelope import SCHEMA, fingerprint, seal, unseal
from runbooks.drills.reports.errors import RefusedReportError

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
REPORT = {"schema": SCHEMA, "seq": 1, "drill": {"name": "数据库写节点"}, "result": {"rto": 0.42}}


def refusal(data: bytes) -> str:
    with pytest.raises(RefusedReportError) as refused:
        unseal(data, KEY.public_key())
    return refused.value.check


def with_payload(payload: bytes, key: Ed25519PrivateKey = KEY, kind: str = REPORT_KIND.payload_type) -> bytes:
    """An envelope that is signed as it should be, whatever it holds."""
    pae = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    signature = {
        "keyid": fingerprint(key.public_key()),
        "sig": base64.b64encode(key.sign(pae)).decode(),
    }
    outer: dict[str, Any] = {"payload": base64.b64encode(payload).decode(), "payloadType": kind}
    return rfc8785.dumps(outer | {"signatures": [signature]})


def test_it_opens_with_its_key_as_it_was_written() -> None:
    opened = unseal(seal(REPORT, KEY), KEY.public_key())
    assert opened.report == REPORT
    assert opened.key == fingerprint(KEY.public_key())
    assert unseal(with_payload(rfc8785.dumps(REPORT)), KEY.public_key()) == opened, (
        "plain DSSE, nothing of ours"
    )


def test_every_single_altered_byte_is_refused() -> None:
    sealed = seal(REPORT, KEY)
    for place in range(len(sealed)):
        altered = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        with pytest.raises(RefusedReportError):
            unseal(altered, KEY.public_key())


def test_another_key_is_named_and_refused() -> None:
    assert refusal(seal(REPORT, OTHER)) == "key"
    forged = json.loads(seal(REPORT, OTHER))
    forged["signatures"][0]["keyid"] = fingerprint(KEY.public_key())
    assert refusal(rfc8785.dumps(forged)) == "signature"


@pytest.mark.parametrize(
    ("data", "check"),
    [
        (with_payload(rfc8785.dumps(REPORT), kind="application/vnd.in-toto+json"), "type"),
        (with_payload(json.dumps(REPORT, ensure_ascii=False).encode()), "canonical"),
        (with_payload(b'{"a":1,"a":2}'), "canonical"),
        (with_payload(b"[1]"), "canonical"),
        (with_payload(rfc8785.dumps(REPORT | {"schema": "another/1"})), "schema"),
        (seal(REPORT, KEY) + b"\n", "form"),
        (b'{"payload":"","payload":""}', "form"),
        (b"{}", "form"),
        (b"nonsense", "form"),
        (b"\xff\xfe", "form"),
    ],
    ids=[
        "other type",
        "own spacing",
        "key twice",
        "no object",
        "other schema",
        "tail",
        "twice",
        "empty",
        "text",
        "bytes",
    ],
)
def test_what_is_no_report_is_refused_by_name(data: bytes, check: str) -> None:
    assert refusal(data) == check


def test_numbers_that_two_readers_read_differently_are_not_signed() -> None:
    with pytest.raises(ValueError):
        seal(REPORT | {"ns": 2**53}, KEY)
