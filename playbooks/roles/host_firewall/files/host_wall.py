#!/usr/bin/python3
"""Put the host's firewall up atomically, and take it back unless somebody could still come in to keep it.

track    has the kernel note which connections stand, before the first wall: without it the answers on an idle
         connection that this host began would be strangers, and wait for TCP to try again (57 s, measured).
apply    loads /etc/yiyun/wall.nft when it is not what stands, and prints a word for `confirm`; without that
         word within the time given, what stood before (or nothing) stands again. Else prints `unchanged`.
confirm  keeps it: the file that boot loads becomes this one.
status   exit code 1 when the kernel, the wanted file and the file that boot loads do not agree.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

WANTED = Path("/etc/yiyun/wall.nft")
KEPT = Path("/etc/nftables.d/wall.nft")
"""What was confirmed, and what boot loads."""
LISTING = Path("/var/lib/yiyun/wall.listing")
"""How the kernel lists the confirmed rules: names the file they came from, so a hand change shows."""
WORD = Path("/run/yiyun-wall.word")
UNIT = "nftables.service"
TABLE = ("inet", "yiyun_wall")
TRACKING = ("inet", "yiyun_tracking")
TRACK = f"""\
table {" ".join(TRACKING)} {{
    chain input {{ type filter hook input priority filter; policy accept; ct state established counter; }}
    chain output {{ type filter hook output priority filter; policy accept; ct state established counter; }}
}}
"""
PERIOD_SECONDS = 0.2


def nft(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run nft; the caller judges the exit code."""
    return subprocess.run(["nft", *argv], capture_output=True, text=True, check=False)


def listing() -> str:
    """The table as the kernel has it, without counters' values; empty when there is none."""
    return nft("--stateless", "list", "table", *TABLE).stdout


def digest(path: Path) -> str:
    """Hash of a file's rules without its comments; empty when there is no file."""
    if not path.exists():
        return ""
    lines = [x for x in path.read_text(encoding="utf-8").splitlines() if not x.lstrip().startswith("#")]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def differences() -> list[str]:
    """Why the wall is not as it should be; empty when it is."""
    found: list[str] = []
    if digest(WANTED) != digest(KEPT):
        found.append(f"{KEPT} is not {WANTED}")
    now = listing()
    recorded = LISTING.read_text(encoding="utf-8") if LISTING.exists() else ""
    if not now:
        found.append("the kernel has no wall")
    elif recorded != f"{digest(KEPT)}\n{now}":
        found.append("the kernel's rules are not those that were confirmed")
    return found


def enabled() -> bool:
    """Whether the wall comes back at boot."""
    asked = ["systemctl", "is-enabled", "--quiet", UNIT]
    active = ["systemctl", "is-active", "--quiet", UNIT]
    return all(subprocess.run(argv, check=False).returncode == 0 for argv in (asked, active))


def track() -> None:
    """Begin to track connections, unless the wall does already. What passes until `apply` is known then."""
    if not listing():
        subprocess.run(["nft", "--file", "-"], input=TRACK, text=True, check=True)


def apply(seconds: float, *, check: bool) -> str:
    """Load the wanted rules for a while. Returns the word for `confirm`, or `unchanged`."""
    if not differences() and enabled():
        return "unchanged"
    if check:
        return "changed"
    word = secrets.token_hex(8)
    WORD.unlink(missing_ok=True)
    _watch(word, seconds)
    loaded = nft("--file", str(WANTED))
    nft("delete", "table", *TRACKING)
    if loaded.returncode != 0:
        sys.exit(f"the rules cannot be loaded, what stood before stands: {loaded.stderr.strip()}")
    return word


def _watch(word: str, seconds: float) -> None:
    """Leave a process behind that takes the rules back when nobody confirms. It outlives the connection."""
    if os.fork():
        return
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if WORD.exists() and WORD.read_text(encoding="ascii") == word:
            os._exit(0)
        time.sleep(PERIOD_SECONDS)
    if not KEPT.exists() or nft("--file", str(KEPT)).returncode != 0:
        nft("delete", "table", *TABLE)
    os._exit(0)


def confirm(word: str) -> None:
    """Keep what stands, also over a boot."""
    if not listing():
        sys.exit("too late: the rules were taken back")
    KEPT.parent.mkdir(exist_ok=True)
    _write(KEPT, WANTED.read_text(encoding="utf-8"))
    _write(LISTING, f"{digest(KEPT)}\n{listing()}")
    for argv in (["daemon-reload"], ["enable", "--quiet", UNIT], ["start", UNIT]):
        subprocess.run(["systemctl", *argv], check=True)
    WORD.write_text(word, encoding="ascii")


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def main() -> int:
    """Do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["track", "apply", "confirm", "status"])
    parser.add_argument("word", nargs="?", default="")
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    if options.action == "track":
        track()
    elif options.action == "apply":
        sys.stdout.write(apply(options.seconds, check=options.check) + "\n")
    elif options.action == "confirm":
        confirm(options.word)
    else:
        wrong = differences()
        sys.stderr.writelines(f"{line}\n" for line in wrong)
        return int(bool(wrong))
    return 0


if __name__ == "__main__":
    sys.exit(main())
