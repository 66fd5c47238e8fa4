"""Code mapping as data: a facility's local codes to LOINC. Nothing is mapped that the data does not say."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from pathlib import Path

LOINC = "http://loinc.org"


class CodesError(ValueError):
    """A mapping file is not usable; the text is one line."""


class Coding(NamedTuple):
    """A code with its system. `local` marks a facility's own, unmapped code; `unit` as it was sent."""

    system: str
    code: str
    display: str
    unit: str = ""
    local: bool = False

    def document(self) -> dict[str, str]:
        """The coding as the platform's contract wants it."""
        return {"system": self.system, "code": self.code, "display": self.display}


class Entry(BaseModel):
    """One mapping. `units` lists the units for which it is true (LOINC tells mass from moles); empty: any."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    facility: str
    code: str
    loinc: Annotated[str, Field(pattern=r"^\d{1,7}-\d$")]
    display: str
    units: tuple[str, ...] = ()
    source: Annotated[str, Field(min_length=1)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    entry: list[Entry]


@dataclass(frozen=True, slots=True)
class CodeMap:
    """Mappings by (facility, local code)."""

    entries: dict[tuple[str, str], Entry]

    def result(self, facility: str, code: str, display: str, system: str, unit: str) -> Coding:
        """Return LOINC for a result's code, or the facility's own code marked `local`.

        A code that already says LN (LOINC in HL7 table 0396) is taken as it is.
        """
        if system.upper() == "LN":
            return Coding(LOINC, code, display)
        entry = self.entries.get((facility, code))
        if entry is not None and (not entry.units or unit in entry.units):
            return Coding(LOINC, entry.loinc, entry.display)
        return Coding(f"urn:yiyun:code:{facility}", code or display, display, unit, local=True)

    def service(self, facility: str, code: str, display: str, system: str) -> Coding | None:
        """Return the coding of an ordered service (OBR-4), None when it is empty. Panels stay local codes."""
        if not code and not display:
            return None
        name = LOINC if system.upper() == "LN" else f"urn:yiyun:code:{facility}"
        return Coding(name, code or display, display)


def _read(text: str, name: str) -> dict[tuple[str, str], Entry]:
    try:
        entries = _File.model_validate(tomllib.loads(text)).entry
    except tomllib.TOMLDecodeError as error:
        raise CodesError(f"{name}: not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CodesError(f"{name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    found: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        if found.setdefault((entry.facility, entry.code), entry) is not entry:
            raise CodesError(f"{name}: {entry.facility} {entry.code} is mapped twice; keep one")
    return found


def load(site_file: Path | None = None) -> CodeMap:
    """Return the packaged mappings, with those of `site_file` added and taking precedence.

    Raises CodesError when a file is missing, malformed or maps a code twice.
    """
    packaged = files("yiyun_gateway").joinpath("codes.toml").read_text("utf-8")
    entries = _read(packaged, "codes.toml of the package")
    if site_file is not None:
        try:
            entries |= _read(site_file.read_text("utf-8"), str(site_file))
        except OSError as error:
            raise CodesError(f"{site_file}: cannot be read ({error.strerror})") from error
    return CodeMap(entries)
