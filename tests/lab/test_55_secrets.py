"""Secrets are replaced under load: no request fails, no result is lost, the line stays up.

`YIYUN_SECRETS_FULL=1` goes through every kind; without it one of each way of replacing is tried.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
from cryptography import x509

from infra.reach import run_on, ssh_argv
from infra.trust.material import Material, unpack
from tests.lab import hospital
from tests.lab.harness import ROOT
from tests.lab.load import Load
from tests.lab.test_30_drift import checked
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra.trust.authority import Pair
    from tests.lab.harness import Lab

FULL = os.environ.get("YIYUN_SECRETS_FULL", "") not in ("", "0")
WAYS = [
    "mysql-app",
    "app-session",
    "leaf:balancer/lb-web",
    "leaf:app-1/proxy",
    "wireguard:ops-1",
    "ssh-host:ora-1",
    "zabbix-agent-psk:db-2",
]
EVERY_WAY = [
    "database-account",
    "field-key",
    "app-session",
    "certificate",
    "tunnel-key",
    "pre-shared-key",
    "ssh-host-key",
    "operator-key",
]
LOAD_SECONDS = 1500.0


def stored(lab: Lab, name: str) -> str:
    return str(Material(lab.estate, lab.paths).store.get(name))


def rotate(lab: Lab, *words: str, seconds: float = 900) -> list[dict[str, Any]]:
    answer = lab.yiyun("secrets", "rotate", *words, "--yes", seconds=seconds)
    assert answer.code == 0, answer.json
    return answer.json["rotations"]


def phase_of(lab: Lab, name: str) -> str | None:
    return Material(lab.estate, lab.paths).store.ledger().get(name, {}).get("phase")


@contextmanager
def line_watched(lab: Lab, folder: Path) -> Iterator[None]:
    """Fails unless the line was up at every look, five times a second, until the end."""
    log = folder / "line.jsonl"
    look = "while cat /run/yiyun-line.json; do sleep 0.2; done"
    with (
        log.open("wb") as stream,
        subprocess.Popen(ssh_argv(lab.paths, "edge-1", ["sh", "-c", look]), stdout=stream) as watch,
    ):
        yield
        watch.terminate()
    states = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    assert states
    assert [s for s in states if not s["up"]] == []
    print(f"line: {len(states)} looks, all up, by {sorted({s['path'] for s in states})}")  # noqa: T201


@contextmanager
def traffic(lab: Lab, folder: Path) -> Iterator[Load]:
    """Requests at a fixed rate and results of the hospital, for as long as the body lasts."""
    orders = hospital.new_results(lab, 3)
    with (
        line_watched(lab, folder),
        Load(f"{lab.page}/", lab.authority(folder), hospital.signed_in(lab), limit=LOAD_SECONDS) as load,
    ):
        eventually(lambda: load.served > 25, seconds=30)
        yield load
        orders += hospital.new_results(lab, 3)
    slow = sorted(load.seconds)
    print(f"{load.served} requests, p99 {slow[int(len(slow) * 0.99)]:.2f} s, slowest {slow[-1]:.2f} s")  # noqa: T201
    assert load.failures == []
    hospital.arrive(lab, orders, seconds=90)


def test_secrets_are_listed_and_never_shown(lab: Lab) -> None:
    answer = lab.yiyun("secrets", "list")
    assert answer.code == 0
    kinds = {one["kind"] for one in answer.json["secrets"]}
    assert kinds >= {
        "database-account",
        "certificate",
        "authority",
        "tunnel-key",
        "ssh-host-key",
        "operator-key",
    }
    assert all(one["since"] for one in answer.json["secrets"])
    said = json.dumps(answer.json)
    values = Material(lab.estate, lab.paths).store.all_values()
    assert [name for name, value in values.items() if value in said] == []
    leaf = next(one for one in answer.json["secrets"] if one["name"] == "leaf:app-1/proxy")
    assert leaf["not_after"]
    assert "estate authority" in leaf["issuer"]


def test_a_dry_run_says_what_would_reload_and_changes_nothing(lab: Lab) -> None:
    before = lab.paths.secrets.read_bytes()
    answer = lab.yiyun("secrets", "rotate", "--all", "--dry-run")
    assert answer.code == 0
    assert {r["status"] for r in answer.json["rotations"]} == {"planned"}
    assert all(r["phases"] for r in answer.json["rotations"])
    assert lab.paths.secrets.read_bytes() == before


def test_a_kind_without_a_way_is_refused_with_a_next_step(lab: Lab) -> None:
    answer = lab.yiyun("secrets", "rotate", "engine-passphrase", "--yes")
    assert answer.code == 4
    assert "no way yet" in answer.json["error"]["message"]
    assert lab.yiyun("secrets", "rotate", "nonsense", "--yes").code == 4


def test_each_way_under_load_and_the_old_one_is_refused(lab: Lab, tmp_path: Path) -> None:
    names = EVERY_WAY if FULL else WAYS
    before = {name: stored(lab, name) for name in Material(lab.estate, lab.paths).store.names()}
    old_pins, old_key = lab.paths.known_hosts.read_text(encoding="utf-8"), lab.paths.ssh_key.read_bytes()
    cookies = hospital.signed_in(lab)
    with traffic(lab, tmp_path) as load:
        for name in names:
            served = load.served
            done = rotate(lab, name)
            said = [
                f"{r['kind']} {r['status']} {[(p['name'], p['seconds']) for p in r['phases']]}" for r in done
            ]
            print(f"{name}: {load.served - served} requests meanwhile; {said}")  # noqa: T201
            assert load.failures == [], name
        assert phase_of(lab, "app-session") == "switch"
        served = load.served
        eventually(lambda: load.served > served + 25, seconds=30)
    assert signed_in_with(lab, cookies), "a session of the old key counts until it is retired"
    rotate(lab, "app-session", "--now")
    assert not signed_in_with(lab, cookies)
    assert_database_refuses(lab, "yiyun_app", before["mysql-app"])
    assert serial_at(lab.estate.lab.published.web) == serial(unpack(stored(lab, "leaf:balancer/lb-web")))
    assert serial_at(lab.estate.lab.published.web) != serial(unpack(before["leaf:balancer/lb-web"]))
    assert_host_serves(lab, "app-1", "proxy")
    assert before["wireguard:ops-1"] != stored(lab, "wireguard:ops-1")
    assert_old_pin_is_refused(lab, "ora-1", old_pins, tmp_path)
    if FULL:
        assert_old_operator_key_is_refused(lab, old_key, tmp_path)
        assert_field_key_is_alone(lab)
    assert lab.yiyun("secrets", "rotate", "--due", "--yes").json["rotations"] == []
    assert lab.yiyun("drift").json["changes"] == [], "what a rotation changed is as declared"


def test_killed_in_the_middle_the_next_run_completes(lab: Lab, tmp_path: Path) -> None:
    name = "mysql-migrate"
    old = stored(lab, name)
    argv = [sys.executable, "-m", "cli.main", "secrets", "rotate", name, "--yes", "--estate", str(lab.source)]
    with traffic(lab, tmp_path):
        with subprocess.Popen(
            argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as run:
            eventually(lambda: phase_of(lab, name) == "switch", seconds=300, every=0.1)
            os.killpg(run.pid, signal.SIGKILL)
        assert Material(lab.estate, lab.paths).store.accepted(name)[1:] == [old], (
            "the old one is accepted until it is retired"
        )
        done = rotate(lab, name)
    assert [r["resumed"] for r in done] == [True]
    assert [p["name"] for p in done[0]["phases"]] == ["switch", "retire"]
    assert phase_of(lab, name) is None
    assert_database_refuses(lab, "yiyun_migrate", old)


if FULL:  # a new authority is three runs over every host

    def test_a_new_authority_is_trusted_beside_the_old_one_first(lab: Lab, tmp_path: Path) -> None:
        old_leaf = unpack(stored(lab, "leaf:edge-1/collector"))
        done = rotate(lab, "certificate-authority")
        assert done[0]["status"] == "waiting"
        with traffic(lab, tmp_path) as load:
            rotate(lab, "certificate-authority", "--now", seconds=1500)
            assert load.failures == []
        assert_line_door_refuses(lab, old_leaf)


def test_afterwards_nothing_is_left_to_change(lab: Lab) -> None:
    assert lab.yiyun("preview").json["changes"] == []
    again = lab.yiyun("up", "--yes", seconds=2400)
    assert again.code == 0, again.json
    assert [step for step in again.json["steps"] if step["changed"]] == []
    assert checked(lab, ("edge-1",)) == set(), "what a rotation leaves is what its roles would leave"


def test_the_recovery_key_makes_a_state_usable_again(lab: Lab, tmp_path: Path) -> None:
    passphrase, kept = tmp_path / "passphrase", tmp_path / "recovery.age"
    passphrase.write_text("sixteen letters or more\n", encoding="utf-8")
    assert lab.yiyun("secrets", "export-recovery", str(kept), "--passphrase-file", str(passphrase)).code == 0
    assert kept.stat().st_mode & 0o077 == 0
    moved = lab.paths.secrets_key.rename(tmp_path / "away")
    try:
        assert lab.yiyun("secrets", "list").code == 1
        wrong = tmp_path / "wrong"
        wrong.write_text("another one of sixteen\n", encoding="utf-8")
        assert lab.yiyun("secrets", "import-recovery", str(kept), "--passphrase-file", str(wrong)).code == 4
        answer = lab.yiyun("secrets", "import-recovery", str(kept), "--passphrase-file", str(passphrase))
        assert answer.code == 0, answer.json
        assert lab.yiyun("secrets", "list").code == 0
    finally:
        if not lab.paths.secrets_key.exists():
            moved.rename(lab.paths.secrets_key)
    assert lab.yiyun("secrets", "import-recovery", str(kept), "--passphrase-file", str(passphrase)).code == 3


def signed_in_with(lab: Lab, cookies: httpx.Cookies) -> bool:
    context = ssl.create_default_context(cadata=Material(lab.estate, lab.paths).trusted())
    with httpx.Client(base_url=lab.page, verify=context, cookies=cookies, timeout=20) as platform:
        return platform.get("/").status_code == httpx.codes.OK


def assert_database_refuses(lab: Lab, user: str, password: str) -> None:
    """The writer refuses a password, asked from an app host as the platform would."""
    program = (
        "import sys, pymysql, ssl; c = ssl.create_default_context(cafile='/etc/yiyun/tls/ca.crt');"
        " c.check_hostname = False; pymysql.connect(host='127.0.0.1', user=sys.argv[1],"
        " password=sys.stdin.readline().strip(), ssl=c)"
    )
    argv = ["/opt/yiyun-app/current/venv/bin/python", "-c", program, user]
    answer = run_on(lab.paths, "app-1", argv, stdin=password + "\n")
    assert answer.returncode != 0
    assert "Access denied" in answer.stderr, answer.stderr


def serial(pair: Pair) -> int:
    return pair.x509.serial_number


def serial_at(port: int) -> int:

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain) as secure:
        found = secure.getpeercert(binary_form=True)
    assert found
    return x509.load_der_x509_certificate(found).serial_number


def assert_host_serves(lab: Lab, host: str, service: str) -> None:
    """The leaf a host's door shows is the one the store holds."""
    text = "echo | openssl s_client -connect $(hostname):443 2>/dev/null | openssl x509 -noout -serial"
    shown = run_on(lab.paths, host, ["sh", "-c", text]).stdout.strip().partition("=")[2]
    assert int(shown, 16) == serial(unpack(stored(lab, f"leaf:{host}/{service}")))


def assert_old_pin_is_refused(lab: Lab, host: str, pins: str, folder: Path) -> None:
    """Whoever pinned the old host key is warned: the host no longer has it."""
    file = folder / "old_known_hosts"
    file.write_text(pins, encoding="utf-8")
    argv = ssh_argv(lab.paths, host, ["true"])
    options = ["-o", f"UserKnownHostsFile={file}", "-o", "ControlPath=none", "-o", "LogLevel=INFO"]
    done = subprocess.run(
        [argv[0], *options, *argv[1:]], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert "host key" in done.stderr.lower()


def assert_old_operator_key_is_refused(lab: Lab, key: bytes, folder: Path) -> None:
    file = folder / "old_key"
    file.touch(mode=0o600)
    file.write_bytes(key)
    config = lab.paths.ssh_config.read_text(encoding="utf-8").replace(str(lab.paths.ssh_key), str(file))
    (folder / "config").write_text(config, encoding="utf-8")
    argv = ["ssh", "-F", str(folder / "config"), "-o", "ControlPath=none", "ops-1", "--", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert "Permission denied" in done.stderr


def assert_field_key_is_alone(lab: Lab) -> None:
    ring = lab.on("app-1", "cat", "/etc/yiyun-app/secrets/app-field-key").split()
    assert ring == [stored(lab, "app-field-key")]


def assert_line_door_refuses(lab: Lab, leaf: Pair) -> None:
    """The line's door answers 400 to a client certificate of the old authority."""
    script = (
        "umask 077; d=$(mktemp -d); cat > $d/p; curl -s -o /dev/null -w '%{http_code}'"
        " --cacert /etc/yiyun/tls/ca.crt --cert $d/p -X POST"
        " https://app-1.$(hostname -d):8444/ingest/v1/results; rm -r $d"
    )
    answer = run_on(lab.paths, "edge-1", ["sh", "-c", script], stdin=leaf.certificate + leaf.key)
    assert answer.stdout == "400", answer.stdout + answer.stderr
