"""Runs on a host, sent over SSH: prints what the host is made of as one JSON object. Changes nothing.

Standard library only (Debian 13's Python), nothing is installed. Argument: a JSON object with `udp`, the
declared UDP ports, and `kernel`, the kernel settings to read. What it reads, and what it leaves out, is
decided in docs/decisions/0010. Contents leave the host as SHA-256 only.
"""

from __future__ import annotations

import fnmatch
import grp
import hashlib
import json
import os
import pwd
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

Entry = dict[str, str]
Entries = dict[str, Entry]

ROOTS = ("/etc", "/usr/local", "/var/spool/cron", "/run/systemd/system", "/run/systemd/system.control")
"""Folders of which every file is looked at: configuration, our programs, timed jobs, units made by hand."""
LEFT_OUT = (
    # read as users and groups, property by property
    *("/etc/passwd*", "/etc/shadow*", "/etc/group*", "/etc/gshadow*", "/etc/subuid*", "/etc/subgid*"),
    # written by the system as it runs
    *("/etc/.pwd.lock", "/etc/.updated", "/etc/mtab", "/etc/ld.so.cache", "/etc/adjtime", "/etc/resolv.conf"),
    "/etc/audit/audit.rules",  # made at boot from rules.d, which is looked at
    *("/etc/ssl/certs/*", "/etc/alternatives/*", "/etc/rc?.d/*", "/usr/local/share/man/*", "*/__pycache__"),
    *("*/__pycache__/*", "*.pyc"),
    # what `systemctl enable` and `mask` make is read as the units' state
    *("/etc/systemd/system/*.wants", "/etc/systemd/system/*.wants/*", "/etc/systemd/system/*.requires"),
    *("/etc/systemd/system/*.requires/*", "/run/systemd/system/*.wants", "/run/systemd/system/*.wants/*"),
)
PROGRAMS = ("/opt/*/current", "/usr/local/bin/*")
"""Links that say which release runs."""
UNIT_TYPES = (".service", ".socket", ".timer", ".path")
BY_DEMAND = ("user@*", "user-runtime-dir@*", "systemd-hostnamed*", "systemd-timedated*", "systemd-localed*")
"""Units that come and go as people log in or ask."""
EPHEMERAL = range(32768, 61000)
"""Linux's range of ports a program gets when it asks for any."""


def main() -> None:
    """Collect and print."""
    question: dict[str, Any] = json.loads(sys.argv[1])
    state: dict[str, Entries] = {
        "File": files(),
        "Package": packages(),
        "Unit": units(),
        "Listener": listeners(set(question["udp"])),
        "User": users(),
        "Group": groups(),
        "KernelSetting": kernel(question["kernel"]),
        "Firewall": firewall(),
    }
    sys.stdout.write(json.dumps(state))


def files() -> Entries:
    """Every file, folder and link below the roots, the releases in use, and who may log in by key."""
    found: Entries = {}
    left_out = re.compile("|".join(fnmatch.translate(pattern) for pattern in LEFT_OUT))
    waiting = [root for root in ROOTS if Path(root).exists()]
    waiting += [str(Path(home) / ".ssh") for home in sorted({u.pw_dir for u in pwd.getpwall()})]
    waiting += [str(p) for pattern in PROGRAMS for p in Path("/").glob(pattern.lstrip("/"))]
    while waiting:
        path = waiting.pop()
        entry = None if left_out.match(path) or path in found else about(path)
        if entry is None or is_mask(path, entry):
            continue
        found[path] = entry
        if entry["kind"] == "folder":
            waiting += [item.path for item in os.scandir(path)]
    return found


def about(path: str) -> Entry | None:
    """Kind, owner, mode and content (as SHA-256, or a link's target) of a path; None when it is gone."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return {"kind": "link", "target": os.readlink(path)}  # noqa: PTH115  ten thousands a second
        entry = {
            "owner": user_name(status.st_uid),
            "group": group_name(status.st_gid),
            "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        }
        if stat.S_ISDIR(status.st_mode):
            return {"kind": "folder", **entry}
        if not stat.S_ISREG(status.st_mode):
            return {"kind": "special", **entry}
        with open(path, "rb") as stream:  # noqa: PTH123
            return {"kind": "file", **entry, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
    except OSError:
        return None


def is_mask(path: str, entry: Entry) -> bool:
    """True for the link that masks a unit, and the alias that enabling makes: units tell of both."""
    return entry["kind"] == "link" and path.startswith(("/etc/systemd/system/", "/run/systemd/system/"))


def user_name(number: int) -> str:
    """Name of a user, or the number when it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group_name(number: int) -> str:
    """Name of a group, or the number when it has none."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def packages() -> Entries:
    """Installed packages with their versions, from dpkg's own file."""
    found: Entries = {}
    text = Path("/var/lib/dpkg/status").read_text(encoding="utf-8")
    for block in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", block, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            found[fields["Package"]] = {"version": fields["Version"]}
    return found


def units() -> Entries:
    """Units of systemd: `enabled` (also masked, static …) and whether they are active."""
    found: Entries = {}
    for unit in json.loads(run(["systemctl", "list-unit-files", "--output=json", "--no-pager"]) or "[]"):
        if wanted_unit(unit["unit_file"]):
            found[unit["unit_file"]] = {"enabled": unit["state"], "active": "inactive"}
    for unit in json.loads(run(["systemctl", "list-units", "--all", "--output=json", "--no-pager"]) or "[]"):
        name, active = unit["unit"], unit["active"]
        if wanted_unit(name) and (name in found or active in {"active", "failed"}):
            found.setdefault(name, {"enabled": instance_state(name, found)})["active"] = active
    return found


def wanted_unit(name: str) -> bool:
    """Whether a unit is of a kind that is declared, and not one that comes and goes by itself."""
    return name.endswith(UNIT_TYPES) and not any(fnmatch.fnmatch(name, p) for p in BY_DEMAND)


def instance_state(name: str, found: Entries) -> str:
    """Whether an instance of a template starts at boot; `transient` when no file tells of the unit."""
    template = re.sub(r"@.*\.", "@.", name) if "@" in name else ""
    if template not in found:
        return "generated" if any(Path("/run/systemd/generator").glob(name)) else "transient"
    wants = Path("/etc/systemd/system").glob(f"*.wants/{name}")
    return "enabled" if any(wants) else "instance"


def listeners(declared_udp: set[int]) -> Entries:
    """Sockets that wait for callers, with the unit whose process holds them."""
    found: Entries = {}
    for line in run(["ss", "-Hlntup"]).splitlines():
        part = line.split()
        if len(part) < 5 or part[0] not in {"tcp", "udp"}:
            continue
        address, _, port = part[4].rpartition(":")
        if part[0] == "udp" and int(port) in EPHEMERAL and int(port) not in declared_udp:
            continue
        holder = re.search(r"pid=(\d+)", line)
        key = f"{part[0]} {re.sub('%[^]]*', '', address)}:{port}"
        found[key] = {"unit": unit_of(holder.group(1)) if holder else "kernel"}
    return found


def unit_of(pid: str) -> str:
    """The unit a process belongs to; `session` for what a person started from a shell."""
    try:
        text = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")
        parent = Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return "gone"
    names = re.findall(r"[^/\s]+\.service", text)
    if not names:
        return "session"
    # Without pam_systemd a shell's processes stay in the unit of the SSH server.
    if names[-1] == "ssh.service" and not parent.startswith("sshd"):
        return "session"
    return names[-1]


def users() -> Entries:
    """Accounts with everything but the secret, which shows only whether it is the same."""
    secrets = dict(
        line.split(":")[:2] for line in Path("/etc/shadow").read_text(encoding="utf-8").splitlines() if line
    )
    return {
        u.pw_name: {
            "uid": str(u.pw_uid),
            "group": group_name(u.pw_gid),
            "home": u.pw_dir,
            "shell": u.pw_shell,
            "password": password_state(secrets.get(u.pw_name, "")),
        }
        for u in pwd.getpwall()
    }


def password_state(secret: str) -> str:
    """`locked`, `empty`, or a short hash by which a change is seen."""
    if secret[:1] in {"!", "*"}:
        return "locked"
    return f"set {hashlib.sha256(secret.encode()).hexdigest()[:12]}" if secret else "empty"


def groups() -> Entries:
    """Groups with their members."""
    return {g.gr_name: {"gid": str(g.gr_gid), "members": " ".join(sorted(g.gr_mem))} for g in grp.getgrall()}


def kernel(names: list[str]) -> Entries:
    """Kernel settings: the ones asked for, and those any file of sysctl names."""
    wanted = set(names)
    for folder in ("/etc/sysctl.d", "/run/sysctl.d"):
        for path in Path(folder).glob("*.conf"):
            text = path.read_text(encoding="utf-8", errors="replace")
            wanted |= set(re.findall(r"^\s*-?([a-z0-9_.]+)\s*=", text, re.MULTILINE))
    found: Entries = {}
    for name in sorted(wanted):
        try:
            value = Path("/proc/sys", *name.split(".")).read_text(encoding="utf-8")
        except OSError:
            continue
        found[name] = {"value": " ".join(value.split())}
    return found


def firewall() -> Entries:
    """Tables of the host's own firewall, each as a hash of its rules without counters and set elements."""
    text = run(["nft", "--stateless", "--terse", "list", "ruleset"])
    tables = re.findall(r"^table (\S+ \S+) (\{.*?^\})", text, re.MULTILINE | re.DOTALL)
    return {name: {"sha256": hashlib.sha256(body.encode()).hexdigest()} for name, body in tables}


def run(argv: list[str]) -> str:
    """Output of a command, empty when it cannot be run."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


if __name__ == "__main__":
    main()
