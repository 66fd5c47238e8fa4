"""Runs on a host, sent over SSH: prints what the status screen needs as one JSON object.

Standard library only; nothing is installed and nothing is changed. Argument: a JSON object with
`services`, `units` and `health_port`.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

TLS = Path("/etc/yiyun/tls")
SECONDS = 3


def main() -> None:
    """Collect and print."""
    question = json.loads(sys.argv[1])
    services = set(question["services"])
    facts: dict[str, Any] = {"host": socket.gethostname(), "failed_units": failed_units()}
    facts["certificates"] = certificates(services)
    if "mysql" in services:
        facts["mysql"] = mysql_state(question["health_port"])
    if "db-router" in services:
        facts["db_writer"] = command_json(["yiyun-db-writer"])
    if "platform" in services:
        facts["platform"] = platform()
    if "object-mount" in services:
        facts["attachments"] = mounted("/srv/attachments")
    if "object-copy" in services:
        facts["object_copy"] = command_json(["/usr/local/lib/yiyun/object_copy.py", "--status"])
    told = {
        "line": ("line-peer", "/run/yiyun-line.json"),
        "backup": ("backup", "/var/lib/yiyun-backup/summary.json"),
        "backup_log": ("backup-log", "/run/yiyun-backup/stream.json"),
        "watch": ("watch", "/run/yiyun-watch/state.json"),
    }
    facts |= {name: file_json(Path(file)) for name, (service, file) in told.items() if service in services}
    if "collector" in services:
        facts["collector"] = command_json(
            ["runuser", "-u", "yiyun-gateway", "--", "yiyun-gateway", "status", "--json"]
        )
    sys.stdout.write(json.dumps(facts))


def failed_units() -> list[str]:
    """Names of systemd units that have failed."""
    listed = run(["systemctl", "--failed", "--plain", "--no-legend", "--no-pager"])
    return [line.split()[0] for line in listed.splitlines() if line.split()]


def certificates(services: set[str]) -> dict[str, str]:
    """First certificate (PEM) of each service's leaf."""
    end = "-----END CERTIFICATE-----\n"
    files = {name: TLS / f"{name}.crt" for name in sorted(services)}
    return {
        name: path.read_text(encoding="ascii").split(end)[0] + end
        for name, path in files.items()
        if path.exists()
    }


def mysql_state(port: int) -> dict[str, Any] | None:
    """What this member's health agent says."""
    return fetch(f"http://{own_address()}:{port}/state")


def platform() -> dict[str, Any]:
    """Whether the application here is ready."""
    answer = fetch(f"https://{socket.gethostname()}:8000/readyz") or {}
    return {"ready": answer.get("status") in {"ok", "ready"}, "version": answer.get("version")}


def mounted(folder: str) -> dict[str, Any]:
    """Whether the bucket is there and answers. Another process asks: a mount may hold whoever does."""
    fuse = run(["stat", "--file-system", "--format=%T", folder]).startswith("fuse")
    listed = run(["sh", "-c", 'ls "$0" >/dev/null && echo yes', folder]).strip()
    return {"mounted": fuse, "answers": fuse and listed == "yes"}


def own_address() -> str:
    """The address /etc/hosts gives this host."""
    return socket.gethostbyname(socket.gethostname())


def fetch(url: str) -> dict[str, Any] | None:
    """JSON body of a URL whatever its status, or None when nothing answers."""
    context = ssl.create_default_context(cafile=str(TLS / "ca.crt")) if url.startswith("https") else None
    try:
        with urllib.request.urlopen(url, timeout=SECONDS, context=context) as response:  # noqa: S310
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error)
    except (OSError, ValueError):
        return None


def command_json(argv: list[str]) -> Any:
    """JSON that a command prints, or None."""
    try:
        return json.loads(run(argv))
    except ValueError:
        return None


def file_json(path: Path) -> Any:
    """JSON in a file, or None."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def run(argv: list[str]) -> str:
    """Output of a command, empty when it cannot be run."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


if __name__ == "__main__":
    main()
