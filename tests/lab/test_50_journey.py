"""A result's way: from the hospital's database over the line to a page, and through a cut of the line."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as condition
from selenium.webdriver.support.wait import WebDriverWait

from infra.drivers.lab.names import qualified
from infra.trust.material import Material
from tests.lab.browser import started
from tests.lab.hospital import all_acknowledged, arrive, client, expected, new_results, shown
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium.webdriver import Chrome

    from tests.lab.harness import Lab

WIREGUARD_PORT = 51820


@pytest.fixture
def browser(lab: Lab, tmp_path: Path) -> Iterator[Chrome]:
    (leaf,) = Material(lab.estate, lab.paths).balancer_leaves().values()
    browser = started(tmp_path / "profile", leaf.certificate)
    yield browser
    browser.quit()


@pytest.fixture
def line_cut(lab: Lab) -> Iterator[None]:
    """Every tunnel packet is dropped at the edge of the premises; undone even when the test fails."""
    router = ["ip", "netns", "exec", qualified(lab.estate.estate, "hospital"), "nft"]
    rules = f"""
        table inet drill_line {{
            chain forward {{
                type filter hook forward priority -300;
                udp dport {WIREGUARD_PORT} drop
                udp sport {WIREGUARD_PORT} drop
            }}
        }}"""
    subprocess.run([*router, "-f", "-"], input=rules, text=True, check=True)
    yield
    subprocess.run([*router, "delete", "table", "inet", "drill_line"], check=False, capture_output=True)


def restore_line(lab: Lab) -> None:
    router = ["ip", "netns", "exec", qualified(lab.estate.estate, "hospital"), "nft"]
    subprocess.run([*router, "delete", "table", "inet", "drill_line"], check=True)


def test_a_hospitals_result_is_seen_on_the_residents_page(lab: Lab, browser: Chrome) -> None:
    (order,) = new_results(lab, 1)
    arrive(lab, [order])
    with client(lab) as platform:
        number = f"urn:oid:2.16.156.10011.1.3|{order['patient']['id_number']}"
        found = platform.get("/fhir/Patient", params={"identifier": number}).json()
    record = found["entry"][0]["resource"]["id"]

    browser.get(f"{lab.page}/residents/{record}")
    assert browser.find_element(By.NAME, "password")
    name, password = lab.operator
    browser.find_element(By.NAME, "username").send_keys(name)
    browser.find_element(By.NAME, "password").send_keys(password)
    browser.find_element(By.CSS_SELECTOR, "form.login").submit()
    WebDriverWait(browser, 30).until(condition.invisibility_of_element_located((By.NAME, "password")))
    browser.get(f"{lab.page}/residents/{record}")
    table = WebDriverWait(browser, 30).until(
        condition.presence_of_element_located((By.CSS_SELECTOR, "table.results"))
    )
    page = browser.find_element(By.TAG_NAME, "body").text
    assert order["patient"]["name"] in page
    assert order["patient"]["id_number"] not in page
    values = [cell.text for cell in table.find_elements(By.CSS_SELECTOR, "td.value")]
    for result in order["results"]:
        assert any(result["value"] in value for value in values), result


def test_a_hundred_results_sent_while_the_line_is_cut_arrive_once_each(lab: Lab, line_cut: None) -> None:
    eventually(lambda: not lab.yiyun("status").json["line"]["up"], seconds=30)
    orders = new_results(lab, 100)
    eventually(lambda: all_acknowledged(lab), seconds=60)
    assert shown(lab, orders) == {}
    restore_line(lab)
    arrive(lab, orders, seconds=90)
    assert sum(shown(lab, orders).values()) == sum(expected(orders).values())
    eventually(lambda: lab.yiyun("status").json["problems"] == [], seconds=60, every=1.0)
