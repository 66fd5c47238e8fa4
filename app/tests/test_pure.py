"""Rules that need no database."""

import base64
import datetime as dt
import os
import re
import uuid
from pathlib import Path

import pytest
from app_support import id_card, message, result
from babel.messages.extract import extract_from_file

from yiyun_app import i18n
from yiyun_app.crypto import FieldCipher, FieldDecryptionError
from yiyun_app.errors import UserError
from yiyun_app.identifiers import Area, AreaFullError, mask_id_card, normalise_id_card, record_number
from yiyun_app.ingest import supersedes
from yiyun_app.ingest_message import Message, body_sha256, numbered_results
from yiyun_app.names import pinyin_initials
from yiyun_app.reference_range import flag, parse_reference_range
from yiyun_app.schema import new_id
from yiyun_app.settings import ServeSettings, load, read_field_keys, read_secret, read_session_keys
from yiyun_app.web.login import LoginGuard, Signer
from yiyun_app.web.pages_support import PACKAGE


def test_a_record_number_is_county_township_village_serial() -> None:
    assert record_number(Area("411425", "102", "003"), 7) == "41142510200300007"


def test_a_full_village_refuses_and_the_unknown_area_goes_on() -> None:
    assert record_number(Area("411425"), 99_999) == "41142500000099999"
    assert record_number(Area("411425"), 100_000) == "41142500000100001"
    with pytest.raises(AreaFullError):
        record_number(Area("411425", "102", "003"), 100_000)
    with pytest.raises(ValueError, match="starts at 1"):
        record_number(Area("411425"), 0)


def test_an_id_number_is_accepted_in_any_case_and_spacing() -> None:
    assert normalise_id_card(" 11010519491231002x ") == "11010519491231002X"


def test_an_id_number_older_than_its_countys_code_is_accepted() -> None:
    assert normalise_id_card(id_card(1)) == id_card(1)


@pytest.mark.parametrize(
    "text",
    ["", "110105194912310021", "11010519491331002X", "11010519491231002", "1101051949123100 2XX", "abc"],
)
def test_a_wrong_id_number_is_refused(text: str) -> None:
    assert normalise_id_card(text) is None


def test_every_single_wrong_digit_of_an_id_number_is_noticed() -> None:
    good = id_card(1)
    for place in range(17):
        for digit in "0123456789":
            if digit != good[place]:
                assert normalise_id_card(good[:place] + digit + good[place + 1 :]) is None


def test_a_mask_hides_birth_date_and_shows_four() -> None:
    assert mask_id_card("11010519491231002X") == "110105********002X"


@pytest.mark.parametrize(
    ("name", "initials"), [("王小东", "wxd"), ("欧阳 娜娜", "oynn"), ("Anna李", "annal"), ("", ""), ("·", "")]
)
def test_initials_are_first_letters(name: str, initials: str) -> None:
    assert pinyin_initials(name) == initials


def test_an_encrypted_field_opens_only_in_its_own_row_and_under_its_own_key() -> None:
    cipher = FieldCipher(bytes(32))
    stored = cipher.encrypt("13800000000", "phone", "row-1")
    assert cipher.decrypt(stored, "phone", "row-1") == "13800000000"
    assert stored != cipher.encrypt("13800000000", "phone", "row-1")
    attempts = [
        (cipher, stored, "phone", "row-2"),
        (cipher, stored, "id", "row-1"),
        (FieldCipher(bytes(31) + b"\x01"), stored, "phone", "row-1"),
        (cipher, stored[:-1] + bytes([stored[-1] ^ 1]), "phone", "row-1"),
        (cipher, b"\x03" + stored[1:], "phone", "row-1"),
    ]
    for other, blob, column, row in attempts:
        with pytest.raises(FieldDecryptionError):
            other.decrypt(blob, column, row)


def test_a_blind_index_is_the_same_for_a_value_and_differs_by_key_and_column() -> None:
    cipher = FieldCipher(bytes(32))
    index = cipher.blind_index("x", "id")
    assert index == FieldCipher(bytes(32)).blind_index("x", "id")
    assert (
        len({index, cipher.blind_index("x", "phone"), FieldCipher(b"\x01" * 32).blind_index("x", "id")}) == 3
    )


@pytest.mark.parametrize(
    ("value", "comparator", "reference", "given", "expected"),
    [
        ("5.6", "", "3.9-6.1", "", ""),
        ("6.1", "", "3.9-6.1", "", ""),
        ("6.2", "", "3.9--6.1", "", "high"),
        ("3.8", "", "3.9~6.1", "", "low"),
        ("5.2", "", "<5.2", "", "high"),
        ("5.2", "", "≤5.2", "", ""),
        ("0.9", "", "≥1.0", "", "low"),
        ("-2", "", "-3--1", "", ""),
        ("7", "<", "3.9-6.1", "", ""),
        ("7", ">", "3.9-6.1", "", "high"),
        ("3", "<", "3.9-6.1", "", "low"),
        ("5.0", "", "3.9-6.1", "HH", "high"),
        ("9.9", "", "3.9-6.1", "N", ""),
        ("5.0", "", "3.9-6.1", "L~A", "low"),
        ("阳性", "", "阴性", "", ""),
        ("NaN", "", "3.9-6.1", "", ""),
        ("9", "", "6.1-3.9", "", ""),
    ],
)
def test_a_flag_is_the_laboratorys_or_follows_from_the_range(
    value: str, comparator: str, reference: str, given: str, expected: str
) -> None:
    assert flag(value, comparator, reference, given) == expected


def test_a_range_in_words_is_no_range() -> None:
    assert parse_reference_range("阴性 (-)") is None


@pytest.mark.parametrize(
    ("current", "incoming", "newer", "expected"),
    [
        ("preliminary", "final", True, True),
        ("final", "corrected", True, True),
        ("final", "cancelled", True, True),
        ("corrected", "final", True, True),
        ("final", "preliminary", True, False),
        ("cancelled", "preliminary", True, False),
        ("corrected", "final", False, False),
    ],
)
def test_what_replaces_what(current: str, incoming: str, newer: bool, expected: bool) -> None:
    assert supersedes(current, incoming, newer=newer) is expected


def test_repeated_codes_in_one_message_have_keys_of_their_own() -> None:
    parsed = Message.model_validate(message([result(set_id="1"), result(set_id="2"), result("718-7")]))
    keys = [key for _, _, key in numbered_results(parsed, "r")]
    assert len(set(keys)) == 3
    assert keys == [key for _, _, key in numbered_results(parsed, "r")]
    assert set(keys).isdisjoint(key for _, _, key in numbered_results(parsed, "other"))


def test_a_body_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert body_sha256({"a": 1, "b": 2}) == body_sha256({"b": 2, "a": 1}) != body_sha256({"a": 1, "b": 3})


def test_new_ids_are_version_7_and_in_order_of_time() -> None:
    made = new_id()
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert abs(int.from_bytes(made.bytes[:6], "big") / 1000 - dt.datetime.now().timestamp()) < 60


@pytest.mark.parametrize(
    ("asked", "cookie", "accepted", "expected"),
    [
        (None, None, None, "zh"),
        ("en", "zh", "zh", "en"),
        ("fr", None, None, "zh"),
        (None, "en", "zh", "en"),
        (None, None, "en-US,en;q=0.9", "en"),
        (None, None, "de,zh-CN;q=0.8,en;q=0.5", "zh"),
        (None, None, "en;q=0,*;q=x", "zh"),
    ],
)
def test_the_language_is_asked_then_remembered_then_accepted(
    asked: str | None, cookie: str | None, accepted: str | None, expected: str
) -> None:
    assert i18n.choose(asked, cookie, accepted) == expected


def test_every_text_of_the_pages_has_an_english_translation_and_no_other_is_left_over() -> None:
    used = set()
    for template in sorted((PACKAGE / "templates").glob("*.html")):
        found = list(extract_from_file("jinja2", template))
        used |= {texts[0] if isinstance(texts, tuple) else texts for _, texts, _, _ in found}
    catalogue = i18n.read_catalogue("en")
    translated = {
        entry.id[0] if isinstance(entry.id, tuple) else entry.id: entry.string
        for entry in catalogue
        if entry.id
    }
    assert len(used) > 30
    assert used == set(translated)
    for text in translated.values():
        words = "".join(text) if isinstance(text, tuple) else text
        assert words
        assert not re.search(r"[\u4e00-\u9fff]", words)


def test_no_template_carries_chinese_outside_a_translated_text() -> None:
    for template in sorted((PACKAGE / "templates").glob("*.html")):
        rest = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", template.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search(r"[\u4e00-\u9fff]", rest), template.name


def test_a_form_token_fits_one_browser_only() -> None:
    signer = Signer("k" * 32, 8)
    assert signer.form_is_ours("a", signer.form_token("a"))
    assert not signer.form_is_ours("b", signer.form_token("a"))
    assert not signer.form_is_ours(None, signer.form_token(""))
    assert not Signer("l" * 32, 8).form_is_ours("a", signer.form_token("a"))


def test_a_block_ends_when_its_window_has_passed() -> None:
    now = [0.0]
    guard = LoginGuard(lambda: now[0])
    for _ in range(5):
        guard.failed("wang", "a")
    assert guard.wait_seconds("wang", "a") == 300
    assert guard.wait_seconds("wang", "b") == guard.wait_seconds("li", "a") == 0
    now[0] = 300.0
    assert guard.wait_seconds("wang", "a") == 0


def test_a_remembered_password_is_forgotten_after_a_minute_or_when_changed() -> None:
    now = [0.0]
    guard = LoginGuard(lambda: now[0])
    guard.remember("wang", "p", "hash")
    assert guard.remembers("wang", "p", "hash")
    assert not guard.remembers("wang", "p", "other hash")
    assert not guard.remembers("wang", "q", "hash")
    now[0] = 60.0
    assert not guard.remembers("wang", "p", "hash")


def secret(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_a_secret_open_to_all_missing_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="chmod o-rwx"):
        read_secret(secret(tmp_path / "open", "x", 0o604))
    with pytest.raises(UserError, match="No such file"):
        read_secret(tmp_path / "missing")
    with pytest.raises(UserError, match="empty"):
        read_secret(secret(tmp_path / "empty", "\n"))
    assert read_secret(secret(tmp_path / "group", "x\n", 0o640)) == "x"


def test_a_field_key_must_be_32_bytes_in_base64(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="31 bytes"):
        read_field_keys(secret(tmp_path / "short", base64.b64encode(bytes(31)).decode()))
    with pytest.raises(UserError, match="not base64"):
        read_field_keys(secret(tmp_path / "text", "!!!"))
    assert read_field_keys(secret(tmp_path / "good", base64.b64encode(bytes(32)).decode())) == (bytes(32),)


def test_a_short_session_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too short"):
        read_session_keys(secret(tmp_path / "short", "x" * 31))


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith("YIYUN_APP_"):
            monkeypatch.delenv(name)
    for name in ("DATABASE_PASSWORD_FILE", "SESSION_KEY_FILE", "FIELD_KEY_FILE"):
        monkeypatch.setenv(f"YIYUN_APP_{name}", f"/run/{name}")
    return monkeypatch


def test_trusted_proxies_are_addresses_and_networks(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("YIYUN_APP_TRUSTED_PROXIES", "127.0.0.1, 10.0.1.0/24")
    settings = load(ServeSettings)
    trusted = [
        settings.is_trusted_proxy(peer) for peer in ("127.0.0.1", "10.0.1.9", "10.0.2.9", "testclient", "")
    ]
    assert trusted == [True, True, False, False, False]


def test_no_proxy_is_trusted_unless_named(environment: pytest.MonkeyPatch) -> None:
    assert not load(ServeSettings).is_trusted_proxy("127.0.0.1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_PORT", "70000"),
        ("DATABASE_PORT", "secret"),
        ("LISTEN_PORT", "0"),
        ("TRUSTED_PROXIES", "proxy.example"),
        ("COUNTY_CODE", "4114"),
        ("DATABASE_CONNECT_TIMEOUT", "5"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not_shown(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(f"YIYUN_APP_{name}", value)
    with pytest.raises(UserError, match=f"YIYUN_APP_{name}") as caught:
        load(ServeSettings)
    assert value not in str(caught.value).replace("65535", "")


def test_a_missing_setting_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("YIYUN_APP_FIELD_KEY_FILE")
    with pytest.raises(UserError, match="YIYUN_APP_FIELD_KEY_FILE"):
        load(ServeSettings)


def test_a_certificate_without_a_key_is_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("YIYUN_APP_TLS_CERTIFICATE_FILE", "/x.crt")
    with pytest.raises(UserError, match="go together"):
        load(ServeSettings)
