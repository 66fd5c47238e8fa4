"""The gateway's message: one hospital message with a patient, orders and results, as JSON."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from yiyun_app.identifiers import ID_CARD_SYSTEM, mrn_system, normalise_id_card

Short = Annotated[str, StringConstraints(strip_whitespace=True, max_length=64)]
Required = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
Label = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
System = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Part):
    """Where the message came from."""

    application: Short = ""
    facility: Required
    site: Short = ""


class Identifier(_Part):
    """A patient identifier in a system."""

    system: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    value: Required


class Patient(_Part):
    """Who the results are of."""

    identifiers: Annotated[list[Identifier], Field(min_length=1, max_length=20)]
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    birth_date: date | None = None
    gender: Literal["male", "female", "other", "unknown"] = "unknown"


class Code(_Part):
    """A coded concept."""

    system: System = ""
    code: Short = ""
    display: Label = ""


class ResultCode(_Part):
    """The code of a result; it cannot be empty."""

    system: System = ""
    code: Required
    display: Label = ""


class Result(_Part):
    """One result (an OBX segment). Times carry a zone."""

    set_id: Annotated[str, StringConstraints(strip_whitespace=True, max_length=16)] = ""
    code: ResultCode
    value_type: Literal["NM", "ST", "TX", "CE", "SN"]
    value: Annotated[str, StringConstraints(max_length=16_000)] = ""
    comparator: Literal["", "<", "<=", ">", ">="] = ""
    unit: Short = ""
    reference_range: Label = ""
    abnormal_flag: Annotated[str, StringConstraints(strip_whitespace=True, max_length=16)] = ""
    status: Literal["final", "preliminary", "corrected", "cancelled"]
    observed_at: AwareDatetime | None = None


class Order(_Part):
    """One order (an OBR segment) and its results."""

    placer: Short = ""
    filler: Short = ""
    code: Code = Code()
    observed_at: AwareDatetime
    results: Annotated[list[Result], Field(max_length=2_000)]


class Message(_Part):
    """The body of POST /ingest/v1/results."""

    source: Source
    message_control_id: Annotated[str, StringConstraints(min_length=1, max_length=199)]
    message_type: Annotated[str, StringConstraints(min_length=1, max_length=32)]
    received_at: AwareDatetime
    raw_sha256: Sha256
    patient: Patient
    orders: Annotated[list[Order], Field(min_length=1, max_length=200)]

    def id_card(self) -> str | None:
        """The patient's ID number if one of the identifiers is a valid one."""
        numbers = (
            normalise_id_card(item.value)
            for item in self.patient.identifiers
            if item.system == ID_CARD_SYSTEM
        )
        return next((number for number in numbers if number), None)

    def facility_number(self) -> str | None:
        """The patient's number at the sending facility."""
        system = mrn_system(self.source.facility)
        return next((item.value for item in self.patient.identifiers if item.system == system), None)


def body_sha256(body: object) -> bytes:
    """Hash of a JSON body that does not depend on white space or the order of keys."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).digest()


def numbered_results(message: Message, record_number: str) -> Iterator[tuple[Order, Result, bytes]]:
    """Each result with its natural key, by which a correction finds what it corrects.

    The key is resident, facility, filler number, code, and its place among results of that code. The set ID
    is a position in one message: a correction that carries a single result starts again at 1, and must not
    replace another test. The resident belongs to the key because laboratories use filler numbers again.
    Without filler and placer number the message's control number takes their place: nothing is corrected.
    """
    seen: Counter[tuple[str, str, str]] = Counter()
    for order in message.orders:
        number = (
            order.filler
            or (order.placer and f"placer:{order.placer}")
            or f"message:{message.message_control_id}"
        )
        for result in order.results:
            place = (number, result.code.system, result.code.code)
            seen[place] += 1
            parts = [record_number, message.source.facility, *place, seen[place]]
            yield order, result, hashlib.sha256(json.dumps(parts).encode()).digest()
