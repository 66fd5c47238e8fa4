"""Pictures of drills as SVG that needs nothing else, in Chinese or English."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader

from infra.errors import BadInputError
from runbooks.drills.catalogue import shipped
from runbooks.drills.reports.words import HTML_LANGUAGE, LANGUAGES, translations

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runbooks.drills.ran import Ran


@dataclass(frozen=True)
class Mark:
    """One run. `value`: seconds, None when nothing was served again or the run shows no time."""

    x: float
    y: float
    verdict: str
    value: float | None
    at: str = ""


def occurring(runs: Sequence[Ran]) -> tuple[str, ...]:
    """Verdicts that some runs have, in the order of the legend. Pure."""
    found = {run.verdict for run in runs}
    return tuple(v for v in ("passed", "failed", "void", "aborted", "unreadable") if v in found)


def svg(template: str, language: str, **values: object) -> str:
    """A picture's template, filled in; it knows the drills' titles. Raises BadInputError for a language."""
    if language not in LANGUAGES:
        raise BadInputError(f"no language {language}", hint=f"one of {', '.join(LANGUAGES)}")
    environment = Environment(
        loader=PackageLoader("runbooks.drills"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    words = translations(language, "pictures")
    environment.install_gettext_translations(words, newstyle=True)  # pyright: ignore[reportAttributeAccessIssue]
    return environment.get_template(f"{template}.svg.j2").render(
        titles={name: getattr(drill.title, language) for name, drill in shipped().items()},
        language=HTML_LANGUAGE[language],
        **values,
    )


def write_svg(file: Path, text: str) -> str:
    """Write a picture. Returns its path. Raises BadInputError."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"{file}: {error.strerror}", hint="name a file that can be written") from None
    return str(file)
