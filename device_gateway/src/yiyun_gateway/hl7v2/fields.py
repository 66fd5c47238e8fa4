"""Reading fields out of a parsed message: positions, escapes, time stamps.

`hl7` (the library) only splits. Its own unescape drops sequences it does not know and turns hexadecimal
into code points instead of bytes of the message's encoding, so escapes are resolved here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, cast

import hl7

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIME = re.compile(r"(\d{4})(\d\d)?(\d\d)?(?:(\d\d)(\d\d)?(\d\d)?(?:\.\d{1,4})?)?\s*(?:([+-])(\d\d)(\d\d))?")


class UnreadableError(ValueError):
    """The message cannot be turned into results; the text says where and why, and quotes no value of it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment with its delimiters and encoding at hand. `number` counts segments from 1."""

    name: str
    number: int
    _inner: hl7.Segment
    _separators: str
    _encoding: str

    @property
    def place(self) -> str:
        """Where it stands, for messages to people."""
        return f"{self.name} (segment {self.number})"

    def repetitions(self, field: int) -> list[str]:
        """The repetitions of a field, raw; an absent or empty field has none."""
        if field >= len(self._inner):
            return []
        text = str(self._inner[field])
        return text.split(self._separator(2)) if text else []

    def components(self, field: int, repetition: int = 0) -> list[str]:
        """The components of one repetition, unescaped, subcomponents unsplit; [] when absent."""
        repetitions = self.repetitions(field)
        if repetition >= len(repetitions):
            return []
        parts = repetitions[repetition].split(self._separator(1))
        return [self.unescape(part) for part in parts]

    def subcomponents(self, field: int, repetition: int, component: int) -> list[str]:
        """The subcomponents of component `component` (from 1), unescaped; [] when absent."""
        repetitions = self.repetitions(field)
        parts = repetitions[repetition].split(self._separator(1)) if repetition < len(repetitions) else []
        if component > len(parts):
            return []
        piece = parts[component - 1]
        return [
            self.unescape(part)
            for part in (piece.split(self._separator(4)) if self._separator(4) else [piece])
        ]

    def text(self, field: int, component: int = 1) -> str:
        """A component (from 1) of the first repetition, stripped; "" when absent or HL7's null `""`."""
        parts = self.components(field)
        value = parts[component - 1].strip() if component <= len(parts) else ""
        return "" if value == '""' else value

    def whole(self, raw: str) -> str:
        """Unescape text that has no structure (TX, FT, ST): component separators in it are kept."""
        return self.unescape(raw)

    def _separator(self, index: int) -> str:
        return self._separators[index] if index < len(self._separators) else ""

    def unescape(self, text: str) -> str:
        r"""Resolve \F\ \S\ \T\ \R\ \E\, \.br\ and kin, \Xhh..\ (bytes); highlighting goes, the rest stays."""
        escape = self._separator(3)
        if not escape or escape not in text:
            return text
        return re.sub(
            re.escape(escape) + "([^" + re.escape(escape) + "]{1,64})" + re.escape(escape),
            lambda match: self._sequence(match.group(1), match.group(0)),
            text,
        )

    def _sequence(self, name: str, original: str) -> str:
        places = {"F": 0, "S": 1, "R": 2, "E": 3, "T": 4}
        if name in places:
            return self._separator(places[name])
        if name in {"H", "N"}:
            return ""
        if name in {".br", ".sp", ".ce"}:
            return "\n"
        if re.fullmatch(r"X(?:[0-9A-Fa-f]{2})+", name):
            return bytes.fromhex(name[1:]).decode(self._encoding, "replace")
        return original


def segments(text: str, separators: str, encoding: str) -> list[Segment]:
    """Split a message into segments; line ends CR, LF and CR LF are all accepted.

    Raises UnreadableError where a segment has no proper name or the library cannot split the text.
    """
    lines = [line for line in re.split(r"[\r\n]+", text.strip("\r\n \t\ufeff")) if line.strip()]
    for number, line in enumerate(lines, 1):
        if not re.match(r"[A-Z][A-Z0-9]{2}(?:" + re.escape(separators[0]) + r"|\s*$)", line):
            raise UnreadableError(f"segment {number} does not begin with a segment name")
        if number > 1 and line.startswith("MSH"):
            raise UnreadableError(f"segment {number} is a second MSH: two messages in one frame")
    try:
        parsed = hl7.parse("\r".join(lines))
    except (hl7.HL7Exception, ValueError, IndexError) as error:
        raise UnreadableError(f"cannot be split into segments ({type(error).__name__})") from error
    return [
        Segment(line[:3], number, cast("hl7.Segment", inner), separators, encoding)
        for number, (line, inner) in enumerate(zip(lines, parsed, strict=True), 1)
    ]


def local_zone(utc_offset: str) -> tzinfo:
    """Turn "+08:00" into a time zone. China has had one fixed offset since 1992 (no tzdata needed)."""
    sign = -1 if utc_offset[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(utc_offset[1:3]), minutes=int(utc_offset[4:6])))


def instant(text: str, zone: tzinfo) -> str | None:
    """Return an HL7 time stamp (YYYYMMDD[HHMM[SS]][+ZZZZ]) as RFC 3339, None when coarser than a day.

    A time without an offset is in `zone`; a date alone is its midnight. Raises ValueError when it is no time.
    """
    if not text:
        return None
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError("not an HL7 time")
    year, month, day, hour, minute, second, sign, hours, minutes = match.groups()
    if month is None or day is None:
        return None
    if sign:
        zone = local_zone(f"{sign}{hours}:{minutes}")
    moment = datetime(
        int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=zone
    )
    return moment.isoformat()


def instants(candidates: Iterator[tuple[Segment, int]], zone: tzinfo) -> str | None:
    """Return the first time present among (segment, field) pairs. Raises UnreadableError if one is none."""
    for segment, field in candidates:
        try:
            found = instant(segment.text(field), zone)
        except ValueError:
            raise UnreadableError(f"{segment.place}: field {field} is not a time") from None
        if found:
            return found
    return None
