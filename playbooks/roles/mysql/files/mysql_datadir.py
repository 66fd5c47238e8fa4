#!/usr/bin/python3
"""Make the data directory of this member, and never touch one that somebody else made.

`inspect` says what is there; `ensure` makes a new one beside its place, empty or from the backups of a region
(`--restore-from`), and moves it in with one rename, so an interrupted run leaves nothing that looks finished.
A directory is ours when its marker names this estate and this host. One JSON object on stdout; exit 3 when a
foreign directory is in the way.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

MARKER = ".yiyun-mysql.json"
IGNORED = frozenset({"lost+found"})
REFUSED = 3
State = Literal["absent", "ours", "foreign", "not-mounted"]


def inspect(directory: Path, owner: dict[str, str], mount: Path | None) -> tuple[State, str]:
    """What stands at the place of the data directory, and a sentence about it."""
    if mount is not None and not mount.is_mount():
        return "not-mounted", f"{mount} is not a mounted disk; data would land on the system disk"
    if not directory.exists() or not {p.name for p in directory.iterdir()} - IGNORED:
        return "absent", f"{directory} is free"
    try:
        marker: Any = json.loads((directory / MARKER).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "foreign", f"{directory} holds files that yiyun did not make; move them away yourself"
    except ValueError:
        return "foreign", f"{directory / MARKER} is damaged"
    if marker != owner:
        return "foreign", f"{directory} belongs to {marker}, not to {owner}"
    return "ours", f"{directory} is this member's"


def account(user: str, host: str, password: str, rights: str) -> list[str]:
    """Statements that make one account; values are hexadecimal or from the inventory, quoted as SQL text."""
    name = f"'{user}'@'{host}'"
    quoted = password.replace("\\", "\\\\").replace("'", "''")
    return [
        f"CREATE USER {name} IDENTIFIED BY '{quoted}' REQUIRE SSL;",
        f"GRANT {rights} TO {name}{' WITH GRANT OPTION' if rights.startswith('ALL') else ''};",
    ]


def first_statements(group: dict[str, Any]) -> str:
    """Accounts every member has before it belongs to a group; not in any binary log, equal everywhere."""
    recovery, admin = group["recovery"], group["admin"]
    lines = ["INSTALL PLUGIN auth_socket SONAME 'auth_socket.so';"]
    lines += ["ALTER USER 'root'@'localhost' IDENTIFIED WITH auth_socket;"]
    rights = "REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN, GROUP_REPLICATION_STREAM ON *.*"
    for address in group["members"].values():
        lines += account(recovery["user"], address, recovery["password"], rights)
        lines += account(admin["user"], address, admin["password"], "ALL ON *.*")
    return "\n".join([*lines, ""])


def initialise(directory: Path, owner: dict[str, str], group: dict[str, Any]) -> None:
    """Make the directory. Raises CalledProcessError with the server's own words in its output."""
    staging = directory.parent / f".{directory.name}-initialising"
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir(mode=0o750)
    shutil.chown(staging, "mysql", "mysql")
    with tempfile.NamedTemporaryFile("w", dir="/run", suffix=".sql") as statements:
        statements.write(first_statements(group))
        statements.flush()
        shutil.chown(statements.name, "mysql", "mysql")
        subprocess.run(
            [
                "/usr/sbin/mysqld",
                "--no-defaults",
                "--initialize-insecure",
                "--user=mysql",
                f"--datadir={staging}",
                f"--init-file={statements.name}",
                "--innodb-buffer-pool-size=64M",
                "--performance-schema=OFF",
            ],
            check=True,
            capture_output=True,
            text=True,
        )
    # The server makes its identity at first start; were this directory copied, two members would share one.
    (staging / "auto.cnf").unlink(missing_ok=True)
    (staging / MARKER).write_text(json.dumps(owner), encoding="utf-8")
    move_in(staging, directory)


def restore(directory: Path, owner: dict[str, str], words: list[str]) -> dict[str, Any]:
    """Make the directory from backups. `words`: what the agent is told. Raises RuntimeError with its words.

    What an interrupted run left is the agent's: it begins anew there.
    """
    staging = directory.parent / f".{directory.name}-restoring"
    data = staging / "data"
    argv = ["/usr/local/bin/yiyun-backup", "restore", "--to", str(data), *words]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    try:
        told: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        told = {"error": {"message": " ".join(done.stderr.split())[-500:]}}
    if done.returncode != 0:
        raise RuntimeError(f"the backups could not be restored: {told['error']['message']}")
    (data / MARKER).write_text(json.dumps(owner), encoding="utf-8")
    shutil.chown(data, "mysql", "mysql")
    move_in(data, directory)
    shutil.rmtree(staging)
    return told


def move_in(made: Path, directory: Path) -> None:
    """With one rename."""
    os.sync()
    if directory.exists():
        shutil.rmtree(directory / "lost+found", ignore_errors=True)
        directory.rmdir()
    made.rename(directory)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, say what would be done")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--mount", type=Path, help="this must be a mounted disk")
    parser.add_argument("--estate", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--group", type=Path, default=Path("/etc/yiyun/mysql-group.json"))
    parser.add_argument("--restore-from", default="", metavar="REGION")
    parser.add_argument("--moment", nargs=2, default=[], metavar=("HOW", "WHICH"), help="gtid SET, at TIME")
    parser.add_argument("--identity", default="", metavar="FILE", help="what opens the log")
    parser.add_argument("verb", choices=["inspect", "ensure"])
    options = parser.parse_args()
    owner = {"estate": options.estate, "host": options.host}
    state, sentence = inspect(options.directory, owner, options.mount)
    changed = options.verb == "ensure" and state == "absent"
    restored: dict[str, Any] = {}
    if changed and not options.check:
        try:
            restored = make(options, owner)
        except (subprocess.CalledProcessError, RuntimeError) as error:
            print(json.dumps({"changed": False, "state": "failed", "text": why(error)}))  # noqa: T201
            return 1
    told = {"changed": changed, "state": state, "text": sentence, "restored": restored}
    print(json.dumps(told))  # noqa: T201 - the result
    return 0 if state in {"absent", "ours"} else REFUSED


def make(options: argparse.Namespace, owner: dict[str, str]) -> dict[str, Any]:
    """Empty, or from backups: then what the agent told."""
    if not options.restore_from:
        initialise(options.directory, owner, json.loads(options.group.read_text(encoding="utf-8")))
        return {}
    words = ["--from", options.restore_from, "--identity", options.identity]
    how, which = options.moment or ("", "")
    return restore(options.directory, owner, [*words, *([f"--{how}", which] if how else [])])


def why(error: Exception) -> str:
    """A sentence."""
    if not isinstance(error, subprocess.CalledProcessError):
        return str(error)
    said = [line for line in error.stderr.splitlines() if "[ERROR]" in line]
    return f"mysqld could not initialise: {'; '.join(said)[-2000:]}"


if __name__ == "__main__":
    sys.exit(main())
