"""Gateway messages and ID numbers for tests; the people are made up."""

import hashlib
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, text
from stdnum.cn import ric
from tenacity import retry, retry_if_not_result, stop_after_delay, wait_fixed

PASSWORD = "correct-horse-battery"


def id_card(sequence: int) -> str:
    """A valid ID number of a person born on 1960-01-02 in county 411425."""
    body = f"41142519600102{sequence:03d}"
    return body + ric.calc_check_digit(body + "0")


def eventually(check: Callable[[], bool], seconds: float) -> None:
    """Wait until `check` is true; tenacity.RetryError after `seconds`."""
    wait = retry(stop=stop_after_delay(seconds), wait=wait_fixed(0.05), retry=retry_if_not_result(bool))
    wait(check)()


def key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def result(code: str = "2345-7", value: str = "5.6", **changes: Any) -> dict[str, Any]:
    return {
        "set_id": "1",
        "code": {"system": "http://loinc.org", "code": code, "display": "葡萄糖"},
        "value_type": "NM",
        "value": value,
        "comparator": "",
        "unit": "mmol/L",
        "reference_range": "3.9-6.1",
        "abnormal_flag": "",
        "status": "final",
        "observed_at": "2026-11-23T08:30:00+08:00",
        **changes,
    }


def message(
    results: list[dict[str, Any]] | None = None,
    *,
    number: str | None = None,
    mrn: str | None = "M1",
    name: str = "王小东",
    filler: str = "F1",
    received_at: str = "2026-11-23T09:00:00+08:00",
    control_id: str = "C1",
) -> dict[str, Any]:
    identifiers = []
    if number:
        identifiers.append({"system": "urn:oid:2.16.156.10011.1.3", "value": number})
    if mrn:
        identifiers.append({"system": "urn:yiyun:mrn:HIS-1", "value": mrn})
    return {
        "source": {"application": "LIS", "facility": "HIS-1", "site": "his-1"},
        "message_control_id": control_id,
        "message_type": "ORU^R01",
        "received_at": received_at,
        "raw_sha256": "ab" * 32,
        "patient": {"identifiers": identifiers, "name": name, "birth_date": "1960-01-02", "gender": "male"},
        "orders": [
            {
                "placer": "P1",
                "filler": filler,
                "code": {"system": "", "code": "GLU", "display": "血糖"},
                "observed_at": "2026-11-23T08:30:00+08:00",
                "results": results if results is not None else [result()],
            }
        ],
    }


def rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    """Read rows outside the application."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]
