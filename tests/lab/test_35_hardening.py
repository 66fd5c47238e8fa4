"""Faults planted on several hosts at once: `verify` names exactly those, and the next run mends them."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from infra.drivers.lab.hosts import run_in_host
from infra.verify.probe import probe
from infra.verify.suites_runner import run_suites
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.verify.results import SuiteResult
    from tests.lab.harness import Lab

pytestmark = pytest.mark.lab

SUITES = ("hardening", "host-firewall")
LOOSE = "/run/systemd/system/yiyun-mysql-health.service.d"
UNBOXED = "\\n".join(
    ["User=root", "CapabilityBoundingSet=~", "RestrictNamespaces=no", "RestrictSUIDSGID=no", "UMask=0022"]
    + [f"{name}=no" for name in ("ProtectSystem", "ProtectHome", "PrivateTmp", "NoNewPrivileges")]
)
RELOAD = "systemctl daemon-reload"
FAULTS: dict[str, tuple[str, str, str]] = {
    "ora-1": (
        "ssh takes a key and nothing else (8.1.4.1 身份鉴别)",
        "echo 'PasswordAuthentication yes' > /etc/ssh/sshd_config.d/00-planted.conf",
        "rm /etc/ssh/sshd_config.d/00-planted.conf",
    ),
    "ora-2": (
        "no program but the named ones runs with anothers rights (8.1.4.2 访问控制)",
        "cp /usr/bin/id /usr/local/bin/planted && chmod 4755 /usr/local/bin/planted",
        "rm /usr/local/bin/planted",
    ),
    "db-3": (
        "audit rules cover identity rights administration clock and yiyun (8.1.4.3 安全审计)",
        "cd /etc/audit/rules.d && cp -a 50-yiyun.rules /root/ && sed -i /shadow/d 50-yiyun.rules",
        "mv /root/50-yiyun.rules /etc/audit/rules.d/",
    ),
    "db-2": (
        "our services are boxed in (8.1.4.4 入侵防范)",
        f"mkdir -p {LOOSE}; printf '[Service]\\n{UNBOXED}\\n' > {LOOSE}/x.conf; {RELOAD}",
        f"rm -r {LOOSE}; {RELOAD}",
    ),
    "ops-1": (
        "network settings of the kernel (8.1.4.4 入侵防范)",
        "sysctl -qw net.ipv4.conf.all.accept_redirects=1",
        "sysctl -qw net.ipv4.conf.all.accept_redirects=0",
    ),
    "app-1": (
        "the journal survives a boot and is kept for six months (8.1.4.3 安全审计)",
        "sed -i 's/rotate 190/rotate 14/' /etc/logrotate.d/nginx",
        "sed -i 's/rotate 14/rotate 190/' /etc/logrotate.d/nginx",
    ),
}
"""Host → the check that must fail there (without suite and standard), what to do, and how to undo it."""


def checked(lab: Lab) -> SuiteResult:
    return run_suites(lab.estate, lab.paths, SUITES)


@contextmanager
def planted(lab: Lab, host: str, fault: str, undo: str) -> Iterator[None]:
    assert run_in_host(lab.paths, host, ["sh", "-c", fault]).returncode == 0
    try:
        yield
    finally:
        run_in_host(lab.paths, host, ["sh", "-c", undo])


def test_a_fresh_estate_is_hardened_and_says_what_its_kernel_cannot(lab: Lab) -> None:
    found = checked(lab)
    assert found.failures == ()
    reasons = {skip.check.partition(":")[2].partition(" (")[0].strip() for skip in found.skips}
    assert reasons <= {
        "audit runs",
        "other settings of the kernel",
        "temporary files are not run",
        "the boxes are in force",
    }
    assert all("not" in skip.message for skip in found.skips)
    assert len(found.clauses) >= 6


def test_planted_faults_are_named_exactly(lab: Lab) -> None:
    with ExitStack() as stack:
        for host, (_, fault, undo) in FAULTS.items():
            stack.enter_context(planted(lab, host, fault, undo))
        found = checked(lab)
    assert {(f.host, f.check) for f in found.failures} == {
        (host, f"hardening: {check.replace('(', '(GB/T 22239-2019 ')}")
        for host, (check, _, _) in FAULTS.items()
    }
    assert checked(lab).failures == ()


def test_a_removed_wall_is_seen_by_suite_and_probe_and_put_up_again(lab: Lab) -> None:
    remove = ["nft", "delete", "table", "inet", "yiyun_wall"]
    assert run_in_host(lab.paths, "ora-1", remove).returncode == 0
    seen = {(f.host, f.check.partition(" (")[0]) for f in checked(lab).failures}
    assert ("ora-1", "host-firewall: the kernel has the confirmed rules and boot brings them back") in seen
    assert {host for host, _ in seen} == {"ora-1"}
    found = probe(lab.estate, lab.paths, only=lambda c: c.destination == "ora-1" and c.source == "ora-2")
    assert found.unexpected_open == ()
    assert {d.destination for d in found.unexpected_let_in} == {"ora-1"}
    assert len(found.unexpected_let_in) == found.walls
    mended = lab.yiyun("up", "--only", "foundation", "--yes")
    assert mended.code == 0, mended.json
    assert mended.json["changed"] >= 1
    assert ("ora-1", "load table inet yiyun_wall") in {(m["host"], m["what"]) for m in mended.json["mended"]}
    assert checked(lab).failures == ()


def test_rules_that_lock_everybody_out_are_taken_back_by_themselves(lab: Lab) -> None:
    def on_ora(script: str) -> str:
        done = run_in_host(lab.paths, "ora-2", ["sh", "-c", script])
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    shut = r"cp -a /etc/yiyun/wall.nft /root/wall.nft; sed -i '/dport 22 /d' /etc/yiyun/wall.nft"
    on_ora(shut)
    try:
        word = on_ora("/usr/local/lib/yiyun/host_wall.py apply --seconds 3")
        assert re.fullmatch(r"[0-9a-f]{16}", word)
        assert "dport 22 " not in on_ora("nft list table inet yiyun_wall")
        eventually(lambda: "dport 22 " in on_ora("nft list table inet yiyun_wall"), seconds=15)
    finally:
        on_ora("mv /root/wall.nft /etc/yiyun/wall.nft")
    assert lab.on("ora-2", "/usr/local/lib/yiyun/host_wall.py", "status") == ""


def test_the_bastion_passes_on_to_ssh_servers_only(lab: Lab) -> None:
    import subprocess

    from infra.estate.addresses import host_addresses
    from infra.reach import ssh_argv

    database = host_addresses(lab.estate)["db-1"]
    for target, expected in ((f"{database}:22", 0), (f"{database}:3306", 255)):
        program, *rest = ssh_argv(lab.paths, "ops-1")
        argv = [program, *rest[:-1], "-o", "LogLevel=VERBOSE", "-W", target, rest[-1]]
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30
        )
        assert (done.returncode == 255) is (expected == 255), (target, done.stderr)
        assert ("administratively prohibited" in done.stderr) is (expected == 255), done.stderr
