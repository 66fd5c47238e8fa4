"""Pages show a report's figures in both languages, and a single altered byte of a page is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_file

from runbooks.drills.evidence.verdict import REASONS as ENGLISH_REASONS
from runbooks.drills.reports import words
from runbooks.drills.reports.compose import LIMITS as ENGLISH_LIMITS
from runbooks.drills.reports.envelope import Opened, seal, unseal
from runbooks.drills.reports.errors import RefusedReportError
from runbooks.drills.reports.html import html_of
from runbooks.drills.reports.page import main_of
from runbooks.drills.reports.pdf import pdf_of
from runbooks.drills.reports.seals import check_page
from runbooks.drills.reports.words import LANGUAGES, Language, catalogue
from tests.drill_sample import KEY, OTHER_KEY, report

REPORTS = Path(words.__file__).parent
ENVELOPE = seal(report(), KEY)
OPENED: Opened = unseal(ENVELOPE, KEY.public_key())


def refusal(data: bytes) -> str:
    with pytest.raises(RefusedReportError) as refused:
        check_page(data, KEY.public_key())
    return refused.value.check


@pytest.fixture(scope="module")
def html() -> bytes:
    return html_of(OPENED, ENVELOPE, "zh", KEY)


@pytest.fixture(scope="module")
def pdf() -> bytes:
    return pdf_of(OPENED, ENVELOPE, "en", KEY)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_page_has_verdict_targets_results_and_scope(language: Language) -> None:
    first = main_of(report(), language).partition("</section>")[0]
    wanted = {
        "zh": (
            "通过",
            "实验环境",
            "≤ 1.50 s",
            "0.60 s",
            "已确认写入 3 笔，缺失 0 笔",
            "进程被强制终止 host=db-1 unit=mysql",
        ),
        "en": (
            "Passed",
            "Scope: lab",
            "≤ 1.50 s",
            "0.60 s",
            "3 writes acknowledged, 0 missing",
            "process killed host=db-1 unit=mysql",
        ),
    }
    for text in wanted[language]:
        assert text in first, text


def test_every_chinese_message_has_its_english() -> None:
    found = [m for _, m, _, _ in extract_from_file("python", str(REPORTS / "words.py"))]
    for template in REPORTS.glob("templates/*.j2"):
        found += [m for _, m, _, _ in extract_from_file("jinja2.ext:babel_extract", str(template))]
    english = catalogue("en")
    missing = [m for m in found if m not in english or not english[m].string]
    assert found
    assert not missing
    assert not re.search(r"[\u4e00-\u9fff]", main_of(report(), "en").replace("写入成员的进程被杀", ""))


def test_codes_have_words_in_both_languages() -> None:
    assert set(words.REASONS) == set(ENGLISH_REASONS)
    assert set(words.LIMITS) == set(ENGLISH_LIMITS)
    for code, text in {**ENGLISH_REASONS, **ENGLISH_LIMITS}.items():
        chinese = {**words.REASONS, **words.LIMITS}[code]
        assert set(re.findall(r"{(\w+)}", text)) == set(re.findall(r"{(\w+)}", chinese)), code
        assert words.translations("en").gettext(chinese) == text


def test_a_page_holds_its_report_and_names_it(html: bytes, pdf: bytes) -> None:
    for page in (html, pdf):
        found, sealed = check_page(page, KEY.public_key())
        assert found == OPENED
        assert sealed.report["report_sha256"] == OPENED.digest


def test_nothing_of_a_page_can_be_altered(html: bytes, pdf: bytes) -> None:
    for page in (html, pdf):
        step = max(1, len(page) // 400)
        for place in range(0, len(page), step):
            altered = page[:place] + bytes([page[place] ^ 1]) + page[place + 1 :]
            with pytest.raises(RefusedReportError):
                check_page(altered, KEY.public_key())
        assert refusal(page + b"\n") == "page"
        assert refusal(b"\n" + page) == "page"
    assert refusal(html.replace(b"0.60 s", b"0.06 s", 1)) == "page"
    assert refusal(b"nothing") == "seal"


def test_a_page_of_another_report_or_another_key_is_refused(html: bytes) -> None:
    other = seal(report() | {"seq": 2}, KEY)
    assert refusal(html.replace(ENVELOPE, other)) == "page"
    swapped = html_of(OPENED, other, "zh", KEY)
    assert refusal(swapped) == "pairing"
    assert refusal(html_of(OPENED, ENVELOPE, "zh", OTHER_KEY)) == "key"


def test_a_page_loads_nothing(html: bytes) -> None:
    text = html.decode()
    assert "default-src 'none'" in text
    assert not re.search(r"(src|href)\s*=", text.partition("<body>")[2].partition("<script")[0])


def test_what_a_drill_names_cannot_become_markup() -> None:
    title = {"zh": "<img src=x onerror=alert(1)>", "en": "<b>x</b>"}
    named = report() | {"drill": report()["drill"] | {"title": title}}
    opened = unseal(seal(named, KEY), KEY.public_key())
    page = html_of(opened, seal(named, KEY), "zh", KEY).decode()
    assert "<img" not in page.replace(json.dumps(title["zh"]), "")
