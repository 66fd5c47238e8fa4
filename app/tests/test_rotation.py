"""Keys and passwords are replaced while the application runs, and the old ones then count no more."""

import base64
from collections.abc import Callable
from pathlib import Path

import pymysql
import pytest
from app_support import PASSWORD, id_card, key, message, rows
from conftest import Server
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from yiyun_app.crypto import FieldCipher, FieldDecryptionError
from yiyun_app.database import connect, sessions
from yiyun_app.errors import UserError
from yiyun_app.rekey import rekey_all
from yiyun_app.settings import DatabaseSettings, ServeSettings, read_session_keys
from yiyun_app.watched import Watched
from yiyun_app.web.login import Signer

OLD, NEW = bytes(range(32)), bytes(range(1, 33))


def ring(*keys: bytes) -> Callable[[], tuple[bytes, ...]]:
    return lambda: keys


def encoded(*keys: bytes) -> str:
    return "\n".join(base64.b64encode(k).decode() for k in keys) + "\n"


def test_a_changed_file_is_read_anew_and_a_bad_one_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.touch(mode=0o600)
    path.write_text("a" * 40)
    watched = Watched([path], lambda: read_session_keys(path))
    assert watched() == ("a" * 40,)
    path.write_text("short")
    assert watched() == ("a" * 40,)
    path.write_text("b" * 40 + "\n" + "a" * 40)
    assert watched() == ("b" * 40, "a" * 40)
    path.unlink()
    assert watched() == ("b" * 40, "a" * 40)
    with pytest.raises(UserError):
        Watched([path], lambda: read_session_keys(path))


def test_the_first_key_encrypts_and_all_of_them_open() -> None:
    before = FieldCipher(OLD).encrypt("13800000000", "phone", "r")
    both = FieldCipher(ring(NEW, OLD))
    assert both.decrypt(before, "phone", "r") == "13800000000"
    after = both.encrypt("13800000000", "phone", "r")
    assert after.startswith(both.prefix)
    assert not before.startswith(both.prefix)
    with pytest.raises(FieldDecryptionError):
        FieldCipher(OLD).decrypt(after, "phone", "r")
    assert FieldCipher(NEW).decrypt(after, "phone", "r") == "13800000000"
    assert both.blind_indexes("x", "id") == [FieldCipher(k).blind_index("x", "id") for k in (NEW, OLD)]


def test_what_the_first_release_stored_still_opens() -> None:
    cipher = FieldCipher(ring(NEW, OLD))
    nonce = bytes(12)
    aead = cipher._accepted()[1].aead
    stored = b"\x01" + nonce + aead.encrypt(nonce, b"text", b"phone\0r")
    assert cipher.decrypt(stored, "phone", "r") == "text"
    with pytest.raises(FieldDecryptionError):
        FieldCipher(NEW).decrypt(stored, "phone", "r")


def test_cookies_and_forms_of_the_old_key_count_until_it_is_forgotten() -> None:
    old, both, new = Signer("o" * 32, 8), Signer(lambda: ("n" * 32, "o" * 32), 8), Signer("n" * 32, 8)
    cookie, token = old.seal("session"), old.form_token("browser")
    assert both.open(cookie) == "session"
    assert both.form_is_ours("browser", token)
    assert new.open(cookie) is None
    assert not new.form_is_ours("browser", token)
    assert new.open(both.seal("session")) == "session"


def test_a_field_key_is_replaced_under_the_running_application(
    gateway: TestClient, engine: Engine, serve_settings: ServeSettings
) -> None:
    path = serve_settings.field_key_file

    def send(sequence: int, name: str) -> str:
        body = message(number=id_card(sequence), mrn=None, control_id=name)
        answer = gateway.post("/ingest/v1/results", json=body, headers={"Idempotency-Key": key(name)})
        assert answer.status_code == 201, answer.text
        return answer.json()["resident"]

    first = [send(n, f"a{n}") for n in range(1, 6)]
    for number, keys in enumerate(((OLD, NEW), (NEW, OLD))):
        path.write_text(encoded(*keys))
        assert send(1, f"b{number}") == first[0]
    sixth = send(6, "a6")
    with engine.connect() as connection:
        before = connection.execute(text("SELECT record_number, changed_at FROM resident")).all()
    assert rekey_all(sessions(engine), (NEW, OLD), 3, batch=2) == 5
    assert rekey_all(sessions(engine), (NEW, OLD), 3, batch=2) == 0
    with engine.connect() as connection:
        assert connection.execute(text("SELECT record_number, changed_at FROM resident")).all() == before
    path.write_text(encoded(NEW))
    assert [send(n, f"c{n}") for n in range(1, 7)] == [*first, sixth]
    assert rows(engine, "SELECT COUNT(*) FROM resident") == [(6,)]


def test_a_row_that_opens_under_no_key_stops_the_change(gateway: TestClient, engine: Engine) -> None:
    body = message(number=id_card(1))
    gateway.post("/ingest/v1/results", json=body, headers={"Idempotency-Key": key("x")})
    with pytest.raises(FieldDecryptionError):
        rekey_all(sessions(engine), (NEW,), 3, batch=2)


def test_a_database_password_is_replaced_without_a_new_engine(
    mysql: Server, migrated: DatabaseSettings
) -> None:
    engine = connect(migrated)
    user, file = migrated.database_user, migrated.database_password_file
    old = file.read_text()
    try:
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar() == 1
            with mysql.admin() as admin, admin.cursor() as cursor:
                cursor.execute(f"ALTER USER '{user}'@'%' IDENTIFIED BY 'another' RETAIN CURRENT PASSWORD")
                file.write_text("another\n")
                cursor.execute(f"ALTER USER '{user}'@'%' DISCARD OLD PASSWORD")
            assert connection.execute(text("SELECT 1")).scalar() == 1
        engine.dispose()
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar() == 1
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            pymysql.connect(host=mysql.host, port=mysql.port, user=user, password=old.strip())
    finally:
        with mysql.admin() as admin, admin.cursor() as cursor:
            cursor.execute(f"ALTER USER '{user}'@'%' IDENTIFIED BY '{old.strip()}'")
        file.write_text(old)
        engine.dispose()


def test_passwords_are_not_part_of_the_engine(migrated: DatabaseSettings) -> None:
    engine = connect(migrated)
    assert engine.url.password is None
    assert PASSWORD not in repr(engine)
