"""Results of the drill's residents: one number each, sent from the premises; what every member holds of them.

A result's value is its element. It stands under an order of its own (the filler number) of a facility that
exists for drills alone, so it meets no other result. The platform keeps a result once in two ways: by the
idempotency key, and by the result's own key, so a second copy adds no row. What shows it are the answers:
each names the results that it stored. A result is held as often as requests with keys of their own stored
it, or as often as it has versions.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from runbooks.drills.workloads.guests import NAME, NAMESPACE, SINCE, held_elements

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbooks.drills.evidence.history import Held

APPLICATION, FACILITY = "DRILL", "YIYUN-DRILL"
"""Who the messages say they come from (MSH-3, MSH-4)."""
SENDER = f"{APPLICATION}|{FACILITY}"
"""The same as the collector counts by it (`yiyun_gateway.hl7v2.header`)."""
MRN_SYSTEM = f"urn:yiyun:mrn:{FACILITY}"
"""System of the facility's own patient numbers (`yiyun_app.identifiers.mrn_system`)."""
CODE, CODE_NAME, LOINC = "8251-1", "Service comment", "http://loinc.org"
"""LOINC, so that nobody is asked to map it; a comment, so that nobody takes it for a value."""
HELD = f"""START TRANSACTION READ ONLY;
WITH told AS (
  SELECT UUID_TO_BIN(named.id) AS id, COUNT(*) AS times
  FROM yiyun.idempotency_key k,
    JSON_TABLE(k.answer, '$.observations[*]' COLUMNS (id CHAR(36) PATH '$')) AS named
  WHERE k.created_at >= {SINCE} AND JSON_VALUE(k.answer, '$.resident') LIKE '{NAMESPACE}%'
  GROUP BY UUID_TO_BIN(named.id))
SELECT JSON_OBJECT(
  'gtid_set', REPLACE(@@GLOBAL.gtid_executed, '\\n', ''),
  'rows', (SELECT JSON_ARRAYAGG(JSON_ARRAY(o.record_number, o.value, GREATEST(COALESCE(told.times, 1),
             1 + (SELECT COUNT(*) FROM yiyun.observation_version v WHERE v.observation_id = o.id))))
           FROM yiyun.observation o LEFT JOIN told ON told.id = o.id
           WHERE o.record_number LIKE '{NAMESPACE}%'))"""  # noqa: S608  constants of this project only
"""Record number, value, and how often it was stored, of every result of the drill's residents."""


def filler_of(run: str, element: int) -> str:
    """Filler number of an element's order, also its message control id: at most 20 characters (v2.5.1)."""
    return f"{run}{element:010d}"


def document(run: str, site: str, resident: str, element: int, at: datetime) -> dict[str, Any]:
    """What the collector would post for the message of `oru` (`yiyun_gateway.documents`)."""
    when = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    result = {
        **dict.fromkeys(("comparator", "unit", "reference_range", "abnormal_flag"), ""),
        "set_id": "1",
        "code": {"system": LOINC, "code": CODE, "display": CODE_NAME},
        "value_type": "ST",
        "value": str(element),
        "status": "final",
        "observed_at": when,
    }
    order = {"placer": "", "filler": filler_of(run, element), "observed_at": when, "results": [result]}
    return {
        "source": {"application": APPLICATION, "facility": FACILITY, "site": site},
        "message_control_id": filler_of(run, element),
        "message_type": "ORU^R01",
        "received_at": when,
        "raw_sha256": hashlib.sha256(oru(run, resident, element, at)).hexdigest(),
        "patient": {
            "identifiers": [{"system": MRN_SYSTEM, "value": resident}],
            "name": NAME,
            "birth_date": None,
            "gender": "unknown",
        },
        "orders": [order],
    }


def oru(run: str, resident: str, element: int, at: datetime) -> bytes:
    """The ORU^R01 message of one element (HL7 v2.5.1): UTF-8, segments ended by CR."""
    when, number = f"{at.astimezone(UTC):%Y%m%d%H%M%S}+0000", filler_of(run, element)
    head = f"MSH|^~\\&|{APPLICATION}|{FACILITY}|YIYUN|EDGE|{when}||ORU^R01^ORU_R01|{number}|P|2.5.1"
    segments = [
        f"{head}||||||UNICODE UTF-8",
        f"PID|1||{resident}^^^{FACILITY}^MR||{NAME[:1]}^{NAME[1:]}|||U",
        f"OBR|1||{number}|{CODE}^{CODE_NAME}^LN|||{when}|||||||||||||||{when}|||F",
        f"OBX|1|ST|{CODE}^{CODE_NAME}^LN||{element}||||||F|||{when}",
    ]
    return ("\r".join(segments) + "\r").encode()


def as_held(member: str, data: dict[str, Any]) -> Held:
    """A member's rows as the checkers know them: a resident is a list, a result an element. Pure."""
    stored = [
        (record_number, value)
        for record_number, value, times in data["rows"] or []
        for _ in range(int(times))
    ]
    return held_elements(member, data["gtid_set"], stored)


def held_at(member: str, ask: Callable[[str], Any]) -> Held:
    """What one member holds. `ask`: gives the one JSON value of a statement there."""
    return as_held(member, ask(HELD))
