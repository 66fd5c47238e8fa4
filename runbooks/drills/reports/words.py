"""Reports in Chinese first, English second. Messages are Chinese; the .po file of a language translates them."""

from __future__ import annotations

import gettext
import io
from functools import cache
from importlib import resources

from babel.core import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LANGUAGES = ("zh", "en")
HTML_LANGUAGE = {"zh": "zh-CN", "en": "en"}


@cache
def translations(language: str) -> gettext.NullTranslations:
    """Compiled when first asked for, so that no compiled file goes stale. Chinese needs none."""
    if language == "zh":
        return gettext.NullTranslations()
    file = resources.files("runbooks.drills.reports").joinpath("locale", language, "LC_MESSAGES", "reports.po")
    text = io.BytesIO(file.read_bytes())
    compiled = io.BytesIO()
    write_mo(compiled, read_po(text, locale=Locale.parse(language), abort_invalid=True))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
