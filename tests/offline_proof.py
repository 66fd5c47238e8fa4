"""The whole lab from an offline folder where no registry can be reached, and a fresh machine's installation.

`python -m tests.offline_proof [--folder FOLDER] [--result FILE]`, as root. It builds the folder (unless one
is given), then works in a network namespace that has nothing but its loopback, with empty home, caches and
states: installs yiyun by the folder's own script, runs `yiyun up` to the verified estate, looks, removes it.
Before that the script does its work on a minimal Debian of this machine's release, system packages and all.
It takes about ten minutes, so `make test` does not run it; its results are committed in docs/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from infra.bundle.offline.model import read_lock
from infra.drivers.lab.images import KEYRING, debian_mirror
from infra.drivers.lab.mounts import unmount_below

ROOT = Path(__file__).parents[1]
ESTATE = "estate: airgap\nextends: lab\nlab: {published: {bastion: 15022, premises: 15023, web: 15443}}\n"
BARE_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
ALONE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "alone"]
"""Runs a command in a network namespace of its own: a loopback, no other link, no route."""


def main() -> int:
    """Entry point; exit code 1 when a step failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.offline_proof")
    parser.add_argument(
        "--folder", type=Path, help="an offline folder of this checkout; built when not given"
    )
    parser.add_argument("--result", type=Path, help="where the result goes (default: standard output)")
    parser.add_argument("--keep", action="store_true", help="leave the work folder for a look")
    parser.add_argument("--no-fresh", action="store_true", help="leave the fresh machine's installation out")
    parser.add_argument("--no-lab", action="store_true", help="leave the lab out")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="yiyun-offline-", dir="/var/tmp"))
    try:
        result = prove(work, arguments.folder, fresh=not arguments.no_fresh, lab=not arguments.no_lab)
    finally:
        if not arguments.keep:
            unmount_below(work)
            shutil.rmtree(work, ignore_errors=True)
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    if arguments.result:
        arguments.result.parent.mkdir(parents=True, exist_ok=True)
        arguments.result.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0 if result["ok"] else 1


def prove(work: Path, folder: Path | None, *, fresh: bool, lab: bool) -> dict[str, Any]:
    """All steps with their seconds and what they said."""
    steps: list[dict[str, Any]] = []
    if folder is None:
        folder = work / "folder"
        argv = [sys.executable, "-m", "cli.main", "bundle", "build", "--to", str(folder), "--json", "--quiet"]
        steps.append(step("build", argv, dict(os.environ)))
    lock = read_lock(folder)
    if fresh and good(steps):
        steps += on_fresh_machine(work / "fresh", folder, lock.signer)
    if lab and good(steps):
        steps += whole_lab(work, folder, lock.signer)
    return {
        "command": " ".join(["python -m tests.offline_proof", *sys.argv[1:]]),
        "ok": good(steps),
        "commit": said(["git", "-C", str(ROOT), "rev-parse", "HEAD"]),
        "dirty": bool(said(["git", "-C", str(ROOT), "status", "--porcelain"])),
        "machine": {
            "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
            "kernel": platform.release(),
            "processors": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30),
        },
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "folder": {
            "made": lock.made,
            "bytes": lock.bytes,
            "files": len(lock.files),
            "parts": [p.name for p in lock.parts],
        },
        "steps": steps,
    }


def whole_lab(work: Path, folder: Path, key: str) -> list[dict[str, Any]]:
    """Install, bring up, look, remove: each in one and the same empty network namespace."""
    home, estate, program = work / "home", work / "airgap.yaml", work / "yiyun/bin/yiyun"
    home.mkdir()
    estate.write_text(ESTATE, encoding="utf-8")
    environment = {
        "PATH": BARE_PATH,
        "HOME": str(home),
        "YIYUN_CACHE": str(home / "cache"),
        "YIYUN_STATE": str(home / "state"),
    }
    named = ["--estate", str(estate), "--json", "--quiet"]
    plan = [
        ("network", ["ip", "-json", "-4", "route", "show", "table", "main"]),
        ("install", [str(folder / "control/install"), key, str(work / "yiyun")]),
        ("up", [str(program), "up", "--yes", *named]),
        ("status", [str(program), "status", *named]),
        ("preview", [str(program), "preview", "--exit-code", *named]),
        ("down", [str(program), "lab", "down", "--yes", *named]),
    ]
    with alone() as pid:
        done: list[dict[str, Any]] = []
        for name, argv in plan:
            if good(done) or name == "down":
                done.append(step(name, ["nsenter", f"--target={pid}", "--net", *argv], environment, home))
        if done[0]["said"] not in ("", "[]"):
            done[0]["exit_code"] = 1  # it has a route: this is no proof
    return done


def on_fresh_machine(root: Path, folder: Path, key: str) -> list[dict[str, Any]]:
    """A minimal Debian of this release: the script installs what it lacks, and `doctor` misses no program."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    keyring = [f"--keyring={KEYRING}"] if KEYRING.exists() else []
    make = ["mmdebstrap", "--mode=root", "--variant=minbase", *keyring, release, str(root)]
    steps = [step("fresh machine", [*make, f"deb {debian_mirror()} {release} main"], dict(os.environ))]
    if not good(steps):
        return steps
    for path in root.glob("etc/apt/sources.list*"):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    inside = root / "srv/bundle"
    inside.mkdir(parents=True)
    subprocess.run(["mount", "--bind", str(folder), str(inside)], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True)
    environment = {"PATH": BARE_PATH, "HOME": "/root", "LC_ALL": "C.UTF-8"}
    enter = [*ALONE, "chroot", str(root)]
    steps.append(step("fresh install", [*enter, "/srv/bundle/control/install", key], environment))
    doctor = [*enter, "/opt/yiyun/bin/yiyun", "doctor", "--json"]
    found = subprocess.run(doctor, env=environment, capture_output=True, text=True, check=False)
    findings = json.loads(found.stdout)["findings"] if found.stdout else []
    lacking = [f["name"] for f in findings if f["found"] == "not installed"]
    steps.append(
        {
            "name": "fresh doctor",
            "exit_code": int(bool(lacking) or not findings),
            "seconds": 0.0,
            "said": f"programs missing: {', '.join(lacking) or 'none'}; {len(findings)} findings",
        }
    )
    unmount_below(root)
    shutil.rmtree(root)
    return steps


class alone:  # noqa: N801  used as a `with` statement
    """A network namespace with a loopback only, held by a sleeping process."""

    def __enter__(self) -> int:
        self.process = subprocess.Popen([*ALONE, "sleep", "infinity"])
        own = Path("/proc/self/ns/net").readlink()
        deadline = time.monotonic() + 10
        place = Path(f"/proc/{self.process.pid}")
        while (place / "ns/net").readlink() == own or (place / "comm").read_text() != "sleep\n":
            assert time.monotonic() < deadline, "no network namespace"
            time.sleep(0.02)
        return self.process.pid

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait()


def step(
    name: str, argv: list[str], environment: dict[str, str], folder: Path | None = None
) -> dict[str, Any]:
    """Run one step; its end, time and last words. A verb's own steps and totals are kept."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {name}\n")
    began = time.monotonic()
    done = subprocess.run(argv, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    result: dict[str, Any] = {
        "name": name,
        "exit_code": done.returncode,
        "seconds": round(time.monotonic() - began, 1),
    }
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        kept = ("steps", "changed", "changes", "problems", "imported", "bytes", "error")
        result |= {k: answer[k] for k in kept if k in answer}
        return result
    words = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return {**result, "said": words[-1] if words else ""}


def said(argv: list[str]) -> str:
    """Output of a command."""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def good(steps: list[dict[str, Any]]) -> bool:
    """Whether every step so far ended well."""
    return all(s["exit_code"] == 0 for s in steps)


if __name__ == "__main__":
    raise SystemExit(main())
