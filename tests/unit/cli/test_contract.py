"""The command contract without a lab: exit codes, one JSON object, schemas, no tracebacks."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from cli.verbs.db import fields_of
from infra.estate.loading import load_estate
from runbooks.database.picture import Busy, Member, Picture, Router
from tests.lab.harness import SCHEMAS, check_schema

ROOT = Path(__file__).parents[3]


def yiyun(*words: str, state: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(state),
        "YIYUN_STATE": str(state / "state"),
    }
    argv = [sys.executable, "-m", "cli.main", *words]
    return subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def result_of(*words: str, state: Path) -> tuple[int, dict]:
    done = yiyun(*words, "--json", state=state)
    result = json.loads(done.stdout)
    check_schema(result)
    assert "Traceback" not in done.stderr
    return done.returncode, result


@pytest.mark.parametrize("words", [("status", "--nonsense"), ("nonsense",), ("why", "a", "b", "99999")])
def test_a_usage_error_is_bad_input_not_changes_pending(words: tuple[str, ...], tmp_path: Path) -> None:
    done = yiyun(*words, state=tmp_path)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr


def test_a_usage_error_is_json_for_a_machine(tmp_path: Path) -> None:
    done = yiyun("status", "--nonsense", "--json", state=tmp_path)
    result = json.loads(done.stdout)
    assert (done.returncode, result["ok"], result["error"]["code"]) == (4, False, "usage")


@pytest.mark.parametrize("verb", ["status", "preview", "drift", "verify", "up", "destroy", "doctor"])
def test_a_broken_estate_is_exit_4_with_file_and_line_before_anything_is_made(
    verb: str, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("estate: bad\nextends: lab\ncolour: red\n", encoding="utf-8")
    code, result = result_of(verb, "--estate", str(bad), state=tmp_path)
    assert code == 4
    assert result["error"]["where"] == f"{bad}:3"
    assert "unknown key colour" in result["error"]["message"]
    assert not (tmp_path / "state" / "bad").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("verify",),
        ("drift",),
        ("logs", "db-1"),
        ("destroy",),
        ("lab", "stop"),
        ("monitor", "diff"),
        ("db", "status"),
        ("db", "switch"),
        ("db", "replace", "db-2"),
        ("db", "upgrade"),
        ("db", "recover"),
    ],
)
def test_an_estate_that_was_never_up_is_said_so(words: tuple[str, ...], tmp_path: Path) -> None:
    code, result = result_of(*words, state=tmp_path)
    assert code == 4
    assert "never brought up" in result["error"]["message"]


def test_what_the_database_looks_like_fits_its_schema() -> None:
    member = Member("db-1", answers=True, state="ONLINE", view={"db-1": "ONLINE"}, executed="a:1-3:7")
    router = Router("app-1", answers=True, writer="db-1", status={"db-1": "UP"}, sessions={"db-1": 2})
    seen = Picture(
        (replace(member, busy=(Busy(1, "u", "h", 0.2),)), Member("db-2", problem="gone")), (router,)
    )
    fields = fields_of(seen) | {"repaired": []}
    common = {"command": "db status", "estate": "lab", "scope": "lab", "ok": False, "seconds": 0.1}
    check_schema({**common, "started": "2026-11-28T05:00:00.000Z", **fields})
    assert fields["members"][0]["transactions"] == 4
    assert fields["members"][1]["reasons"] == ["gone"]
    assert fields["switch"]["safe"] is False
    assert fields["problems"] == ["db-2 does not answer: gone"]
    del fields["routers"]
    with pytest.raises(ValidationError):
        check_schema({**common, "started": "2026-11-28T05:00:00.000Z", **fields})


def test_init_writes_a_file_that_loads_and_never_overwrites(tmp_path: Path) -> None:
    target = tmp_path / "mine.yaml"
    code, result = result_of("init", str(target), state=tmp_path)
    assert (code, result["file"]) == (0, str(target))
    assert load_estate(str(target)).estate == "mine"
    before = target.read_text(encoding="utf-8")
    assert result_of("init", str(target), state=tmp_path)[0] == 3
    assert target.read_text(encoding="utf-8") == before


def test_a_lab_verb_refuses_a_cloud_estate(tmp_path: Path) -> None:
    code, result = result_of("lab", "stop", "--estate", "yucheng", state=tmp_path)
    assert (code, result["error"]["message"]) == (4, "yucheng is not a lab")


def test_doctor_names_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    code, result = result_of("doctor", state=tmp_path)
    missing = [f for f in result["findings"] if not f["ok"]]
    assert code == (1 if missing else 0)
    assert all(f["remedy"] for f in missing)
    assert {"podman", "nft", "memory", "port 10443"} <= {f["name"] for f in result["findings"]}


def refused(tmp_path: Path, lab: str) -> dict:
    """What `up` says of an estate that this machine cannot carry; nothing may have been made."""
    file = tmp_path / "unfit.yaml"
    file.write_text(f"estate: unfit\nextends: lab\nlab: {lab}\n", encoding="utf-8")
    code, result = result_of("up", "--yes", "--estate", str(file), state=tmp_path)
    assert code == 4
    assert [s["status"] for s in result["steps"]] == ["failed"]
    assert not (tmp_path / "state" / "unfit" / "records").exists()
    return result["error"]


def test_a_taken_port_is_named_before_the_long_part_begins(tmp_path: Path) -> None:
    """The first of them: the others may be taken too, by the shipped lab."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refused(tmp_path, f"{{published: {{bastion: {port}}}}}")
    assert f"port {port}: 127.0.0.1 has it taken" in error["message"]
    assert "lab.published.bastion" in error["hint"]


def test_too_little_memory_is_said_before_the_long_part_begins(tmp_path: Path) -> None:
    error = refused(tmp_path, "{memory_scale: 1}")
    assert "memory: " in error["message"]
    assert "lab.memory_scale" in error["hint"]


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda p: p.stem)
def test_every_schema_is_a_schema(path: Path) -> None:
    Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))


def test_lab_up_says_of_the_status_what_status_says() -> None:
    status, up = (
        json.loads((SCHEMAS / f"{verb}.json").read_text(encoding="utf-8"))["properties"]
        for verb in ("status", "lab-up")
    )
    within = up["status"]["properties"]
    assert {name: of for name, of in within.items() if name in status} == {
        name: of for name, of in status.items() if name in within
    }


@pytest.mark.parametrize("port", ["3306", "22"])
def test_why_tells_its_whole_chain_within_its_schema(port: str, tmp_path: Path) -> None:
    code, result = result_of("why", "app-1", "db-1", port, state=tmp_path)
    assert (code, result["ok"], result["permitted"]) == (0, True, port == "3306")


def test_every_verb_has_help(tmp_path: Path) -> None:
    listed = yiyun("--help", state=tmp_path).stdout
    for verb in (
        "up",
        "preview",
        "verify",
        "status",
        "drift",
        "destroy",
        "why",
        "ssh",
        "logs",
        "init",
        "doctor",
        "lab",
        "monitor",
    ):
        assert verb in listed
        assert "Usage" in yiyun(verb, "--help", state=tmp_path).stdout
