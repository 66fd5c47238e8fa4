"""Pages in Chinese first, English second.

Messages are written in Chinese in the templates; `locale/en/LC_MESSAGES/yiyun_app.po` translates them. The
catalogue is compiled when the process starts, so no compiled file can go stale beside its source.
"""

import gettext
import io
from functools import lru_cache
from pathlib import Path

from babel.core import Locale, negotiate_locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

DEFAULT = "zh"
LANGUAGES = ("zh", "en")
HTML_LANGUAGE = {"zh": "zh-CN", "en": "en"}
_LOCALE_DIRECTORY = Path(__file__).parent / "locale"


def read_catalogue(language: str) -> Catalog:
    """The catalogue of a language as written in its .po file."""
    path = _LOCALE_DIRECTORY / language / "LC_MESSAGES" / "yiyun_app.po"
    with path.open("rb") as file:
        return read_po(file, locale=Locale.parse(language), abort_invalid=True)


@lru_cache
def translations(language: str) -> gettext.NullTranslations:
    """Compiled translations; Chinese is the source language and needs none."""
    if language == DEFAULT:
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, read_catalogue(language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def choose(query: str | None, cookie: str | None, accept_language: str | None) -> str:
    """The page language: `?lang=`, then the cookie, then Accept-Language, then Chinese."""
    for asked in (query, cookie):
        if asked in LANGUAGES:
            return asked
    preferred = [tag for tag, _ in sorted(_weighted(accept_language or ""), key=lambda item: -item[1])]
    return (negotiate_locale(preferred, LANGUAGES, sep="-") or DEFAULT).split("-")[0]


def _weighted(header: str) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for part in header.split(","):
        tag, _, parameter = part.strip().partition(";")
        weight = parameter.strip().removeprefix("q=") if parameter else "1"
        try:
            found.append((tag.strip(), float(weight)))
        except ValueError:
            continue
    return [(tag, weight) for tag, weight in found if tag and weight > 0]
