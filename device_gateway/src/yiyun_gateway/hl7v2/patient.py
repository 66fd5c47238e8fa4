"""PID: who the results belong to, without guessing."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yiyun_gateway.hl7v2.fields import Segment

ID_CARD = "urn:oid:2.16.156.10011.1.3"
"""FHIR identifier system of the resident identity card, as Chinese FHIR profiles use it."""

_ID_CARD_TYPES = {"NI", "NNCHN", "NNCN", "SFZ", "IDCARD"}
_MRN_TYPES = {"", "MR", "PI", "PT", "MRN"}
_SEX = {"M": "male", "F": "female", "O": "other", "A": "other", "男": "male", "女": "female"}
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def is_id_card(text: str) -> bool:
    """Whether `text` is an 18-character identity number whose check character is right (GB 11643)."""
    if not re.fullmatch(r"\d{17}[\dXx]", text):
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, text, strict=False))
    return "10X98765432"[total % 11] == text[17].upper()


def _identifier(segment: Segment, repetition: int, facility: str) -> dict[str, str] | None:
    parts = [*segment.components(3, repetition), "", "", "", "", ""]
    value, kind = parts[0].strip(), parts[4].strip().upper()
    if value in {"", '""'}:
        return None
    authority = [*segment.subcomponents(3, repetition, 4), "", "", ""]
    if authority[2].upper() == "ISO" and re.fullmatch(r"\d+(\.\d+)+", authority[1]):
        system = f"urn:oid:{authority[1]}"
    elif kind in _ID_CARD_TYPES and is_id_card(value):
        system = ID_CARD
    elif kind in _MRN_TYPES:
        system = f"urn:yiyun:mrn:{facility}"
    else:
        system = f"urn:yiyun:identifier:{facility}:{kind}"
    return {"system": system, "value": value.upper() if system == ID_CARD else value}


def identifiers(segment: Segment, facility: str) -> list[dict[str, str]]:
    """Return the identifiers of PID-3 (or PID-2 where PID-3 is empty) and an identity number in PID-19."""
    found = [_identifier(segment, n, facility) for n in range(len(segment.repetitions(3)))]
    listed = [one for one in found if one is not None]
    if not listed and segment.text(2):
        listed.append({"system": f"urn:yiyun:mrn:{facility}", "value": segment.text(2)})
    number = segment.text(19).upper()
    if is_id_card(number) and all(one["value"] != number for one in listed):
        listed.append({"system": ID_CARD, "value": number})
    return listed


def _name(segment: Segment) -> str:
    names: list[str] = []
    for n in range(len(segment.repetitions(5))):
        family, given = ("".join(segment.subcomponents(5, n, part)[:1]).strip() for part in (1, 2))
        chinese = any("\u3400" <= letter <= "\u9fff" for letter in family + given)
        names.append(family + given if chinese else f"{given} {family}".strip())
        if chinese:
            return names[-1]
    return names[0] if names else ""


def _birth_date(segment: Segment) -> str | None:
    match = re.match(r"(\d{4})(\d\d)(\d\d)", segment.text(7))
    try:
        return date(*(int(part) for part in match.groups())).isoformat() if match else None
    except ValueError:
        return None


def patient(segment: Segment | None, facility: str) -> dict[str, Any]:
    """Return identifiers, name, birth date (None when absent or no date) and gender of a PID segment."""
    if segment is None:
        return {"identifiers": [], "name": "", "birth_date": None, "gender": "unknown"}
    return {
        "identifiers": identifiers(segment, facility),
        "name": _name(segment),
        "birth_date": _birth_date(segment),
        "gender": _SEX.get(segment.text(8).upper(), "unknown"),
    }
