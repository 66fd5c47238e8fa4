"""The data directory's owner, and accounts as wanted against accounts as they are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.programs import load_program

if TYPE_CHECKING:
    from types import ModuleType

FILES = Path(__file__).parents[3] / "playbooks/roles/mysql/files"
OWNER = {"estate": "lab", "host": "db-1"}


def load(name: str) -> ModuleType:
    return load_program(FILES / f"{name}.py")


@pytest.fixture(scope="module")
def datadir() -> ModuleType:
    return load("mysql_datadir")


@pytest.fixture(scope="module")
def accounts() -> ModuleType:
    load("mysql_passwords")
    return load("mysql_accounts")


def test_a_missing_or_empty_directory_is_free(datadir: ModuleType, tmp_path: Path) -> None:
    assert datadir.inspect(tmp_path / "mysql", OWNER, None)[0] == "absent"
    (tmp_path / "mysql/lost+found").mkdir(parents=True)
    assert datadir.inspect(tmp_path / "mysql", OWNER, None)[0] == "absent"


def test_a_directory_with_our_marker_is_ours(datadir: ModuleType, tmp_path: Path) -> None:
    (tmp_path / datadir.MARKER).write_text(json.dumps(OWNER))
    assert datadir.inspect(tmp_path, OWNER, None)[0] == "ours"


@pytest.mark.parametrize(
    "marker", [None, "{", json.dumps(OWNER | {"host": "db-2"}), json.dumps(OWNER | {"estate": "other"})]
)
def test_files_of_anybody_else_are_refused(datadir: ModuleType, tmp_path: Path, marker: str | None) -> None:
    (tmp_path / "ibdata1").write_text("data")
    if marker is not None:
        (tmp_path / datadir.MARKER).write_text(marker)
    assert datadir.inspect(tmp_path, OWNER, None)[0] == "foreign"


def test_a_disk_that_is_not_mounted_is_refused(datadir: ModuleType, tmp_path: Path) -> None:
    state, sentence = datadir.inspect(tmp_path / "mysql", OWNER, tmp_path)
    assert state == "not-mounted"
    assert str(tmp_path) in sentence


def test_a_foreign_directory_ends_with_3_and_is_left_alone(
    datadir: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ibdata1").write_text("data")
    arguments = ["x", "ensure", "--directory", str(tmp_path), "--estate", "lab", "--host", "db-1"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert datadir.main() == 3
    assert json.loads(capsys.readouterr().out)["state"] == "foreign"
    assert [p.name for p in tmp_path.iterdir()] == ["ibdata1"]


def test_check_mode_only_says_that_it_would_initialise(
    datadir: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "mysql"
    arguments = ["x", "ensure", "--check", "--directory", str(target), "--estate", "lab", "--host", "db-1"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert datadir.main() == 0
    assert json.loads(capsys.readouterr().out)["changed"] is True
    assert not target.exists()


def test_first_statements_quote_passwords_and_demand_encryption(datadir: ModuleType) -> None:
    group = {
        "members": {"db-1": "10.0.0.1"},
        "admin": {"user": "yiyun_admin", "password": r"a'b\c"},
        "recovery": {"user": "yiyun_group", "password": "plain"},
    }
    lines = datadir.first_statements(group).splitlines()
    assert r"CREATE USER 'yiyun_admin'@'10.0.0.1' IDENTIFIED BY 'a''b\\c' REQUIRE SSL;" in lines
    assert all("REQUIRE SSL" in line for line in lines if line.startswith("CREATE USER"))
    assert not any("ALL ON" in line and "yiyun_group" in line for line in lines)


SALT = b"saltstringsaltstring"


def stored(accounts: ModuleType, grants: set[str], first: str = "secret", second: str = "") -> Any:
    passwords = sys.modules["mysql_passwords"]
    texts = [
        b"$A$005$" + SALT + passwords.sha_crypt(p.encode(), SALT, 5000).encode() if p else b""
        for p in (first, second)
    ]
    return accounts.Stored(frozenset(grants), *texts)


def changes(accounts: ModuleType, existing: dict[str, set[str]], **wanted: Any) -> list[str]:
    fields = {
        "user": "app",
        "hosts": ("h1",),
        "passwords": ("secret",),
        "grants": ("SELECT ON `y`.*",),
    } | wanted
    held = {host: stored(accounts, grants) for host, grants in existing.items()}
    return [c.statement for c in accounts.account_changes(accounts.Account(**fields), held)]


def test_a_missing_account_is_made_and_gets_its_rights(accounts: ModuleType) -> None:
    assert changes(accounts, {}) == [
        "CREATE USER `app`@`h1` IDENTIFIED BY %s REQUIRE SSL",
        "GRANT SELECT ON `y`.* TO `app`@`h1`",
    ]


def test_an_account_as_wanted_is_left_alone(accounts: ModuleType) -> None:
    assert changes(accounts, {"h1": {"SELECT ON `y`.*"}}) == []


def test_rights_too_many_are_taken_before_others_are_given(accounts: ModuleType) -> None:
    assert changes(accounts, {"h1": {"SELECT, DROP ON `y`.*"}}) == [
        "REVOKE SELECT, DROP ON `y`.* FROM `app`@`h1`",
        "GRANT SELECT ON `y`.* TO `app`@`h1`",
    ]


def test_an_account_from_a_host_that_is_gone_is_dropped(accounts: ModuleType) -> None:
    held = {"h1": {"SELECT ON `y`.*"}, "old": {"SELECT ON `y`.*"}}
    assert changes(accounts, held) == ["DROP USER `app`@`old`"]


def test_no_password_is_ever_shown(accounts: ModuleType) -> None:
    account = accounts.Account(user="app", hosts=("h1",), passwords=("secret",))
    found = accounts.account_changes(account, {})
    assert "secret" not in " ".join(change.text + change.statement for change in found)
    assert "secret" not in repr(account)
    assert found[0].arguments == ("secret",)


def passwords_become(
    accounts: ModuleType, wanted: tuple[str, ...], first: str, second: str = ""
) -> list[str]:
    account = accounts.Account(user="app", hosts=("h1",), passwords=wanted)
    made = accounts.password_changes(account, "h1", stored(accounts, set(), first, second))
    return [" ".join((c.statement.removeprefix("ALTER USER `app`@`h1` "), *c.arguments)) for c in made]


def test_sha_crypt_is_the_published_one(accounts: ModuleType) -> None:
    made = sys.modules["mysql_passwords"].sha_crypt(b"Hello world!", b"saltstring", 5000)
    assert made == "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"


@pytest.mark.parametrize(
    ("wanted", "first", "second", "statements"),
    [
        (("a",), "a", "", []),
        (("a", "b"), "a", "", ["IDENTIFIED BY %s RETAIN CURRENT PASSWORD b"]),
        (("a", "b"), "b", "a", []),
        (("b", "a"), "b", "a", []),
        (("b",), "b", "a", ["DISCARD OLD PASSWORD"]),
        (("a",), "b", "a", ["IDENTIFIED BY %s a", "DISCARD OLD PASSWORD"]),
        (("a",), "someone's", "", ["IDENTIFIED BY %s a"]),
        (("a", "b"), "someone's", "", ["IDENTIFIED BY %s a", "IDENTIFIED BY %s RETAIN CURRENT PASSWORD b"]),
    ],
)
def test_both_passwords_work_in_between(
    accounts: ModuleType, wanted: tuple[str, ...], first: str, second: str, statements: list[str]
) -> None:
    assert passwords_become(accounts, wanted, first, second) == statements
