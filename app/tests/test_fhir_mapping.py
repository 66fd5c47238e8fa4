"""Rows as FHIR resources."""

import datetime as dt
import json
from typing import Any

import pytest
from pydantic import ValidationError

from yiyun_app.fhir_json import to_json
from yiyun_app.fhir_mapping import observation, page_token, read_page_token
from yiyun_app.schema import Observation, new_id

NOON = dt.datetime(2026, 11, 23, 4, 0, 0, 123456)


def row(**changes: Any) -> Observation:
    texts = dict.fromkeys(
        ("site", "application", "placer", "order_code", "order_display", "abnormal_flag"), ""
    )
    values: dict[str, Any] = {
        "id": new_id(),
        "record_number": "41142500000000001",
        "version": 1,
        "facility": "HIS-1",
        "filler": "F1",
        "code_system": "http://loinc.org",
        "code": "2345-7",
        "code_display": "葡萄糖",
        "value_type": "NM",
        "value": "5.60",
        "comparator": "",
        "unit": "mmol/L",
        "reference_range": "3.9-6.1",
        "status": "final",
        "observed_at": NOON,
        "received_at": NOON,
        "changed_at": NOON,
    }
    return Observation(**{**texts, **values, **changes})


def as_json(item: Observation) -> dict[str, Any]:
    return json.loads(to_json(observation(item)), parse_float=str)


def test_a_number_keeps_the_digits_the_laboratory_wrote() -> None:
    assert as_json(row())["valueQuantity"] == {"value": "5.60", "unit": "mmol/L"}


def test_a_comparator_and_a_flag_are_coded() -> None:
    body = as_json(row(value="300.00", comparator=">", reference_range="0-150"))
    assert body["valueQuantity"]["comparator"] == ">"
    assert body["interpretation"][0]["coding"][0]["code"] == "H"
    assert body["referenceRange"][0]["high"]["value"] == 150


def test_words_are_a_string_and_keep_their_unit() -> None:
    assert as_json(row(value_type="ST", value="阴性", unit="", reference_range=""))["valueString"] == "阴性"
    assert as_json(row(value_type="SN", value="1:40", unit="titre"))["valueString"] == "1:40 titre"


def test_a_cancelled_result_without_value_says_why_there_is_none() -> None:
    body = as_json(row(status="cancelled", value=""))
    assert body["dataAbsentReason"]["coding"][0]["code"] == "not-performed"
    assert not [name for name in body if name.startswith("value")]


def test_times_carry_their_zone() -> None:
    assert as_json(row())["effectiveDateTime"].startswith("2026-11-23T04:00:00.123456")
    assert as_json(row())["effectiveDateTime"].endswith(("Z", "+00:00"))


def test_an_invalid_resource_cannot_leave() -> None:
    with pytest.raises(ValidationError):
        observation(row(status=None))


def test_a_page_token_reads_back_and_a_foreign_one_is_refused() -> None:
    item = row()
    position = read_page_token(page_token(item))
    assert (position.observed_at, position.id) == (item.observed_at, item.id)
    for foreign in ("", "x", "bnVsbA==", "WyJ4IiwieSJd", "é"):
        with pytest.raises(ValueError, match="page token"):
            read_page_token(foreign)
