"""The gateway's door against a real MySQL."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from app_support import id_card, key, message, result, rows
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import Engine, text


def send(client: TestClient, body: Any, name: str = "k1", **headers: str) -> Response:
    return client.post("/ingest/v1/results", json=body, headers={"Idempotency-Key": key(name), **headers})


def test_a_message_opens_a_record_and_stores_its_results(gateway: TestClient, engine: Engine) -> None:
    answer = send(gateway, message(number=id_card(1)))
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["duplicate"] is False
    assert body["resident"] == "41142500000000001"
    assert len(body["observations"]) == 1
    assert rows(engine, "SELECT value, unit, version FROM observation") == [("5.6", "mmol/L", 1)]


def test_the_id_number_is_nowhere_in_clear(gateway: TestClient, engine: Engine) -> None:
    send(gateway, message(number=id_card(1)))
    for table in ("resident", "resident_identifier", "idempotency_key", "observation"):
        query = f"SELECT * FROM {table}"  # noqa: S608 - the names stand above
        assert id_card(1) not in repr(rows(engine, query))
    ((cipher, index),) = rows(engine, "SELECT id_card_encrypted, id_card_index FROM resident")
    assert id_card(1).encode() not in bytes(cipher) + bytes(index)


def test_a_repeated_key_gets_the_same_answer_and_stores_nothing(gateway: TestClient, engine: Engine) -> None:
    first = send(gateway, message()).json()
    again = send(gateway, message())
    assert again.status_code == 200
    assert again.json() == {**first, "duplicate": True}
    assert rows(engine, "SELECT COUNT(*) FROM observation") == [(1,)]


def test_a_key_used_for_another_body_is_a_conflict(gateway: TestClient, engine: Engine) -> None:
    send(gateway, message())
    answer = send(gateway, message([result(value="9.9")]))
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert rows(engine, "SELECT value FROM observation") == [("5.6",)]


def test_the_same_key_of_two_clients_is_two_requests(gateway: TestClient, engine: Engine) -> None:
    send(gateway, message())
    other = send(gateway, message([result("718-7")]), **{"X-Yiyun-Client": "edge-2"})
    assert other.status_code == 201
    assert rows(engine, "SELECT COUNT(*) FROM observation") == [(2,)]


def test_a_message_from_an_untrusted_address_is_refused(browser: TestClient, engine: Engine) -> None:
    answer = send(browser, message(), **{"X-Yiyun-Client": "edge-1"})
    assert answer.status_code == 403
    assert rows(engine, "SELECT COUNT(*) FROM idempotency_key") == [(0,)]


@pytest.mark.parametrize("name", ["", "two words", "x" * 129])
def test_a_proxy_must_name_a_client(gateway: TestClient, name: str) -> None:
    assert send(gateway, message(), **{"X-Yiyun-Client": name}).status_code == 403


@pytest.mark.parametrize("bad", ["", "abc", "Z" * 64, "A" * 64])
def test_a_key_must_be_64_hexadecimal_digits(gateway: TestClient, bad: str) -> None:
    answer = gateway.post("/ingest/v1/results", json=message(), headers={"Idempotency-Key": bad})
    assert answer.status_code == 400


def test_an_invalid_body_is_explained_without_its_values(gateway: TestClient) -> None:
    body = message()
    body["patient"]["gender"] = "secret-value"
    del body["raw_sha256"]
    answer = send(gateway, body)
    assert answer.status_code == 422
    assert {item["where"] for item in answer.json()["errors"]} == {"patient.gender", "raw_sha256"}
    assert "secret-value" not in answer.text


def test_a_body_that_is_no_json_or_too_long_is_refused(gateway: TestClient) -> None:
    headers = {"Idempotency-Key": key("k")}
    assert gateway.post("/ingest/v1/results", content=b"MSH|", headers=headers).status_code == 422
    too_long = b'"' + b"x" * (4 * 1024 * 1024) + b'"'
    assert gateway.post("/ingest/v1/results", content=too_long, headers=headers).status_code == 413


def test_times_without_a_zone_are_refused(gateway: TestClient) -> None:
    assert send(gateway, message(received_at="2026-11-23T09:00:00")).status_code == 422


def test_a_patient_nobody_can_identify_is_refused(gateway: TestClient, engine: Engine) -> None:
    wrong = id_card(1)[:-1] + ("0" if id_card(1)[-1] != "0" else "1")
    assert send(gateway, message(number=wrong, mrn=None)).status_code == 422
    assert rows(engine, "SELECT COUNT(*) FROM resident") == [(0,)]
    assert rows(engine, "SELECT COUNT(*) FROM idempotency_key") == [(0,)]


def test_the_id_card_finds_the_resident_across_facility_numbers(gateway: TestClient) -> None:
    first = send(gateway, message(number=id_card(1), mrn="M1")).json()
    second = send(gateway, message(number=id_card(1), mrn="M2"), "k2").json()
    third = send(gateway, message(mrn="M2"), "k3").json()
    assert first["resident"] == second["resident"] == third["resident"]


def test_a_facility_number_with_another_id_card_is_another_person(gateway: TestClient) -> None:
    first = send(gateway, message(number=id_card(1), mrn="M1")).json()
    second = send(gateway, message(number=id_card(2), mrn="M1"), "k2").json()
    assert first["resident"] != second["resident"]
    assert second["warnings"] == ["facility-number-of-another-resident"]


def test_an_id_card_is_added_to_the_record_found_by_facility_number(gateway: TestClient) -> None:
    first = send(gateway, message(mrn="M1")).json()
    second = send(gateway, message(number=id_card(1), mrn="M1"), "k2").json()
    third = send(gateway, message(number=id_card(1), mrn=None), "k3").json()
    assert first["resident"] == second["resident"] == third["resident"]


def test_a_correction_replaces_the_result_and_keeps_what_it_said(gateway: TestClient, engine: Engine) -> None:
    first = send(gateway, message()).json()
    later = {"received_at": "2026-11-23T10:00:00+08:00", "control_id": "C2"}
    second = send(gateway, message([result(value="6.5", status="corrected")], **later), "k2").json()
    assert second["observations"] == first["observations"]
    assert rows(engine, "SELECT value, status, version, message_control_id FROM observation") == [
        ("6.5", "corrected", 2, "C2")
    ]
    assert rows(
        engine,
        "SELECT disposition, content->>'$.value', content->>'$.message_control_id' FROM observation_version",
    ) == [("replaced", "5.6", "C1")]


def test_a_correction_of_one_result_does_not_touch_its_neighbour(gateway: TestClient, engine: Engine) -> None:
    both = [result("2345-7", "5.6", set_id="1"), result("2823-3", "4.1", set_id="2")]
    send(gateway, message(both))
    correction = [result("2823-3", "4.4", set_id="1", status="corrected")]
    send(gateway, message(correction, received_at="2026-11-23T10:00:00+08:00"), "k2")
    assert rows(engine, "SELECT code, value, version FROM observation ORDER BY code") == [
        ("2345-7", "5.6", 1),
        ("2823-3", "4.4", 2),
    ]


def test_an_older_message_that_comes_late_is_kept_but_not_shown(gateway: TestClient, engine: Engine) -> None:
    send(gateway, message([result(value="6.5", status="corrected")], received_at="2026-11-23T10:00:00+08:00"))
    send(gateway, message([result(value="5.6")]), "k2")
    assert rows(engine, "SELECT value, version FROM observation") == [("6.5", 1)]
    assert rows(engine, "SELECT disposition, content->>'$.value' FROM observation_version") == [
        ("late", "5.6")
    ]


def test_a_filler_number_used_again_for_another_patient_replaces_nothing(
    gateway: TestClient, engine: Engine
) -> None:
    send(gateway, message([result(value="5.6")], mrn="M1"))
    send(gateway, message([result(value="7.7")], mrn="M2", received_at="2026-11-23T10:00:00+08:00"), "k2")
    assert rows(engine, "SELECT COUNT(*), COUNT(DISTINCT record_number) FROM observation") == [(2, 2)]


def test_a_key_sent_by_many_at_once_is_stored_once(gateway: TestClient, engine: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: send(gateway, message(number=id_card(1))), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["observations"][0] for answer in answers}) == 1
    assert rows(engine, "SELECT COUNT(*) FROM observation") == [(1,)]


def test_sixteen_at_once_get_sixteen_record_numbers_without_a_gap(
    gateway: TestClient, engine: Engine
) -> None:
    def one(index: int) -> str:
        answer = send(gateway, message(number=id_card(index), mrn=f"M{index}"), f"k{index}")
        assert answer.status_code == 201, answer.text
        return answer.json()["resident"]

    with ThreadPoolExecutor(16) as pool:
        numbers = list(pool.map(one, range(1, 49)))
    assert sorted(numbers) == [f"411425000000{serial:05d}" for serial in range(1, 49)]


def test_a_new_patient_in_many_messages_at_once_gets_one_record(gateway: TestClient, engine: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: send(gateway, message(number=id_card(1)), f"k{n}"), range(8)))
    assert [answer.status_code for answer in answers] == [201] * 8
    assert rows(engine, "SELECT COUNT(*) FROM resident") == [(1,)]


def test_without_the_database_the_gateway_is_told_to_keep_the_message(
    gateway: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.dispose()
    monkeypatch.setitem(engine.dialect.__dict__, "connect", _refuse)
    answer = send(gateway, message())
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    monkeypatch.undo()
    assert send(gateway, message()).status_code == 201


def _refuse(*_arguments: object, **_options: object) -> None:
    import pymysql

    raise pymysql.OperationalError(2003, "Can't connect")


def test_a_killed_connection_is_replaced_before_the_first_statement(
    gateway: TestClient, engine: Engine
) -> None:
    send(gateway, message())
    with engine.connect() as connection:
        mine = connection.scalar(text("SELECT CONNECTION_ID()"))
        others = connection.scalars(
            text("SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> :mine"),
            {"mine": mine},
        ).all()
        for other in others:
            connection.exec_driver_sql(f"KILL {other}")
    assert send(gateway, message(mrn="M9"), "k2").status_code == 201
