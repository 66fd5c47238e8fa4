"""Runs on a host beside `gather`: facts about its hardening. Standard library only; changes nothing."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

SYSCTL = Path("/etc/sysctl.d/50-yiyun-hardening.conf")
PROGRAMS = ("/usr", "/opt", "/srv", "/home", "/var", "/etc")
TEXTS = (
    "/etc/profile.d/50-yiyun.sh",
    "/etc/pam.d/common-auth",
    "/etc/pam.d/common-account",
    "/etc/security/faillock.conf",
    "/etc/security/limits.d/50-yiyun.conf",
    "/etc/audit/rules.d/50-yiyun.rules",
)

STRICT = (
    *("systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--property=ProtectSystem=strict"),
    *("sh", "-c", "findmnt --noheadings --output OPTIONS --target /usr | grep -q '^ro' && echo strict"),
)
"""Asks systemd for a box and looks from inside whether it is one."""


def hardening() -> dict[str, Any]:
    """All of it."""
    return {
        "texts": {path: read(Path(path)) for path in TEXTS},
        "sudo": "\n".join(
            read(p) or "" for p in [Path("/etc/sudoers"), *sorted(Path("/etc/sudoers.d").glob("*"))]
        ),
        "accounts": accounts(),
        "privileged": privileged(),
        "core_limit": said("systemctl", "show", "--property=DefaultLimitCORE", "--value").strip(),
        "journald": journald(),
        "rotations": rotations(),
        "packages": said("dpkg-query", "--show", "--showformat=${Package}\\n").split(),
        "apt": said("apt-config", "dump").splitlines(),
        "sysctl": settings(),
        "sandboxes": sandboxes(),
        "sandbox_in_force": said(*STRICT).strip(),
        "auditd": auditd(),
    }


def said(*argv: str) -> str:
    """What a command printed, or why it could not."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)


def read(path: Path) -> str | None:
    """A file's text, or None when there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def accounts() -> dict[str, int]:
    """Account → its number."""
    lines = (read(Path("/etc/passwd")) or "").splitlines()
    return {part[0]: int(part[2]) for line in lines if len(part := line.split(":")) > 2}


def privileged() -> list[str]:
    """Programs that run with another's rights, wherever a user other than root could start them."""
    roots = [path for path in PROGRAMS if Path(path).is_dir()]
    return sorted(said("find", *roots, "-xdev", "-type", "f", "-perm", "/6000").split())


def journald() -> dict[str, str]:
    """Settings of the journal, the last word of each."""
    text = said("systemd-analyze", "cat-config", "systemd/journald.conf")
    return dict(re.findall(r"^(\w+)=(.+)$", text, re.MULTILINE))


def rotations() -> dict[str, int]:
    """Log → how many daily files of it are kept."""
    found: dict[str, int] = {}
    for path in (Path("/etc/logrotate.d/nginx"), Path("/etc/logrotate.d/yiyun")):
        kept = re.search(r"^\s*rotate\s+(\d+)", read(path) or "", re.MULTILINE)
        if kept:
            found[str(path)] = int(kept.group(1))
    return found


def settings() -> dict[str, tuple[str, str]]:
    """Kernel setting → (as the host's file wants it, as it is)."""
    wanted = re.findall(r"^([a-z][\w.]+) = (\S+)$", read(SYSCTL) or "", re.MULTILINE)
    return {
        key: (value, (read(Path("/proc/sys") / key.replace(".", "/")) or "?").strip())
        for key, value in wanted
    }


def auditd() -> dict[str, str]:
    """State of the audit's unit."""
    lines = said("systemctl", "show", "--property=ActiveState,UnitFileState", "auditd").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def sandboxes() -> dict[str, float]:
    """Unit of ours → its exposure by `systemd-analyze security`, 0 (none) to 10 (all)."""
    found = re.findall(
        r"^(\S+)\.service\s+([\d.]+)\s", said("systemd-analyze", "security", "--no-pager"), re.MULTILINE
    )
    return {name: float(score) for name, score in found}
