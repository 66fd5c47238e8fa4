"""A report → what a person reads, in one language. Pure: the page has nothing that the report has not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from runbooks.drills.reports import drawing
from runbooks.drills.reports.drawing import picture
from runbooks.drills.reports.words import (
    CLAIMS,
    COMPARISONS,
    FAULTS,
    LAYERS,
    LIMITS,
    MOMENTS,
    PHASES,
    REASONS,
    VERDICTS,
    translations,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runbooks.drills.reports.words import Language

SHAPES = {
    "passed": "M12 2a10 10 0 1 1 0 20a10 10 0 0 1 0-20zM6.5 12.5l3.8 3.8 7.2-8.2",
    "failed": "M4 4h16v16H4zM8 8l8 8M16 8l-8 8",
    "void": "M12 2l10 10-10 10L2 12zM8 12h8",
    "aborted": "M8 2h8l6 6v8l-6 6H8l-6-6V8zM12 7v6M12 16v1.5",
}
"""A verdict is told by word, colour and shape: circle with a tick, square with a cross, diamond, octagon."""


COLOURS = {"ok": "#2f7d5b", "unknown": "#c98a1b", "fail": "#b3372f"}
SOFT = "#5b6775"
VERDICT_COLOURS = {"passed": "ok", "failed": "fail", "void": "unknown", "aborted": "unknown"}


@dataclass(frozen=True)
class Line:
    """How a moment is drawn. Written into the picture itself: what sets PDFs reads no style sheet there."""

    stroke: str = SOFT
    width: float = 1
    dashed: bool = True


LINES = {
    "fault": Line(COLOURS["fail"], 2, dashed=False),
    "first-good-write": Line(COLOURS["ok"], 1.5, dashed=False),
    "full-strength": Line(COLOURS["ok"], 1.5, dashed=False),
}


def main_of(report: Mapping[str, Any], language: Language) -> str:
    """The page's `<main>`: everything that a reader sees of a report."""
    return (
        _environment(language)
        .get_template("main.html.j2")
        .render(
            **{"rehearsal": None, **report},
            **_words(report, language),
            lang=language,
            colours=COLOURS,
            colour=COLOURS[VERDICT_COLOURS[report["result"]["verdict"]]],
            line_of=_line_of,
            picture=picture(report),
            floor=drawing.FLOOR,
            top=drawing.TOP,
            left=drawing.LEFT,
            width=drawing.WIDTH,
            height=drawing.HEIGHT,
        )
    )


def title_of(report: Mapping[str, Any], language: Language) -> str:
    """The page's title: the drill's name for people, and its number in the chain."""
    return f"{report['drill']['title'][language]} · {report['estate']['name']} #{report['seq']}"


def style_text() -> str:
    """The style of pages and PDFs."""
    return template_text("style.css")


@cache
def template_text(name: str) -> str:
    """A file of the templates as it is."""
    return resources.files("runbooks.drills.reports").joinpath("templates", name).read_text(encoding="utf-8")


def _words(report: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """Names of the template that speak the language."""
    translate = translations(language).gettext

    def said(table: Mapping[str, str], code: str, values: Mapping[str, str] | None = None) -> str:
        return translate(table[code]).format(**(values or {}))

    return {
        "title": report["drill"]["title"][language],
        "shape": SHAPES[report["result"]["verdict"]],
        "verdict_word": said(VERDICTS, report["result"]["verdict"]),
        "seconds": _seconds,
        "added": _added,
        "moment": partial(said, MOMENTS),
        "source_word": partial(_source, partial(said, LAYERS)),
        "fault_word": partial(said, FAULTS),
        "claim": partial(said, CLAIMS),
        "reasons": [said(REASONS, d["code"], d["values"]) for d in report["deviations"]],
        "limit_lines": [said(LIMITS, d["code"], d["values"]) for d in report["limits"]],
        "seen": [row for row in report["timeline"] if row["kind"] in {"seen", "alert"}],
        "fields": _fields,
        "phase_word": partial(said, PHASES),
        "compared_word": partial(said, COMPARISONS),
    }


def _line_of(kind: str) -> Line:
    return LINES.get(kind, Line())


def _seconds(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f} s"


def _added(value: float | None) -> str:
    return "—" if value is None else f"{value:+.2f} s"


def _source(said: Callable[[str], str], source: str) -> str:
    """`router app-1` in the reader's words; a source without a layer as it is."""
    layer, _, host = source.partition(" ")
    return f"{said(layer)} {host}".strip() if layer in LAYERS else source


def _fields(fault: Mapping[str, Any]) -> dict[str, Any]:
    """A fault's parameters that say something."""
    return {name: value for name, value in fault.items() if name != "kind" and value}


@cache
def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader("runbooks.drills.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_translations(translations(language), newstyle=True)  # pyright: ignore[reportAttributeAccessIssue]
    return environment
