"""What a host offers, records and refuses; each check names its control point of GB/T 22239-2019."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("hardening")
identity = pytest.mark.clause("8.1.4.1 身份鉴别")
access = pytest.mark.clause("8.1.4.2 访问控制")
audit = pytest.mark.clause("8.1.4.3 安全审计")
intrusion = pytest.mark.clause("8.1.4.4 入侵防范")

WEAK = re.compile(r"sha1|md5|cbc|3des|arcfour|umac-64|diffie-hellman-group1-|dss|ecdh-sha2-nistp")
SETUID_KEPT = {
    "/usr/bin/sudo",
    "/usr/bin/passwd",
    "/usr/sbin/unix_chkpwd",
    "/usr/bin/fusermount3",
    "/usr/lib/dbus-1.0/dbus-daemon-launch-helper",
}
UNWANTED = {
    "telnet",
    "telnetd",
    "inetutils-telnetd",
    "rsh-client",
    "rsh-server",
    "nis",
    "tftpd",
    "xinetd",
    "ftpd",
}
LOG_DAYS = 183
"""Six months, as article 21 of the Cybersecurity Law wants; what is configured may be more."""


def shared_kernel(on: Machine) -> bool:
    return on.estate.provider == "lab"


def text(on: Machine, path: str) -> str:
    """A file that was gathered; fails the check when it is not there."""
    found = on.facts["texts"].get(path)
    assert found is not None, f"{path} is missing"
    return str(found)


@identity
def test_ssh_takes_a_key_and_nothing_else(on: Machine) -> None:
    settings = on.facts["sshd"]
    assert settings["authenticationmethods"] == "publickey"
    assert settings["passwordauthentication"] == "no"
    assert settings["hostbasedauthentication"] == "no"
    assert settings["permitemptypasswords"] == "no"
    assert settings["permitrootlogin"] in {"no", "without-password", "prohibit-password"}


@identity
def test_tries_are_counted_and_idle_sessions_end(on: Machine) -> None:
    settings = on.facts["sshd"]
    assert int(settings["maxauthtries"]) <= 3
    assert int(settings["logingracetime"]) <= 60
    assert int(settings["clientaliveinterval"]) * int(settings["clientalivecountmax"]) <= 300
    assert "session=" in settings["channeltimeout"]
    assert "TMOUT=" in text(on, "/etc/profile.d/50-yiyun.sh")
    assert "pam_faillock.so" in text(on, "/etc/pam.d/common-auth")
    assert "pam_faillock.so" in text(on, "/etc/pam.d/common-account")
    assert re.search(r"^deny = [1-5]$", text(on, "/etc/security/faillock.conf"), re.MULTILINE)


@identity
def test_ssh_speaks_modern_algorithms_only(on: Machine) -> None:
    settings = on.facts["sshd"]
    for name in ("kexalgorithms", "ciphers", "macs", "hostkeyalgorithms", "pubkeyacceptedalgorithms"):
        weak = [x for x in settings[name].split(",") if WEAK.search(x)]
        assert not weak, f"{name}: {weak}"


@access
def test_ssh_forwards_nothing_but_a_bastions_jumps(on: Machine) -> None:
    settings = on.facts["sshd"]
    assert settings["allowagentforwarding"] == "no"
    assert settings["x11forwarding"] == "no"
    assert settings["permittunnel"] == "no"
    assert settings["gatewayports"] == "no"
    bastion = bool({"ops", "edge"} & set(on.declared.roles))
    assert settings["allowtcpforwarding"] == ("local" if bastion else "no")
    if bastion:
        targets = settings["permitopen"].split()
        assert targets
        assert "any" not in targets, "the bastion forwards to anywhere"


@access
def test_only_named_users_sign_in_and_nobody_becomes_root_without_a_word(on: Machine) -> None:
    named = set(on.declared.sign_in_users)
    assert set(on.facts["sshd"]["allowusers"].split()) == named
    rules = on.facts["sudo"]
    assert "use_pty" in rules
    assert "logfile=" in rules
    granted = [line.split() for line in rules.splitlines() if "NOPASSWD" in line]
    unasked = [words for words in granted if not words[0].startswith("#") and words[0] not in named]
    assert not unasked, unasked
    assert [name for name, uid in on.facts["accounts"].items() if uid == 0] == ["root"]


@access
def test_no_program_but_the_named_ones_runs_with_anothers_rights(on: Machine) -> None:
    stray = sorted(set(on.facts["privileged"]) - SETUID_KEPT)
    assert not stray, f"set-user-id or set-group-id: {stray}"


@access
def test_peoples_files_are_private_and_no_core_is_dumped(on: Machine) -> None:
    assert "umask 027" in text(on, "/etc/profile.d/50-yiyun.sh")
    assert "hard core 0" in text(on, "/etc/security/limits.d/50-yiyun.conf")
    assert on.facts["core_limit"] == "0", f"units may dump {on.facts['core_limit']} bytes of memory"


@pytest.mark.clause("8.1.2.2 通信传输")
def test_no_port_accepts_old_tls_or_a_weak_cipher(on: Machine) -> None:
    weak = {port: found for port, found in on.facts["weak_tls"].items() if found}
    assert not weak, weak


@audit
def test_audit_rules_cover_identity_rights_administration_clock_and_yiyun(on: Machine) -> None:
    rules = text(on, "/etc/audit/rules.d/50-yiyun.rules")
    wanted = {"/etc/passwd", "/etc/shadow", "/etc/sudoers", "/etc/ssh/sshd_config.d", "/etc/yiyun"}
    wanted |= {path for service in on.services for path in service.owned_files}
    missing = [path for path in sorted(wanted) if f"-w {path} -p wa" not in rules]
    assert not missing, f"not watched: {missing}"
    assert "clock_settime" in rules


@audit
def test_audit_runs(on: Machine) -> None:
    unit = on.facts["auditd"]
    if shared_kernel(on):
        assert unit["UnitFileState"] == "disabled", "it would fail at every boot"
        pytest.skip("configured, not running: a shared kernel has one audit, and it is not this host's")
    assert unit["ActiveState"] == "active"
    assert "identity" in on.facts["commands"]["audit-rules"]["out"]


@audit
def test_the_journal_survives_a_boot_and_is_kept_for_six_months(on: Machine) -> None:
    settings = on.facts["journald"]
    assert settings.get("Storage") == "persistent"
    assert int(settings.get("MaxRetentionSec", "0day").removesuffix("day")) >= LOG_DAYS
    rotated = {**on.facts["rotations"]}
    short = {path: count for path, count in rotated.items() if count < LOG_DAYS}
    assert not short, f"rotated away too early: {short}"


@audit
def test_each_sign_in_is_recorded_with_its_key(on: Machine) -> None:
    assert on.facts["sshd"]["loglevel"] == "VERBOSE"


@intrusion
def test_no_old_remote_service_is_installed(on: Machine) -> None:
    found = sorted(UNWANTED & set(on.facts["packages"]))
    assert not found, found


@intrusion
def test_security_updates_come_by_themselves_and_leave_database_and_machine_alone(
    on: Machine,
) -> None:
    settings = on.facts["apt"]
    assert any("Security" in line or "yiyun bundle" in line for line in settings if "Origins-Pattern" in line)
    never = [line for line in settings if "Unattended-Upgrade::Package-Blacklist" in line]
    assert any("mysql-" in line for line in never)
    assert 'Unattended-Upgrade::Automatic-Reboot "false";' in settings
    assert on.facts["units"]["yiyun-updates.timer"]["ActiveState"] == "active"


@intrusion
def test_network_settings_of_the_kernel(on: Machine) -> None:
    wrong = different(on, network=True)
    assert not wrong, wrong


@intrusion
def test_other_settings_of_the_kernel(on: Machine) -> None:
    wrong = different(on, network=False)
    if shared_kernel(on):
        pytest.skip(
            f"written, not settable in a shared kernel; it differs in {len(wrong)}: {', '.join(wrong)}"
        )
    assert not wrong, wrong


@intrusion
def test_temporary_files_are_not_run(on: Machine) -> None:
    wanted = {"nosuid", "nodev", "noexec"}
    lax = {p: sorted(wanted - options(on, p)) for p in ("/tmp", "/dev/shm") if wanted - options(on, p)}  # noqa: S108
    if shared_kernel(on) and lax:
        pytest.skip(f"written, not settable in a container; missing: {lax}")
    assert not lax, lax


def options(on: Machine, path: str) -> set[str]:
    mount: dict[str, Any] | None = on.facts["mounts"].get(path)
    return set(str(mount["options"]).split(",")) if mount else set()


def different(on: Machine, *, network: bool) -> list[str]:
    """Settings that the host's own file wants and the kernel has not."""
    settings = on.facts["sysctl"]
    assert settings, "/etc/sysctl.d/50-yiyun-hardening.conf is missing"
    return [
        f"{key} is {now}, not {wanted}"
        for key, (wanted, now) in settings.items()
        if key.startswith("net.") is network and wanted != now
    ]


MAX_EXPOSURE = {
    "yiyun-app": 2.0,
    "yiyun-gateway": 2.0,
    "yiyun-mysql-health": 2.0,
    "yiyun-mysql-group": 2.0,
    "mysql": 2.0,
    "yiyun-line": 2.5,
    "haproxy": 3.0,
    "yiyun-db-keeper": 2.0,
}
"""Unit of ours → the most that `systemd-analyze security` may say of it: 0 is nothing, 10 is all."""
MAX_EXPOSURE_SHARED = {
    **MAX_EXPOSURE,
    "yiyun-gateway": 6.0,
    "yiyun-mysql-health": 6.0,
    "yiyun-mysql-group": 6.0,
    "mysql": 8.5,
    "haproxy": 8.8,
    "yiyun-db-keeper": 6.0,
}
"""The same in the lab, where units with a user of their own cannot filter system calls."""


@intrusion
def test_our_services_are_boxed_in(on: Machine) -> None:
    most = MAX_EXPOSURE_SHARED if shared_kernel(on) else MAX_EXPOSURE
    ours = {unit for service in on.services for unit in service.units} & set(most)
    seen = on.facts["sandboxes"]
    assert ours <= set(seen), f"not rated: {ours - set(seen)}"
    loose = {unit: seen[unit] for unit in ours if seen[unit] > most[unit]}
    assert not loose, f"more exposed than stated: {loose}"


@intrusion
def test_the_boxes_are_in_force(on: Machine) -> None:
    if "strict" not in on.facts["sandbox_in_force"]:
        assert shared_kernel(on), "systemd passes over ProtectSystem= in silence here"
        pytest.skip("written, not in force: a container without the right to mount passes over it in silence")
