"""The command line, run as its users run it."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from app_support import eventually
from conftest import Server, free_port

from yiyun_app.settings import DatabaseSettings

LIMIT = 60


def environment(settings: DatabaseSettings | None = None, **changes: object) -> dict[str, str]:
    made = {name: value for name, value in os.environ.items() if not name.startswith("YIYUN_APP_")}
    values = {**(settings.model_dump(exclude_none=True) if settings else {}), **changes}
    return made | {f"YIYUN_APP_{name.upper()}": str(value) for name, value in values.items()}


def run(*arguments: str, env: dict[str, str], given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "yiyun_app", *arguments]
    return subprocess.run(
        command, env=env, input=given, text=True, capture_output=True, timeout=LIMIT, check=False
    )


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["migrate"], ["serve"], ["user", "set"], ["user", "set", "--role", "king"]]
)
def test_a_mistake_is_one_line_and_exit_4(arguments: list[str]) -> None:
    answer = run(*arguments, env=environment())
    assert answer.returncode == 4
    assert len(answer.stderr.strip().splitlines()) == 1
    assert "Traceback" not in answer.stderr


def test_lint_names_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    assert (run("lint", env=environment()).returncode, run("lint", env=environment()).stdout) == (0, "")
    file = tmp_path / "bad.sql"
    file.write_text("CREATE TABLE t (a INT PRIMARY KEY) ENGINE=MyISAM;")
    answer = run("lint", str(file), env=environment())
    assert answer.returncode == 1
    assert answer.stdout.startswith("t: not-innodb: the group refuses")


def test_a_database_that_is_not_there_is_one_line_and_exit_1(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("x")
    env = environment(database_password_file=password, database_port=free_port(), retry_seconds=1)
    for arguments in (
        ["migrate"],
        ["user", "set", "--username", "a", "--role", "doctor", "--display-name", "A"],
    ):
        answer = run(*arguments, env=env, given="long enough password\n")
        assert answer.returncode == 1, answer.stderr
        assert len(answer.stderr.strip().splitlines()) == 1


def test_migrate_and_user_set_say_whether_they_changed_anything(empty_database: DatabaseSettings) -> None:
    env = environment(empty_database)
    assert [run("migrate", env=env).stdout for _ in range(2)] == ["changed\n", "unchanged\n"]
    account = ["user", "set", "--username", "wang", "--role", "doctor", "--display-name"]
    steps = [
        ("王医生", "first password"),
        ("王医生", "first password"),
        ("王", "first password"),
        ("王", "another password"),
    ]
    answers = [run(*account, name, env=env, given=f"{password}\n") for name, password in steps]
    assert [answer.stdout for answer in answers] == ["changed\n", "unchanged\n", "changed\n", "changed\n"]
    assert run(*account, "王", env=env, given="short\n").returncode == 4


def test_serve_answers_and_finishes_a_request_in_flight_when_told_to_stop(
    mysql: Server, empty_database: DatabaseSettings, secret_files: dict[str, Path]
) -> None:
    port = free_port()
    env = environment(empty_database, **secret_files, listen_port=port)
    run("migrate", env=env)
    process = subprocess.Popen(
        [sys.executable, "-m", "yiyun_app", "serve"],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        base = f"http://127.0.0.1:{port}"
        _wait_until_ready(f"{base}/readyz")
        with mysql.admin() as admin, admin.cursor() as cursor:
            cursor.execute(f"LOCK TABLES {empty_database.database_name}.staff_user WRITE")
            with httpx2.Client() as client:
                slow = _start_slow_request(client, f"{base}/fhir/metadata")
                _wait_for_waiting_statement(mysql)
                process.send_signal(signal.SIGTERM)
                _wait_until_closed(base)
                cursor.execute("UNLOCK TABLES")
                assert slow.result(LIMIT).status_code == 401
        assert process.wait(LIMIT) in {0, -signal.SIGTERM}
    finally:
        process.kill()
        output = process.communicate()[0]
    assert '"route": "/fhir/metadata"' in output
    assert "Traceback" not in output


def _start_slow_request(client: httpx2.Client, url: str):
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1)
    answer = pool.submit(client.get, url, auth=("wang", "any password"), timeout=LIMIT)
    pool.shutdown(wait=False)
    return answer


def _wait_until_ready(url: str) -> None:
    def ready() -> bool:
        with contextlib.suppress(httpx2.TransportError):
            return httpx2.get(url).status_code == 200
        return False

    eventually(ready, LIMIT)


def _wait_until_closed(url: str) -> None:
    def closed() -> bool:
        try:
            httpx2.get(f"{url}/healthz")
        except httpx2.TransportError:
            return True
        return False

    eventually(closed, LIMIT)


def _wait_for_waiting_statement(mysql: Server) -> None:
    query = "SELECT COUNT(*) FROM performance_schema.processlist WHERE STATE LIKE 'Waiting for table%'"
    with mysql.admin() as admin, admin.cursor() as cursor:

        def waits() -> bool:
            cursor.execute(query)
            row = cursor.fetchone()
            return bool(row and row[0])

        eventually(waits, LIMIT)
