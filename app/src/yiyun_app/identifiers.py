"""Identifiers of residents: ID card (GB 11643), 17-digit record number, identifier systems, masking."""

import datetime as dt
import re
from dataclasses import dataclass

from stdnum.cn import ric
from stdnum.exceptions import ValidationError

ID_CARD_SYSTEM = "urn:oid:2.16.156.10011.1.3"
"""Identifier system of the citizen ID number, as FHIR servers in China publish it."""
RECORD_NUMBER_SYSTEM = "urn:oid:2.16.156.10011.1.2"
"""Identifier system of the resident health record number (城乡居民健康档案编号)."""
MRN_SYSTEM_PREFIX = "urn:yiyun:mrn:"
"""A facility's own patient number: this prefix and the facility's code."""

UNKNOWN_TOWNSHIP = "000"
SERIALS_PER_VILLAGE = 99_999
_UNKNOWN_VILLAGES = 1_000
_RECORD_NUMBER = re.compile(r"[0-9]{17}")
_MASKED_MIDDLE = 8
_ID_CARD = re.compile(r"[1-9][0-9]{16}[0-9X]")
_EARLIEST_BIRTH_YEAR = 1850


class AreaFullError(ValueError):
    """A village has no record number left."""


@dataclass(frozen=True)
class Area:
    """Where a record number is issued: county (six digits, GB/T 2260), township and village (three each)."""

    county: str
    township: str = UNKNOWN_TOWNSHIP
    village: str = "000"

    @property
    def counter_name(self) -> str:
        """Name of the counter row that hands out this area's serials."""
        return f"record-number:{self.county}{self.township}{self.village}"


def normalise_id_card(text: str) -> str | None:
    """Return the number in 18 capitals, or None when form, date or check character is wrong.

    The area is not held against a table, as `ric.validate` does: it wants the county's code of the birth
    year, but a card carries the code of its first issue: most people born before a renumbering would fail.
    """
    number = ric.compact(text)
    if not _ID_CARD.fullmatch(number) or number[-1] != ric.calc_check_digit(number):
        return None
    try:
        born = ric.get_birth_date(number)
    except ValidationError:
        return None
    return number if born.year >= _EARLIEST_BIRTH_YEAR else None


def id_card_birth_date(number: str) -> dt.date:
    """Birth date that a valid ID number carries in its digits 7 to 14."""
    return ric.get_birth_date(number)


def is_record_number(text: str) -> bool:
    """Whether the text has the form of a record number: 17 digits."""
    return _RECORD_NUMBER.fullmatch(text) is not None


def record_number(area: Area, serial: int) -> str:
    """Compose 6 county + 3 township + 3 village + 5 serial digits.

    The nth number (counted from 1) of an unknown area beyond 99,999 goes on in village part 001, 002, …
    of township 000, which no real township has; a known village that is full raises AreaFullError.
    """
    if serial < 1:
        raise ValueError("a serial starts at 1")
    bucket, position = divmod(serial - 1, SERIALS_PER_VILLAGE)
    village = area.village
    if bucket:
        if area.township != UNKNOWN_TOWNSHIP or bucket >= _UNKNOWN_VILLAGES:
            raise AreaFullError(f"area {area.county}{area.township}{area.village} has no record number left")
        village = f"{bucket:03d}"
    return f"{area.county}{area.township}{village}{position + 1:05d}"


def mask_id_card(number: str) -> str:
    """Hide birth date and sequence: the area's first six and the last four characters stay."""
    return f"{number[:6]}{'*' * _MASKED_MIDDLE}{number[-4:]}"


def mrn_system(facility: str) -> str:
    """Identifier system of a facility's own patient numbers."""
    return f"{MRN_SYSTEM_PREFIX}{facility}"
