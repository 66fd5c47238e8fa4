"""Runs on a host: prints what the suites judge as one JSON object. Standard library only; changes nothing.

Argument: a JSON object with `units`, `files`, `doors` (TLS: name, address, port, path, server_name,
certificate, and `own`: whether it is this host's), `tls` (name, address, port, `speaks`, `certificate`),
`outside` ([address, port] that must not be reached) and `commands` (name → argv).
"""

from __future__ import annotations

import grp
import json
import pwd
import re
import socket
import ssl
import stat
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any

from infra.verify.suites.gather_host import hardening
from infra.verify.suites.gather_tls import accepted

TLS = Path("/etc/yiyun/tls")
SECONDS = 3


def main() -> None:
    """Collect and print."""
    question = json.loads(sys.argv[1])
    facts = {
        "now": time.time(),
        "units": {name: unit(name) for name in question["units"]},
        "failed_units": first_words(FAILED),
        "waiting_for_boot": waiting_for_boot(),
        "listeners": listeners(),
        "files": {path: about(Path(path)) for path in question["files"]},
        "keys": [{"path": str(p), **(about(p) or {})} for p in sorted(TLS.glob("*.key"))],
        "mounts": mounts(),
        "package_sources": package_sources(),
        "passwords": accounts_with_password(),
        "sshd": sshd(),
        "doors": {door["name"]: knock(door) for door in question["doors"]},
        "weak_tls": {door["name"]: accepted(door) for door in question["tls"]},
        "outside": {f"{a}:{p}": reaches(a, p) for a, p in question["outside"]},
        **hardening(),
        "commands": {name: run(argv) for name, argv in question["commands"].items()},
    }
    sys.stdout.write(json.dumps(facts))


ENABLED = ["systemctl", "list-unit-files", "--state=enabled", "--plain", "--no-legend", "--no-pager"]
FAILED = ["systemctl", "--failed", "--plain", "--no-legend", "--no-pager"]


def run(argv: list[str]) -> dict[str, Any]:
    """Exit code and output of a command; 127 when it cannot be run."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=4 * SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"code": 127, "out": "", "err": str(error)}
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr[-2000:]}


def first_words(argv: list[str]) -> list[str]:
    """The first word of each line a command prints."""
    return [words[0] for line in run(argv)["out"].splitlines() if (words := line.split())]


def properties(text: str) -> dict[str, str]:
    """One unit's properties as `systemctl show` prints them."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def waiting_for_boot() -> list[str]:
    """Units that a boot would start and nobody has: enabled, not running, never tried since it started."""
    names = [name for name in first_words(ENABLED) if "@." not in name]
    if not names:  # asked of nobody, systemctl tells of itself
        return []
    wanted = "--property=Id,ActiveState,ConditionTimestampMonotonic"
    blocks = run(["systemctl", "show", wanted, "--", *names])["out"].split("\n\n")
    shown = [properties(block) for block in blocks]
    return sorted(
        u["Id"]
        for u in shown
        if u.get("ActiveState") == "inactive" and u["ConditionTimestampMonotonic"] == "0"
    )


def unit(name: str) -> dict[str, str]:
    """State of a systemd unit."""
    wanted = "ActiveState,SubState,UnitFileState,NRestarts,LoadState"
    return properties(run(["systemctl", "show", "--property", wanted, name])["out"])


def listeners() -> list[dict[str, Any]]:
    """Sockets that wait for callers: protocol, address, port, process."""
    found: list[dict[str, Any]] = []
    for line in run(["ss", "-Hlntup"])["out"].splitlines():
        part = line.split()
        if len(part) < 5 or part[0] not in {"tcp", "udp"}:
            continue
        address, _, port = part[4].rpartition(":")
        process = re.search(r'"([^"]+)"', line)
        bare = address.strip("[]").partition("%")[0]
        found.append(
            {
                "protocol": part[0],
                "address": bare,
                "port": int(port),
                "process": process.group(1) if process else "",
            }
        )
    return found


def about(path: Path) -> dict[str, Any] | None:
    """Mode, owner and kind of a file, or None when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return {
        "mode": stat.S_IMODE(found.st_mode),
        "owner": name_of(pwd.getpwuid, found.st_uid),
        "group": name_of(grp.getgrgid, found.st_gid),
        "directory": stat.S_ISDIR(found.st_mode),
        "device": found.st_dev,
    }


def name_of(lookup: Any, number: int) -> str:
    """Name of a user or group, or its number when it has none."""
    try:
        return str(lookup(number)[0])
    except KeyError:
        return str(number)


def mounts() -> dict[str, dict[str, str]]:
    """Mount point → source and file system."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    parts = [line.split() for line in lines]
    return {p[1]: {"source": p[0], "type": p[2], "options": p[3]} for p in parts}


def package_sources() -> list[str]:
    """Every place apt would fetch from."""
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    found: list[str] = []
    for path in files:
        if path.is_file() and path.suffix in {".list", ".sources"}:
            text = "\n".join(
                line
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
                if not line.startswith("#")
            )
            found += re.findall(r"\b(?:https?|file|copy|mirror\+\w+):/\S+", text)
    return sorted(set(found))


def accounts_with_password() -> list[str]:
    """Local accounts that could log in by a password, or without any."""
    lines = Path("/etc/shadow").read_text(encoding="utf-8").splitlines()
    return [name for name, secret in (line.split(":")[:2] for line in lines) if secret[:1] not in {"!", "*"}]


def sshd() -> dict[str, str]:
    """Effective settings of the SSH server. One printed line by line has all its values."""
    found: dict[str, str] = {}
    for line in run(["/usr/sbin/sshd", "-T"])["out"].splitlines():
        name, space, value = line.partition(" ")
        if space:
            found[name] = f"{found[name]} {value}" if name in found else value
    return found


def context_for(door: dict[str, Any]) -> ssl.SSLContext:
    """The estate's authority, and a certificate of our own if the door names one."""
    context = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
    if door.get("certificate"):
        name = door["certificate"]
        context.load_cert_chain(str(TLS / f"{name}.crt"), str(TLS / f"{name}.key"))
    return context


def knock(door: dict[str, Any]) -> dict[str, Any]:
    """A TLS handshake with full verification and one GET request."""
    answer: dict[str, Any] = {"error": "", "status": 0, "version": "", "not_after": 0.0, "issuer": ""}
    try:
        context = context_for(door)
        with (
            socket.create_connection((door["address"], door["port"]), SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=door["server_name"]) as secure,
        ):
            leaf = secure.getpeercert() or {}
            answer["version"] = secure.version()
            answer["not_after"] = ssl.cert_time_to_seconds(str(leaf["notAfter"]))
            answer["issuer"] = json.dumps(leaf.get("issuer"))
            path = urllib.parse.quote(door["path"])
            request = f"GET {path} HTTP/1.1\r\nHost: {door['server_name']}\r\nConnection: close\r\n\r\n"
            secure.sendall(request.encode())
            head = secure.recv(65536).decode(errors="replace")
            words = head.partition("\r\n")[0].split()
            answer["status"] = int(words[1]) if len(words) > 1 else 0
            answer["head"] = head.partition("\r\n\r\n")[0]
    except (OSError, ValueError, KeyError) as error:
        answer["error"] = f"{type(error).__name__}: {error}"
    return answer


def reaches(address: str, port: int) -> str:
    """`connected`, `refused` (a packet came back, so the way is open) or `nothing`."""
    try:
        socket.create_connection((address, port), 0.7).close()
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "nothing"
    return "connected"


if __name__ == "__main__":
    main()
