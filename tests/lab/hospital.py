"""The hospital's side of the lab tests: new results at `his-1`, and what of them the platform shows."""

from __future__ import annotations

import json
import re
import ssl
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx

from infra.trust.material import Material
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.lab.harness import Lab

ID_CARD = "urn:oid:2.16.156.10011.1.3"
Sent = dict[str, int]
"""Number of results by the order's filler number."""


def new_results(lab: Lab, count: int) -> list[dict[str, Any]]:
    """Orders with results that the hospital's database now holds and its sender will send."""
    orders: list[dict[str, Any]] = json.loads(
        lab.on("his-1", "lab-hospital", "new", "--count", str(count), "--json")
    )["orders"]
    return orders


def all_acknowledged(lab: Lab) -> bool:
    """True when the collector has acknowledged everything the hospital sent."""
    return json.loads(lab.on("his-1", "lab-hospital", "status", "--json"))["pending"] == 0


def filler(order: dict[str, Any]) -> str:
    """Filler number under which an order's results appear at the platform."""
    return f"F{order['order']:08d}"


def expected(orders: list[dict[str, Any]]) -> Sent:
    """What the platform must show of these orders: every result once."""
    return {filler(order): len(order["results"]) for order in orders}


def client(lab: Lab) -> httpx.Client:
    """A client of the platform through the balancer, as the first operator, that verifies its certificate."""
    context = ssl.create_default_context(cadata=Material(lab.estate, lab.paths).root().certificate)
    return httpx.Client(base_url=lab.page, auth=lab.operator, verify=context, timeout=20)


def signed_in(lab: Lab) -> httpx.Cookies:
    """Cookies of a session of the first operator, got by the form as a browser would."""
    name, password = lab.operator
    context = ssl.create_default_context(cadata=Material(lab.estate, lab.paths).root().certificate)
    with httpx.Client(base_url=lab.page, verify=context, timeout=20) as platform:
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', platform.get("/login").text))
        answer = platform.post("/login", data={**hidden, "username": name, "password": password})
        assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
        return platform.cookies


def shown(lab: Lab, orders: list[dict[str, Any]]) -> Sent:
    """How many results of each order the platform shows, by FHIR."""
    wanted, found = expected(orders), Counter[str]()
    with client(lab) as platform:
        for number in sorted({order["patient"]["id_number"] for order in orders}):
            answer = platform.get(
                "/fhir/Patient", params={"identifier": f"{ID_CARD}|{number}"}
            ).raise_for_status()
            for patient in answer.json().get("entry", []):
                found.update(fillers_of(platform, patient["resource"]["id"]))
    return {name: found[name] for name in wanted if found[name]}


def fillers_of(platform: httpx.Client, record: str) -> list[str]:
    """Filler numbers of all of a resident's results, one an observation."""
    url, fillers = f"/fhir/Observation?patient=Patient/{record}&_count=50", list[str]()
    while url:
        page = platform.get(url).raise_for_status().json()
        for entry in page.get("entry", []):
            fillers += [i["value"] for i in entry["resource"]["identifier"] if "filler" in i["system"]]
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    return fillers


def arrive(lab: Lab, orders: list[dict[str, Any]], *, seconds: float = 60) -> None:
    """Wait until the platform shows every result of the orders, each exactly once."""
    wanted = expected(orders)
    eventually(lambda: shown(lab, orders).keys() == wanted.keys(), seconds=seconds, every=1.0)
    eventually(lambda: shown(lab, orders) == wanted, seconds=10)
