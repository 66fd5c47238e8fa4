"""Pages, FHIR, health and login against a real MySQL."""

import contextlib
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from app_support import PASSWORD, id_card, key, message, result, rows
from fastapi.testclient import TestClient
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.patient import Patient
from httpx2 import Response
from sqlalchemy import Engine, text

from yiyun_app.web.observe import JsonFormatter

NUMBER = "41142500000000001"


def ingest(gateway: TestClient, body: Any, name: str = "k1") -> Any:
    answer = gateway.post("/ingest/v1/results", json=body, headers={"Idempotency-Key": key(name)})
    assert answer.status_code == 201, answer.text
    return answer.json()


@contextlib.contextmanager
def renamed(engine: Engine, table: str) -> Iterator[None]:
    """A table that is missing for a while."""
    with engine.begin() as connection:
        connection.execute(text(f"RENAME TABLE {table} TO gone"))
    yield
    with engine.begin() as connection:
        connection.execute(text(f"RENAME TABLE gone TO {table}"))


def form_of(page: Response) -> dict[str, str]:
    return dict(re.findall(r'name="(form_token|idempotency_key)" value="([0-9a-f]{64})"', page.text))


def log_in(client: TestClient, username: str = "wang", password: str = PASSWORD) -> Response:
    form = form_of(client.get("/login"))
    return client.post("/login", data={**form, "username": username, "password": password})


def test_alive_needs_no_database_and_ready_does(
    gateway: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gateway.get("/readyz").json()["status"] == "ok"
    with renamed(engine, "alembic_version"):
        assert gateway.get("/readyz").status_code == 503
        alive = gateway.get("/healthz")
    assert alive.status_code == 200
    assert alive.json().keys() == {"status", "version", "host"}
    monkeypatch.setattr("yiyun_app.migrate.head_revision", lambda: "9999")
    behind = gateway.get("/readyz")
    assert (behind.status_code, behind.json()["status"]) == (503, "schema-behind")


@pytest.mark.parametrize("path", ["/", f"/residents/{NUMBER}", "/?q=wxd"])
def test_pages_lead_the_unknown_to_the_login(browser: TestClient, path: str) -> None:
    answer = browser.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


@pytest.mark.parametrize(
    "path",
    [
        "/fhir/metadata",
        f"/fhir/Patient/{NUMBER}",
        "/fhir/Patient?name=x",
        f"/fhir/Observation?patient={NUMBER}",
    ],
)
def test_fhir_refuses_the_unknown_as_fhir_says_it(browser: TestClient, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_a_login_opens_a_session_with_a_guarded_cookie(browser: TestClient) -> None:
    answer = log_in(browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    for part in ("__Host-yiyun_session=", "HttpOnly", "Secure", "SameSite=lax", "Path=/"):
        assert part in cookie
    assert browser.get("/").status_code == 200


def test_a_repeated_login_form_opens_one_session(browser: TestClient, engine: Engine) -> None:
    form = {**form_of(browser.get("/login")), "username": "wang", "password": PASSWORD}
    assert [browser.post("/login", data=form).status_code for _ in range(2)] == [303, 303]
    assert rows(engine, "SELECT COUNT(*) FROM login_session") == [(1,)]


def test_a_logout_ends_the_session_even_for_a_copied_cookie(browser: TestClient) -> None:
    log_in(browser)
    copied = browser.cookies["__Host-yiyun_session"]
    browser.post("/logout", data=form_of(browser.get("/")))
    browser.cookies.set("__Host-yiyun_session", copied)
    assert browser.get("/").status_code == 303


def test_a_form_of_another_browser_is_refused(browser: TestClient, engine: Engine) -> None:
    form = form_of(browser.get("/login"))
    browser.cookies.clear()
    answer = browser.post("/login", data={**form, "username": "wang", "password": PASSWORD})
    assert answer.status_code == 403
    assert rows(engine, "SELECT COUNT(*) FROM login_session") == [(0,)]


def test_five_wrong_passwords_block_the_account_for_that_address(browser: TestClient) -> None:
    assert [log_in(browser, password="wrong").status_code for _ in range(5)] == [401] * 5
    blocked = log_in(browser)
    assert blocked.status_code == 429
    assert int(blocked.headers["retry-after"]) > 0
    assert log_in(browser, "ops").status_code == 303


def test_wrong_basic_credentials_are_braked_too(browser: TestClient) -> None:
    codes = [browser.get("/fhir/metadata", auth=("wang", "wrong")).status_code for _ in range(6)]
    assert codes == [401] * 5 + [429]


def test_an_altered_cookie_opens_nothing(browser: TestClient) -> None:
    log_in(browser)
    cookie = browser.cookies["__Host-yiyun_session"]
    browser.cookies.clear()
    browser.cookies.set("__Host-yiyun_session", ("0" if cookie[0] != "0" else "1") + cookie[1:])
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize("query", ["王小", "wxd", "WX", NUMBER, id_card(1)])
def test_a_resident_is_found_by_name_initials_record_or_id_number(
    gateway: TestClient, browser: TestClient, query: str
) -> None:
    ingest(gateway, message(number=id_card(1)))
    log_in(browser)
    page = browser.get("/", params={"q": query}).text
    assert f'href="/residents/{NUMBER}"' in page


@pytest.mark.parametrize("query", ["%", "_", "小东", "李", id_card(2)])
def test_others_are_not_found(gateway: TestClient, browser: TestClient, query: str) -> None:
    ingest(gateway, message(number=id_card(1)))
    log_in(browser)
    assert "/residents/" not in browser.get("/", params={"q": query}).text


def test_the_record_shows_masked_id_and_flagged_results(gateway: TestClient, browser: TestClient) -> None:
    high, low = result(value="7.2"), result("2823-3", "3.0", set_id="2", reference_range="3.5-5.3")
    ingest(gateway, message([high, low], number=id_card(1)))
    log_in(browser)
    page = browser.get(f"/residents/{NUMBER}")
    assert page.headers["content-language"] == "zh-CN"
    assert id_card(1) not in page.text
    assert f"411425********{id_card(1)[-4:]}" in page.text
    assert re.search(r'class="value high">7\.2 <span aria-hidden="true">↑</span>', page.text)
    assert re.search(r'class="value low">3\.0 <span aria-hidden="true">↓</span>', page.text)
    for shown in ("2345-7", "葡萄糖", "mmol/L", "3.9-6.1", "2026-11-23 08:30", "HIS-1", "检验结果"):
        assert shown in page.text


def test_what_a_message_says_is_text_on_the_page(gateway: TestClient, browser: TestClient) -> None:
    ingest(gateway, message([result(value="<script>alert(1)</script>", value_type="TX")]))
    log_in(browser)
    page = browser.get(f"/residents/{NUMBER}").text
    assert "&lt;script&gt;" in page
    assert "<script" not in page


def test_older_results_are_on_the_next_page_and_none_is_twice(
    gateway: TestClient, browser: TestClient
) -> None:
    many = [result(f"C{n}", str(n), set_id=str(n)) for n in range(130)]
    stored = ingest(gateway, message(many))["observations"]
    log_in(browser)
    first = browser.get(f"/residents/{NUMBER}").text
    following = re.search(r'href="(/residents/[^"]+after=[^"]+)"', first)
    assert following
    second = browser.get(following[1].replace("&amp;", "&")).text
    shown = re.findall(r'data-observation="([^"]+)"', first + second)
    assert sorted(shown) == sorted(stored)


@pytest.mark.parametrize(
    "path", ["/residents/41142500000099999", "/residents/abc", f"/residents/{NUMBER}?after=x"]
)
def test_a_record_that_is_not_there_is_not_found(browser: TestClient, path: str) -> None:
    log_in(browser)
    assert browser.get(path).status_code == 404


def test_pages_speak_english_when_asked_and_remember_it(browser: TestClient) -> None:
    assert 'lang="zh-CN"' in browser.get("/login").text
    assert "Log in" in browser.get("/login", headers={"Accept-Language": "en-GB,en;q=0.8,zh;q=0.1"}).text
    assert "Log in" in browser.get("/login?lang=en").text
    assert "Log in" in browser.get("/login").text
    assert "登录" in browser.get("/login?lang=zh").text


def test_every_read_of_a_record_is_recorded(gateway: TestClient, browser: TestClient, engine: Engine) -> None:
    identifier = ingest(gateway, message(number=id_card(1)))["observations"][0]
    log_in(browser)
    for path in (
        "/?q=wxd",
        f"/residents/{NUMBER}",
        f"/fhir/Patient/{NUMBER}",
        "/fhir/Patient?name=王",
        f"/fhir/Observation/{identifier}",
        f"/fhir/Observation?patient={NUMBER}",
    ):
        assert browser.get(path).status_code == 200
    found = rows(engine, "SELECT action, username, address, record_number FROM record_access ORDER BY id")
    assert {row[1:] for row in found} == {("wang", "198.51.100.7", NUMBER)}
    assert sorted(row[0] for row in found) == sorted(
        [
            "search",
            "record",
            "fhir:Patient",
            "fhir:Patient-search",
            "fhir:Observation",
            "fhir:Observation-search",
        ]
    )


def test_a_proxy_tells_the_users_address_and_nobody_else_can(
    gateway: TestClient, browser: TestClient, engine: Engine
) -> None:
    ingest(gateway, message())
    for client in (gateway, browser):
        log_in(client, "wang") if client is browser else None
        client.get(
            f"/fhir/Patient/{NUMBER}",
            auth=("wang", PASSWORD),
            headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.5"},
        )
    assert rows(engine, "SELECT address FROM record_access ORDER BY id") == [
        ("203.0.113.5",),
        ("198.51.100.7",),
    ]


def test_a_doctor_reads_the_id_number_by_fhir_and_an_operator_a_mask(
    gateway: TestClient, browser: TestClient
) -> None:
    ingest(gateway, message(number=id_card(1)))
    asked = {"identifier": f"urn:oid:2.16.156.10011.1.3|{id_card(1)}"}
    doctor = browser.get("/fhir/Patient", params=asked, auth=("wang", PASSWORD))
    operator = browser.get("/fhir/Patient", params=asked, auth=("ops", PASSWORD))
    for answer in (doctor, operator):
        assert answer.headers["content-type"] == "application/fhir+json"
        assert Bundle.model_validate(answer.json()).total == 1
    assert id_card(1) in json.dumps(doctor.json()["entry"])
    assert id_card(1) not in json.dumps(operator.json()["entry"])
    patient = Patient.model_validate(doctor.json()["entry"][0]["resource"])
    assert (patient.id, patient.name[0].text, str(patient.birthDate)) == (NUMBER, "王小东", "1960-01-02")


@pytest.mark.parametrize("identifier", [f"urn:oid:2.16.156.10011.1.2|{NUMBER}", "urn:yiyun:mrn:HIS-1|M1"])
def test_fhir_finds_a_patient_by_any_identifier(
    gateway: TestClient, browser: TestClient, identifier: str
) -> None:
    ingest(gateway, message())
    answer = browser.get("/fhir/Patient", params={"identifier": identifier}, auth=("wang", PASSWORD)).json()
    assert [entry["resource"]["id"] for entry in answer["entry"]] == [NUMBER]


def test_fhir_pages_through_all_results_once(gateway: TestClient, browser: TestClient) -> None:
    stored = ingest(gateway, message([result(f"C{n}", set_id=str(n)) for n in range(7)]))["observations"]
    url: str | None = f"/fhir/Observation?patient=Patient/{NUMBER}&_count=3"
    seen: list[str] = []
    pages = 0
    while url:
        bundle = browser.get(url, auth=("wang", PASSWORD)).json()
        assert bundle["total"] == 7
        seen += [entry["resource"]["id"] for entry in bundle["entry"]]
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
        pages += 1
    assert (pages, sorted(seen)) == (3, sorted(stored))


def test_fhir_pages_through_patients_by_name(gateway: TestClient, browser: TestClient) -> None:
    for n in range(1, 4):
        ingest(gateway, message(number=id_card(n), mrn=f"M{n}"), f"k{n}")
    first = browser.get("/fhir/Patient?name=王&_count=2", auth=("wang", PASSWORD)).json()
    following = next(link["url"] for link in first["link"] if link["relation"] == "next")
    second = browser.get(following, auth=("wang", PASSWORD)).json()
    found = [entry["resource"]["id"] for bundle in (first, second) for entry in bundle["entry"]]
    assert found == [f"4114250000000000{n}" for n in (1, 2, 3)]
    assert [link["relation"] for link in second["link"]] == ["self"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/fhir/Patient/abc", 404),
        ("/fhir/Patient", 400),
        ("/fhir/Patient?name=x&birthdate=2000", 400),
        ("/fhir/Patient?identifier=nobar", 400),
        ("/fhir/Observation", 400),
        (f"/fhir/Observation?patient={NUMBER}&_page=x", 400),
        (f"/fhir/Observation?patient={NUMBER}&_count=0", 422),
        ("/fhir/Observation/00000000-0000-7000-8000-000000000000", 404),
        ("/fhir/Observation/x", 422),
        ("/fhir/Device", 404),
    ],
)
def test_fhir_says_what_it_cannot_do_as_an_outcome(browser: TestClient, path: str, status: int) -> None:
    answer = browser.get(path, auth=("wang", PASSWORD))
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_fhir_describes_itself(browser: TestClient) -> None:
    answer = browser.get("/fhir/metadata", auth=("wang", PASSWORD)).json()
    assert (answer["resourceType"], answer["fhirVersion"]) == ("CapabilityStatement", "4.0.1")


def test_only_who_has_signed_in_learns_which_host_answered(browser: TestClient) -> None:
    for answer in (browser.get("/login"), browser.get("/healthz"), log_in(browser, password="not the one")):
        assert "x-served-by" not in answer.headers
    log_in(browser)
    assert browser.get("/").headers["x-served-by"] == browser.get("/healthz").json()["host"]
    assert "x-served-by" in browser.get("/fhir/metadata", auth=("wang", PASSWORD)).headers


def test_every_answer_carries_the_security_headers(browser: TestClient) -> None:
    for path in ("/login", "/healthz", "/fhir/metadata", "/nowhere", "/static/app.css"):
        headers = browser.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    assert browser.get("/login").headers["cache-control"] == "no-store"


def test_pages_load_nothing_from_elsewhere(browser: TestClient) -> None:
    page = browser.get("/login").text
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page) == []
    assert browser.get("/static/app.css").status_code == 200


def test_the_log_has_one_json_line_a_request_and_names_no_resident(
    gateway: TestClient, browser: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    ingest(gateway, message(number=id_card(1)))
    log_in(browser)
    with caplog.at_level(logging.INFO, "yiyun_app.access"):
        caplog.clear()
        browser.get(f"/residents/{NUMBER}?q={id_card(1)}")
    lines = [JsonFormatter().format(record) for record in caplog.records if record.name == "yiyun_app.access"]
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert (line["route"], line["status"], line["user"]) == ("/residents/{record_number}", 200, "wang")
    assert NUMBER not in lines[0]
    assert id_card(1) not in lines[0]


def test_a_failing_page_shows_nothing_of_the_record(
    gateway: TestClient, browser: TestClient, engine: Engine
) -> None:
    ingest(gateway, message(number=id_card(1)))
    log_in(browser)
    with (
        renamed(engine, "record_access"),
        TestClient(browser.app, "https://testserver", raise_server_exceptions=False) as quiet,
    ):
        quiet.cookies.update(browser.cookies)
        answer = quiet.get(f"/residents/{NUMBER}", follow_redirects=False)
    assert answer.status_code == 500
    assert "王小东" not in answer.text
    assert "content-security-policy" in answer.headers
