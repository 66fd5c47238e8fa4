"""Reading reference ranges as laboratories print them, and flagging a value against one."""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

_NUMBER = r"[+-]?\d+(?:\.\d+)?"
_BETWEEN = re.compile(rf"({_NUMBER})\s*(?:-{{1,2}}|~|～|—|–|至)\s*({_NUMBER})")
_BOUND = re.compile(rf"(<=|>=|<|>|≤|≥|＜|＞)\s*({_NUMBER})")
_LOW_FLAGS = {"L", "LL", "<"}
_HIGH_FLAGS = {"H", "HH", ">"}


@dataclass(frozen=True)
class ReferenceRange:
    """Normal limits in the result's own unit; None is open; an exclusive limit is itself not normal."""

    low: Decimal | None = None
    high: Decimal | None = None
    low_exclusive: bool = False
    high_exclusive: bool = False


def parse_reference_range(text: str) -> ReferenceRange | None:
    """Read `3.9-6.1`, `3.9~6.1`, `<5.2`, `≥1.0`; None for anything else (a text such as `阴性`)."""
    stripped = text.strip()
    if between := _BETWEEN.fullmatch(stripped):
        low, high = Decimal(between[1]), Decimal(between[2])
        return ReferenceRange(low, high) if low <= high else None
    if bound := _BOUND.fullmatch(stripped):
        sign, limit = bound[1], Decimal(bound[2])
        exclusive = sign in "<>＜＞"
        if sign in {"<", "<=", "≤", "＜"}:
            return ReferenceRange(high=limit, high_exclusive=exclusive)
        return ReferenceRange(low=limit, low_exclusive=exclusive)
    return None


def parse_number(text: str) -> Decimal | None:
    """Read a finite decimal number exactly as written, or None."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def flag(value: str, comparator: str, reference: str, given: str) -> str:
    """Direction of a result: `high`, `low`, or empty.

    The laboratory's own flag (HL7 table 0078) wins; without one a plain number is held against the range.
    A value with a comparator is flagged only when every number it can stand for lies outside.
    """
    first = given.strip().upper().split("~")[0]
    if first:
        return "high" if first in _HIGH_FLAGS else "low" if first in _LOW_FLAGS else ""
    number, limits = parse_number(value), parse_reference_range(reference)
    if number is None or limits is None:
        return ""
    if _above(number, limits) and comparator in {"", ">", ">="}:
        return "high"
    if _below(number, limits) and comparator in {"", "<", "<="}:
        return "low"
    return ""


def _above(number: Decimal, limits: ReferenceRange) -> bool:
    if limits.high is None:
        return False
    return number > limits.high or (limits.high_exclusive and number == limits.high)


def _below(number: Decimal, limits: ReferenceRange) -> bool:
    if limits.low is None:
        return False
    return number < limits.low or (limits.low_exclusive and number == limits.low)
