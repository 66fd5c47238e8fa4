"""A report's page checks itself in a real browser, offline: what was altered is refused by name."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from infra.paths import EstatePaths
from infra.trust.operator_key import key_text
from runbooks.drills.reports.publish import publish, sign
from tests.drill_folders import evidence
from tests.drill_sample import KEY, OTHER_KEY
from tests.lab.browser import started

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from selenium.webdriver import Chrome

    from runbooks.drills.folder import Folder

KEY_LINE, OTHER_LINE = (key_text(key.public_key()) for key in (KEY, OTHER_KEY))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Generator[Chrome]:
    driver = started(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def drills(tmp_path_factory: pytest.TempPathFactory) -> list[Folder]:
    """Three drills in a chain; the middle one has pages."""
    paths = EstatePaths("lab", tmp_path_factory.mktemp("state"))
    made = [evidence(paths.drills, name=f"2026112{n}T000000Z-mysql-writer-kill-{n}") for n in range(3)]
    for folder in made:
        sign(folder, paths, KEY)
    publish(made[1], paths, KEY)
    return made


def told(browser: Chrome, page: Path, *files: Path, key: str = KEY_LINE) -> str:
    """`good`, or the name of the check that refused the page."""
    browser.get(page.as_uri())
    browser.find_element(By.ID, "key").send_keys(key)
    if files:
        browser.find_element(By.ID, "files").send_keys("\n".join(str(f) for f in files))
    browser.find_element(By.ID, "go").click()
    box = browser.find_element(By.ID, "check")
    WebDriverWait(browser, 10).until(lambda _: box.get_attribute("class"))
    if box.get_attribute("class") == "good":
        return "good"
    return str(browser.find_element(By.ID, "answer").get_attribute("data-check"))


def altered(folder: Folder, to: Path, old: bytes, new: bytes) -> Path:
    """A copy of a page in which the first `old` is `new`."""
    data = (folder.path / "report.zh.html").read_bytes()
    assert old in data
    to.write_bytes(data.replace(old, new, 1))
    return to


def test_a_page_as_it_was_made_is_believed_in_both_languages(browser: Chrome, drills: list[Folder]) -> None:
    for language, word in (("zh", "核验通过"), ("en", "Good: report 2")):
        assert told(browser, drills[1].path / f"report.{language}.html") == "good"
        assert word in browser.find_element(By.ID, "answer").text


def test_evidence_and_neighbours_are_checked_when_they_are_given(
    browser: Chrome, drills: list[Folder], tmp_path: Path
) -> None:
    page, own = drills[1].path / "report.zh.html", drills[1].path
    neighbours = [tmp_path / f"{n}.json" for n in (1, 3)]
    for copy, folder in zip(neighbours, (drills[0], drills[2]), strict=True):
        shutil.copy(folder.report, copy)
    files = (own / "journal.jsonl", own / "history.jsonl", own / "held.json", *neighbours)
    assert told(browser, page, *files) == "good"
    said = browser.find_element(By.ID, "lines").text
    assert "journal.jsonl" in said
    assert "第 1 至 3 份报告首尾相接" in said


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        (b"<strong>\xe9\x80\x9a\xe8\xbf\x87", b"<strong>\xe9\x80\x9a\xe5\x91\xa8", "page"),
        (b"</main>", b"<p>approved</p></main>", "page"),
        (b"</main>", b"</main><div>approved</div>", "page"),
        (b"<body>", b'<body class="x">', "page"),
        (b"<title>", b"<title>x", "page"),
        (b"yiyun-report-begins:{", b"yiyun-report-begins: {", "form"),
    ],
    ids=["a word", "a line more", "a block more", "an attribute", "the title", "a space in the envelope"],
)
def test_what_is_visible_cannot_be_altered(
    browser: Chrome, drills: list[Folder], tmp_path: Path, old: bytes, new: bytes, check: str
) -> None:
    assert told(browser, altered(drills[1], tmp_path / "p.html", old, new)) == check


def test_one_byte_of_the_signed_report_is_refused(
    browser: Chrome, drills: list[Folder], tmp_path: Path
) -> None:
    data = (drills[1].path / "report.zh.html").read_bytes()
    start = data.index(b"yiyun-report-begins:") + len(b'yiyun-report-begins:{"payload":"')
    for place in (start + 40, start + 400):
        other = b"B" if data[place : place + 1] != b"B" else b"C"
        page = tmp_path / "p.html"
        page.write_bytes(data[:place] + other + data[place + 1 :])
        assert told(browser, page) == "signature"


def test_another_key_a_gap_a_stranger_and_swapped_evidence_are_refused(
    browser: Chrome, drills: list[Folder], tmp_path: Path
) -> None:
    page = drills[1].path / "report.zh.html"
    assert told(browser, page, key=OTHER_LINE) == "key"
    assert told(browser, page, key="ed25519:no") == "no_key"
    assert told(browser, page, drills[0].path / "history.jsonl") == "evidence"
    later = EstatePaths("lab", tmp_path / "later")
    shutil.copytree(drills[0].path.parent, later.drills)
    fourth = evidence(later.drills, name="20261124T000000Z-mysql-writer-kill-4")
    sign(fourth, later, KEY)
    assert told(browser, page, fourth.report) == "gap"
    stranger = tmp_path / "note.txt"
    stranger.write_text("hello", encoding="utf-8")
    assert told(browser, page, stranger) == "stranger"
    elsewhere = EstatePaths("lab", tmp_path / "elsewhere")
    first = evidence(elsewhere.drills)
    sign(first, elsewhere, KEY)
    assert told(browser, page, first.report) == "link"
