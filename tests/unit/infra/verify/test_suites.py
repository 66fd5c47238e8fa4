"""The suites run anywhere pytest does: what they judge is facts, and facts can be written down."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from infra.errors import BadInputError
from infra.estate.loading import load_estate
from infra.services.catalogue import SERVICES, services_of
from infra.verify import suites_report
from infra.verify.results import Failure
from infra.verify.suites import gather
from infra.verify.suites.machine import gather_command, question_for
from infra.verify.suites.rights import surplus_rights
from infra.verify.suites_runner import chosen, suite_names, suites_folder

if TYPE_CHECKING:
    from pathlib import Path

LAB = load_estate("lab")
WITHOUT_SUITE = {
    "bastion",
    "bastion-door",
    "sshd",
    "oracle",
    "object-storage",
    "backup-pruning",
    "backup-recovery",
}
"""sshd and both bastions are judged by the suite `base`; Oracle awaits its media; the provider's object
storage is judged from the hosts that call it; pruning and recovery are accounts that are on no host."""


def test_every_service_has_a_suite() -> None:
    of_services = {s.name for s in SERVICES if s.name not in WITHOUT_SUITE}
    assert set(suite_names()) == {"base", "secrets", *of_services}


def test_every_suite_names_a_service_that_exists() -> None:
    names = {s.name for s in SERVICES}
    for path in suites_folder().glob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.partition('pytest.mark.service("')[2].partition('"')[0] in names, path.name


def test_a_right_too_many_is_named() -> None:
    held = [["'yiyun_app'@'10.0.0.1'", "yiyun", "SELECT"], ["'yiyun_app'@'10.0.0.1'", "*", "USAGE"]]
    assert surplus_rights([*held, ["'yiyun_admin'@'10.0.0.1'", "*", "SUPER"]]) == []
    planted = [
        ["'yiyun_app'@'10.0.0.1'", "yiyun", "DROP"],
        ["'yiyun_drill'@'10.0.0.1'", "yiyun", "SELECT"],
        ["'yiyun_health'@'localhost'", "*", "SUPER"],
        ["'yiyun_other'@'localhost'", "yiyun", "SELECT"],
    ]
    assert surplus_rights([*held, *planted]) == [
        "yiyun_app may DROP on yiyun",
        "yiyun_drill may SELECT on yiyun",
        "yiyun_health may SUPER on *",
        "yiyun_other may SELECT on yiyun",
    ]


def test_suites_can_be_chosen_by_name() -> None:
    assert chosen(["mysql", "base"]) == ("base", "mysql")
    assert chosen(None) == suite_names()
    with pytest.raises(BadInputError) as caught:
        chosen(["nonsense"])
    assert "mysql" in caught.value.hint


def test_questions_name_what_the_services_of_a_host_own() -> None:
    asked = question_for(LAB, LAB.host("app-2"))
    assert {"nginx", "haproxy", "yiyun-db-keeper", "yiyun-app", "wg-quick@wg0"} <= set(asked["units"])
    assert "/etc/yiyun-app/app.env" in asked["files"]
    assert {d["name"] for d in asked["doors"]} == {
        "proxy.https",
        "proxy.line",
        "platform.https",
        "object-storage:cn-north-1",
        "object-storage:cn-east-2",
    }
    assert asked["outside"] == [["198.51.100.100", 22]]
    edge = question_for(LAB, LAB.host("edge-1"))
    assert {d["name"] for d in edge["doors"] if not d["own"]} == {
        f"{app} {how} certificate" for app in ("app-1", "app-2") for how in ("with", "without")
    }


@pytest.mark.parametrize("name", [h.name for h in LAB.hosts])
def test_gathering_answers_every_question_even_where_nothing_is_installed(name: str) -> None:
    host = LAB.host(name)
    question = {
        **question_for(LAB, host),
        "doors": [],
        "tls": [],
        "outside": [],
        "commands": {"no": ["no-such-program"]},
    }
    done = subprocess.run(
        ["sh", "-c", gather_command(question).replace("python3", sys.executable, 1)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    facts = json.loads(done.stdout)
    assert set(facts["units"]) == {u for s in services_of(host) for u in s.units}
    assert set(facts["files"]) == set(question["files"])
    assert facts["files"]["/"]["directory"] is True
    assert facts["commands"]["no"]["code"] == 127


def test_apt_sources_are_found_in_both_formats_and_comments_are_not(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("# deb http://old/ x\ndeb http://one/debian x main\n")
    (tmp_path / "sources.list.d" / "two.sources").write_text(
        "Types: deb\nURIs: https://two/debian file:/three\n"
    )
    (tmp_path / "sources.list.d" / "off.list.disabled").write_text("deb http://off/ x\n")
    real = gather.Path
    monkeypatch.setattr(gather, "Path", lambda p: tmp_path if p == "/etc/apt" else real(p))
    assert gather.package_sources() == ["file:/three", "http://one/debian", "https://two/debian"]


@pytest.mark.parametrize(
    ("answer", "held"),
    [
        ({"version": "TLSv1.3", "error": "", "status": 400}, True),
        ({"version": "", "error": "SSLError: alert certificate required", "status": 0}, True),
        ({"version": "TLSv1.3", "error": "SSLError: alert certificate required", "status": 0}, True),
        ({"version": "TLSv1.3", "error": "", "status": 200}, False),
        ({"version": "TLSv1.3", "error": "", "status": 404}, False),
        ({"version": "", "error": "ConnectionRefusedError: nobody", "status": 0}, False),
    ],
)
def test_a_door_that_wants_a_certificate_must_be_seen_to_refuse(
    answer: dict[str, object], held: bool
) -> None:
    from infra.verify.suites.doors import assert_refused
    from infra.verify.suites.machine import Machine

    machine = Machine(LAB, LAB.host("app-1"), {"doors": {"proxy.line": answer}}, None)
    if held:
        assert_refused(machine, "proxy.line")
    else:
        with pytest.raises(AssertionError):
            assert_refused(machine, "proxy.line")


def test_report_counts_and_titles_what_failed(tmp_path: Path) -> None:
    suite = tmp_path / "test_mysql_health.py"
    suite.write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('name', ['db-1', 'db-2'])\n"
        "def test_says_online(name): assert name == 'db-1', f'{name} is OFFLINE'\n"
        "@pytest.mark.clause('8.1.4.3 安全审计')\n"
        "def test_left_out(): pytest.skip('no media')\n"
        "@pytest.fixture\ndef broken(): raise OSError('no answer')\n"
        "def test_never_starts(broken): pass\n"
    )
    report = tmp_path / "report.json"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "infra.verify.suites_report",
            "-c",
            "/dev/null",
            str(suite),
        ],
        env={
            suites_report.REPORT: str(report),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(suites_folder().parents[2]),
        },
        capture_output=True,
        check=False,
        timeout=60,
    )
    found = json.loads(report.read_text(encoding="utf-8"))
    assert (found["passed"], found["failed"], found["skipped"]) == (1, 2, 1)
    left_out = "mysql-health: left out (GB/T 22239-2019 8.1.4.3 安全审计)"
    assert found["skips"] == [{"check": left_out, "host": "", "message": "no media"}]
    assert found["clauses"] == {"GB/T 22239-2019 8.1.4.3 安全审计": {"passed": 0, "failed": 0, "skipped": 1}}
    failures = sorted(Failure(**f) for f in found["failures"])
    assert failures[1] == Failure("mysql-health: says online", "db-2", "db-2 is OFFLINE")
    assert failures[0].check == "mysql-health: never starts"
    assert "no answer" in failures[0].message


def test_a_setting_that_the_server_prints_line_by_line_has_all_its_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`AllowUsers root admin` comes back as two lines; the last one alone looked like a lost owner."""
    printed = "port 22\nallowusers root\nallowusers admin\npermitopen 10.20.1.10:22 10.20.1.11:22\n"
    monkeypatch.setattr(gather, "run", lambda _: {"code": 0, "out": printed, "err": ""})
    found = gather.sshd()
    assert found["allowusers"] == "root admin"
    assert found["permitopen"].split() == ["10.20.1.10:22", "10.20.1.11:22"]
