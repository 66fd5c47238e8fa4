"""OBX-5: a result's value as (type, value, comparator), for the types laboratories send."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from yiyun_gateway.hl7v2.fields import UnreadableError

if TYPE_CHECKING:
    from yiyun_gateway.hl7v2.fields import Segment

_NUMBER = re.compile(r"([<>]=?|≤|≥)?\s*([+-]?(?:\d+\.?\d*|\.\d+))")
_COMPARATORS = {"≤": "<=", "≥": ">="}
_AS_TEXT = {"ST", "IS", "ID", "DT", "TM", "TS", "DTM"}
_CODED = {"CE", "CWE", "CNE"}
_STATUS = {
    "F": "final", "U": "final", "P": "preliminary", "R": "preliminary",
    "S": "preliminary", "I": "preliminary",
    "C": "corrected", "X": "cancelled", "D": "cancelled", "W": "cancelled",
}  # fmt: skip


class Value(NamedTuple):
    """A result value; `kind` is NM, ST, TX, CE or SN, `comparator` one of "", <, <=, >, >=."""

    kind: str
    value: str
    comparator: str = ""


def status(code: str) -> str | None:
    """Return the meaning of HL7 table 0085, None for codes without a result state."""
    return _STATUS.get(code.upper())


def _numeric(text: str) -> Value:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return Value("ST", text)
    comparator = match.group(1) or ""
    return Value("NM", match.group(2), _COMPARATORS.get(comparator, comparator))


def _structured(segment: Segment) -> Value:
    comparator, first, separator, second, *_ = (*(p.strip() for p in segment.components(5)), "", "", "", "")
    if comparator not in {"", "<", "<=", ">", ">=", "="}:
        return Value("ST", f"{comparator}{first}{separator}{second}")
    return Value(
        "SN", f"{first}{separator}{second}", comparator.replace("=", "") if comparator == "=" else comparator
    )


def value(segment: Segment) -> Value:
    """Return the value of an OBX. A numeric type that holds words becomes text, as it was written.

    Raises UnreadableError for types that carry documents or pictures, and unknown ones.
    """
    kind = segment.text(2).upper()
    repetitions = segment.repetitions(5)
    if kind in {"TX", "FT"}:
        return Value("TX", "\n".join(segment.whole(one) for one in repetitions))
    if kind == "" and not any(repetitions):
        return Value("ST", "")
    if kind in _AS_TEXT:
        return Value("ST", "~".join(segment.whole(one) for one in repetitions).strip())
    if kind == "NM":
        return _numeric("~".join(segment.whole(one) for one in repetitions).strip())
    if kind == "SN":
        return _structured(segment)
    if kind in _CODED:
        chosen = [segment.components(5, n) for n in range(len(repetitions))]
        texts = [(parts[1] if len(parts) > 1 and parts[1] else parts[0]).strip() for parts in chosen]
        return Value("CE", "~".join(texts))
    raise UnreadableError(f"{segment.place}: value type {kind or 'empty'} is not handled yet")
