"""A report as one HTML file: opens offline, and checks itself in the browser with a key that the reader has.

The browser cannot read the file's own bytes, so the seal also carries what is visible: title, `<main>`, and
the hashes of style and program. The browser compares these with what it shows.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from markupsafe import escape

from runbooks.drills.reports.page import main_of, style_text, template_text, title_of
from runbooks.drills.reports.seals import enclosed, room, sealed_page
from runbooks.drills.reports.words import CHECKER, HTML_LANGUAGE, translations

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from runbooks.drills.reports.envelope import Opened
    from runbooks.drills.reports.words import Language

MEDIA_TYPE = "text/html"


def html_of(opened: Opened, envelope: bytes, language: Language, key: Ed25519PrivateKey) -> bytes:
    """The sealed page of a signed report. `envelope`: the report's own bytes, which the page holds too."""
    title, main = title_of(opened.report, language), main_of(opened.report, language)
    style, program = style_text(), _program(language)
    shell = (
        f'<!DOCTYPE html>\n<html lang="{HTML_LANGUAGE[language]}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, program)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{main}\n"
    ).encode()
    boxes = (
        _box("report", enclosed(envelope))
        + _box("seal", room())
        + f"<script>{program}</script>\n</body>\n</html>\n".encode()
    )
    visible: dict[str, Any] = {
        "media_type": MEDIA_TYPE,
        "language": language,
        "title": title,
        "main": main,
        "style_sha256": _sha256(style),
        "program_sha256": _sha256(program),
    }
    return sealed_page(shell + boxes, opened, key, visible)


def _box(name: str, content: bytes) -> bytes:
    return f'<script type="text/plain" id="{name}">'.encode() + content + b"</script>\n"


def _program(language: Language) -> str:
    """The checker with its words; as JSON they stand in the program, so the seal covers them."""
    translate = translations(language).gettext
    words = ",\n".join(f"  {name}: {_quoted(translate(text))}" for name, text in CHECKER.items())
    return f"const WORDS = {{\n{words}\n}};\n{template_text('check.js')}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _policy(style: str, program: str) -> str:
    """Nothing is loaded, nothing runs but this very program."""
    return f"default-src 'none'; style-src '{_source(style)}'; script-src '{_source(program)}'"


def _source(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
