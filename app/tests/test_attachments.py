"""Attachments: stored once, found again, refused clearly; everything else works while the folder is away."""

import dataclasses
import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from app_support import PASSWORD, id_card, key, message, rows
from fastapi.testclient import TestClient
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.documentreference import DocumentReference
from sqlalchemy import Engine
from test_web import form_of, ingest, log_in

from yiyun_app import attachment_store
from yiyun_app.attachment_store import AttachmentStore
from yiyun_app.attachments import clean_name, media_type_of
from yiyun_app.errors import AttachmentDamagedError, AttachmentsUnavailableError
from yiyun_app.settings import ServeSettings

NUMBER = "41142500000000001"
OTHER = "41142500000000002"
PDF = b"%PDF-1.7\n" + bytes(range(256)) * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "attachments"
    made.mkdir()
    return made


@pytest.fixture
def serve_settings(serve_settings: ServeSettings, folder: Path) -> ServeSettings:
    """Attachments in a plain folder, as on a machine that runs alone."""
    return serve_settings.model_copy(
        update={
            "attachments_folder": folder,
            "attachments_mounted": False,
            "attachments_max_bytes": 64 * 1024,
            "attachments_seconds": 1.0,
        }
    )


@pytest.fixture
def at_record(gateway: TestClient, browser: TestClient) -> TestClient:
    """A doctor who is logged in, and a resident."""
    ingest(gateway, message(number=id_card(1)))
    log_in(browser)
    return browser


def send(
    client: TestClient, content: bytes = PDF, *, form: dict[str, str] | None = None, **changes: Any
) -> Any:
    number = changes.pop("number", NUMBER)
    name = changes.pop("name", "心电图.pdf")
    form = form or form_of(client.get(f"/residents/{NUMBER}"))
    return client.post(
        f"/residents/{number}/attachments",
        data={**form, **changes},
        files={"file": (name, content, "application/octet-stream")},
    )


def stored(engine: Engine) -> list[tuple[Any, ...]]:
    return rows(
        engine, "SELECT LOWER(HEX(id)), storage_key, file_name, media_type, size, sha256 FROM attachment"
    )


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def link(client: TestClient) -> str:
    page = client.get(f"/residents/{NUMBER}").text
    return page.partition('<li data-attachment="')[2].partition('href="')[2].partition('"')[0]


def test_a_file_is_stored_listed_and_downloaded_as_it_was(
    at_record: TestClient, engine: Engine, folder: Path
) -> None:
    answer = send(at_record)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/residents/{NUMBER}#attachments")
    ((_, storage_key, name, kind, size, sha256),) = stored(engine)
    assert (name, kind, size) == ("心电图.pdf", "application/pdf", len(PDF))
    assert sha256 == hashlib.sha256(PDF).digest()
    (path,) = files(folder)
    assert path == folder / storage_key[:2] / storage_key[2:4] / storage_key[4:]
    assert path.read_bytes() == PDF
    page = at_record.get(f"/residents/{NUMBER}")
    assert "心电图.pdf" in page.text
    assert "10 KiB" in page.text
    got = at_record.get(link(at_record))
    assert (got.content, got.headers["content-type"]) == (PDF, "application/pdf")
    assert got.headers["content-disposition"].startswith("attachment; filename*=UTF-8''%E5")
    actions = rows(engine, "SELECT action FROM record_access WHERE action LIKE 'attachment%' ORDER BY at")
    assert actions == [("attachment:add",), ("attachment",)]


def test_the_same_form_again_stores_one_file(at_record: TestClient, engine: Engine, folder: Path) -> None:
    form = form_of(at_record.get(f"/residents/{NUMBER}"))
    assert [send(at_record, form=form).status_code for _ in range(2)] == [303, 303]
    assert len(stored(engine)) == len(files(folder)) == 1
    assert send(at_record, PDF + b"other", form=form).status_code == 409
    assert len(stored(engine)) == 1


def test_two_at_once_under_one_key_leave_one_row(at_record: TestClient, engine: Engine) -> None:
    form = form_of(at_record.get(f"/residents/{NUMBER}"))
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(send(at_record, form=form).status_code))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [303] * 4
    assert len(stored(engine)) == 1


@pytest.mark.parametrize(
    ("content", "changes", "status"),
    [
        (b"<html><script>", {}, 415),
        (b"", {}, 415),
        (b"%PDF-" + bytes(65 * 1024), {}, 413),
        (b"%PDF-" + bytes(200 * 1024), {}, 413),
        (PDF, {"number": OTHER}, 404),
        (PDF, {"number": "x"}, 404),
        (PDF, {"idempotency_key": "short"}, 422),
        (PDF, {"form_token": key("another")}, 403),
    ],
)
def test_what_is_not_accepted_leaves_nothing(
    at_record: TestClient, engine: Engine, folder: Path, content: bytes, changes: dict[str, str], status: int
) -> None:
    answer = send(at_record, content, **changes)
    assert answer.status_code == status
    assert "text/html" in answer.headers["content-type"]
    assert (stored(engine), files(folder)) == ([], [])


def test_an_upload_needs_a_login_and_a_length(browser: TestClient, at_record: TestClient) -> None:
    chunked = at_record.post(f"/residents/{NUMBER}/attachments", content=iter([b"x"]))
    assert chunked.status_code == 411
    browser.cookies.delete("__Host-yiyun_session")
    assert send(browser, form={"form_token": key("a"), "idempotency_key": key("b")}).status_code == 303
    assert browser.get(f"/residents/{NUMBER}/attachments/{'0' * 32}").headers["location"] == "/login"


def test_a_file_belongs_to_its_own_record_only(gateway: TestClient, at_record: TestClient) -> None:
    send(at_record)
    ingest(gateway, message(number=id_card(2), mrn="M2", filler="F2"), "k2")
    identifier = link(at_record).rpartition("/")[2]
    assert at_record.get(f"/residents/{NUMBER}/attachments/{identifier}").status_code == 200
    assert at_record.get(f"/residents/{OTHER}/attachments/{identifier}").status_code == 404


def test_a_changed_file_is_never_shown_as_the_stored_one(at_record: TestClient, folder: Path) -> None:
    send(at_record)
    (path,) = files(folder)
    path.write_bytes(PDF + b"!")
    assert at_record.get(link(at_record)).status_code == 500


def test_while_the_folder_is_away_uploads_fail_clearly_and_everything_else_works(
    at_record: TestClient, engine: Engine, folder: Path
) -> None:
    send(at_record)
    folder.rename(folder.with_name("away"))
    folder.touch()
    refused = send(at_record)
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert "附件存储暂时不可用" in refused.text
    assert at_record.get(link(at_record)).status_code == 503
    page = at_record.get(f"/residents/{NUMBER}")
    assert page.status_code == 200
    assert "心电图.pdf" in page.text
    identifier = link(at_record).rpartition("/")[2]
    away = at_record.get(f"/fhir/Binary/{identifier}", auth=("wang", PASSWORD))
    assert (away.status_code, away.json()["issue"][0]["code"]) == (503, "transient")
    assert at_record.get("/readyz").status_code == 200
    assert len(stored(engine)) == 1
    folder.unlink()
    folder.with_name("away").rename(folder)
    assert send(at_record).status_code == 303
    assert len(stored(engine)) == 2


def test_a_bare_folder_is_refused_where_a_mount_is_expected(folder: Path) -> None:
    with pytest.raises(AttachmentsUnavailableError, match="not mounted"):
        AttachmentStore(folder, seconds=1, mounted=True).save(PDF)
    assert files(folder) == []


def test_a_folder_that_holds_its_callers_holds_nobody_for_long(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(AttachmentStore, "_write", lambda *_: release.wait(20))
    store = AttachmentStore(folder, seconds=0.2, mounted=False)
    began = time.monotonic()
    for _ in range(attachment_store._WAITING):
        with pytest.raises(AttachmentsUnavailableError, match="in time"):
            store.save(PDF)
    with pytest.raises(AttachmentsUnavailableError, match="holds its callers"):
        store.save(PDF)
    assert time.monotonic() - began < 5
    release.set()
    monkeypatch.undo()
    deadline = time.monotonic() + 5
    while True:
        try:
            assert store.load(store.save(PDF), hashlib.sha256(PDF).digest()) == PDF
            break
        except AttachmentsUnavailableError:
            assert time.monotonic() < deadline


def test_a_file_that_another_host_has_just_written_is_waited_for(folder: Path) -> None:
    store = AttachmentStore(folder, seconds=5, mounted=False)
    storage_key = store.save(PDF)
    (path,) = files(folder)
    hidden = path.rename(folder / "hidden")
    timer = threading.Timer(0.5, lambda: hidden.rename(path))
    timer.start()
    assert store.load(storage_key, hashlib.sha256(PDF).digest()) == PDF
    with pytest.raises(AttachmentDamagedError):
        store.load(storage_key, hashlib.sha256(b"").digest())


def test_fhir_has_the_document_and_its_content(at_record: TestClient, engine: Engine) -> None:
    send(at_record)
    auth = ("ops", PASSWORD)
    bundle = Bundle.model_validate(
        at_record.get(f"/fhir/DocumentReference?patient=Patient/{NUMBER}", auth=auth).json()
    )
    assert bundle.total == 1
    (entry,) = bundle.entry
    assert isinstance(entry.resource, DocumentReference)
    attached = entry.resource.content[0].attachment
    assert (attached.contentType, attached.title, int(attached.size)) == (
        "application/pdf",
        "心电图.pdf",
        len(PDF),
    )
    plain = at_record.get(f"/fhir/{attached.url}", auth=auth)
    assert (plain.content, plain.headers["content-type"]) == (PDF, "application/pdf")
    wrapped = at_record.get(
        f"/fhir/{attached.url}", auth=auth, headers={"accept": "application/fhir+json"}
    ).json()
    assert (wrapped["resourceType"], wrapped["contentType"]) == ("Binary", "application/pdf")
    one = at_record.get(f"/fhir/DocumentReference/{entry.resource.id}", auth=auth)
    assert one.json()["subject"] == {"reference": f"Patient/{NUMBER}"}
    reads = rows(engine, "SELECT username, action FROM record_access WHERE action LIKE 'fhir:%' ORDER BY at")
    assert reads == [("ops", "fhir:DocumentReference"), ("ops", "fhir:Binary"), ("ops", "fhir:Binary"),
                     ("ops", "fhir:DocumentReference")]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/fhir/DocumentReference", 400),
        (f"/fhir/DocumentReference?patient=Patient/{NUMBER}&date=2020", 400),
        ("/fhir/DocumentReference/00000000-0000-7000-8000-000000000000", 404),
        ("/fhir/Binary/00000000-0000-7000-8000-000000000000", 404),
        ("/fhir/Binary/x", 422),
    ],
)
def test_fhir_refuses_what_it_has_not(browser: TestClient, path: str, status: int) -> None:
    answer = browser.get(path, auth=("wang", PASSWORD))
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")


def test_an_installation_without_a_folder_shows_no_attachments(
    gateway: TestClient, at_record: TestClient, serve_settings: ServeSettings
) -> None:
    state = gateway.app.app.state if hasattr(gateway.app, "app") else gateway.app._app.state
    held = state.application
    state.application = dataclasses.replace(held, attachments=None)
    try:
        assert 'id="attachments"' not in at_record.get(f"/residents/{NUMBER}").text
        assert send(at_record).status_code == 404
    finally:
        state.application = held


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a.pdf", "a.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\scans\\心电图.png", "心电图.png"),
        ("a\r\nSet-Cookie: x.pdf", "aSet-Cookie: x.pdf"),
        ("", "attachment"),
        ("x" * 300, "x" * 200),
    ],
)
def test_names_are_cleaned(given: str, kept: str) -> None:
    assert clean_name(given) == kept


def test_media_types_come_from_the_content() -> None:
    assert media_type_of(PDF) == "application/pdf"
    assert media_type_of(b"\x89PNG\r\n\x1a\nrest") == "image/png"
    assert media_type_of(b"\xff\xd8\xff\xe0") == "image/jpeg"
    assert media_type_of(b"MZ") is None
