"""Filling Zabbix's database: the vendor's own transactions go, so that ours holds the password too."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.programs import load_program

if TYPE_CHECKING:
    from types import ModuleType

SOURCE = Path(__file__).parents[3] / "playbooks/roles/zabbix_server/files/zabbix_schema.py"
PASSWORD = "it's-a-secret-of-24-chars"


@pytest.fixture
def program(tmp_path: Path) -> ModuleType:
    module = load_program(SOURCE)
    for part, text in (
        ("schema", "CREATE TABLE users (username text);\n"),
        ("images", "START TRANSACTION;\nINSERT INTO images VALUES (1);\nCOMMIT;\n"),
        ("data", "START TRANSACTION;\nINSERT INTO users VALUES ('Admin COMMIT;');\nCOMMIT;\n"),
    ):
        with gzip.open(tmp_path / f"{part}.sql.gz", "wt") as stream:
            stream.write(text)
    module.FOLDER = tmp_path
    return module


def test_the_vendors_transactions_are_left_out_and_nothing_else(program: ModuleType) -> None:
    text = b"".join(program.schema_statements()).decode()
    assert text == (
        "CREATE TABLE users (username text);\nINSERT INTO images VALUES (1);\n"
        "INSERT INTO users VALUES ('Admin COMMIT;');\n"
    )


def test_everything_goes_to_one_transaction_by_stdin(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen, real = tmp_path / "seen", subprocess.Popen
    commands: list[list[str]] = []

    def instead(command: list[str], **options: Any) -> Any:
        commands.append(command)
        return real(["sh", "-c", f"cat > {seen}"], **options)

    monkeypatch.setattr(program.subprocess, "Popen", instead)
    assert program.fill(PASSWORD) == 0
    assert "--single-transaction" in commands[0]
    assert not [word for word in commands[0] if PASSWORD in word]
    text = seen.read_text(encoding="utf-8")
    assert (
        text.index("CREATE TABLE users")
        < text.index("UPDATE users SET passwd")
        < text.index("WHERE username = 'guest'")
    )
    assert "'it''s-a-secret-of-24-chars'" in text
