"""Measures rclone and s3fs on two hosts of a running lab while its object store restarts, stops and freezes.

    python -m tests.beds.object_mounts --estate FILE --out RESULT.json

s3fs is not part of the bundle: its packages are fetched with the bundle's own apt and unpacked beside the
system, into a folder that is removed at the end. Nothing else of the hosts changes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import statistics
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.bundle.debs import Apt
from infra.bundle.lists import PackageList
from infra.drivers.lab.disks import merged
from infra.drivers.lab.hosts import containers, run_in_host
from infra.drivers.lab.images import debian_mirror
from infra.drivers.lab.names import qualified
from infra.drivers.lab.objectstore import store_access
from infra.drivers.lab.s3 import s3_answer
from infra.estate.endpoints import endpoints
from infra.estate.loading import load_estate
from infra.paths import EstatePaths

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from infra.estate.model import Estate

SIZE = 200 * 1024
FAULT_AFTER, FAULT_FOR, RUN = 5.0, 10.0, 32.0
"""Seconds: a fault begins, how long it lasts, how long one measurement writes."""
RCLONE = (
    "rclone mount store:attachments {folder} --config=/etc/yiyun-attachments/rclone.conf "
    "--ca-cert=/etc/yiyun/tls/ca.crt --vfs-cache-mode={mode} --dir-cache-time=1s --attr-timeout=1s "
    "--use-server-modtime --no-modtime --contimeout=1s --timeout=3s --low-level-retries=2 --retries=1 "
    "--cache-dir=/run/bed-cache --allow-other --umask=000"
)
S3FS = (
    "env LD_LIBRARY_PATH={root}/usr/lib/x86_64-linux-gnu CURL_CA_BUNDLE=/etc/yiyun/tls/ca.crt "
    "{root}/usr/bin/s3fs attachments {folder} -f -o url={url} -o endpoint={region} -o use_path_request_style "
    "-o passwd_file=/run/bed-s3fs.passwd -o connect_timeout=1 -o readwrite_timeout=3 -o retries=2 "
    "-o stat_cache_expire=1 -o enable_noobj_cache -o nomultipart "
    "-o allow_other -o umask=000"
)
UNPACKED = "/opt/bed-s3fs"


@dataclass(frozen=True)
class Bed:
    """A running lab."""

    estate: Estate
    paths: EstatePaths

    def on(self, host: str, command: str, *, stdin: str = "", seconds: float = 120) -> str:
        """Output of a shell command on a host; whatever it ends with."""
        return run_in_host(self.paths, host, ["sh", "-c", command], stdin=stdin, timeout=seconds).stdout

    def store(self, *words: str) -> None:
        """A podman verb on the near region's store; a start may meet what a stop has not finished yet."""
        near = next(e for e in endpoints(self.estate) if e.region == self.estate.region.name)
        verb, *rest = words
        argv = ["podman", verb, *rest, qualified(self.paths.estate, near.group)]
        until(lambda: subprocess.run(argv, check=False, capture_output=True).returncode == 0, 10)

    def asked(self, path: str) -> str:
        """Body of the store's answer to its owner."""
        access = store_access(self.paths, self.estate.region.name)
        pid = containers(self.paths.estate)[qualified(self.paths.estate, access.name)].pid
        return s3_answer(access, pid, "GET", path)[1]


def unpack_s3fs(bed: Bed, host: str) -> None:
    """Fetch s3fs with what it needs and unpack it on a host, beside the system."""
    with tempfile.TemporaryDirectory() as folder:
        root = merged(bed.paths, host)
        apt = Apt(Path(folder), root / "var/lib/dpkg/status")
        mirror = debian_mirror()
        apt.prepare(mirror, f"{mirror.rstrip('/')}-security")
        apt.update(_quietly)
        wanted = PackageList(packages=("s3fs",))
        apt.resolve("s3fs", wanted)
        apt.download("s3fs", wanted, _quietly)
        (root / UNPACKED.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for deb in (Path(folder) / "archives").glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(deb), str(root / UNPACKED.lstrip("/"))], check=True)


def _quietly(_: str) -> None:
    """Nobody waits for a word of apt here."""


@contextmanager
def mounted(bed: Bed, host: str, tool: str) -> Generator[str]:
    """A mount of the bucket by that tool, under systemd as the role would have it."""
    folder, unit = f"/mnt/bed-{tool}", f"bed-{tool}"
    near = next(e for e in endpoints(bed.estate) if e.region == bed.estate.region.name)
    values = {"folder": folder, "root": UNPACKED, "region": near.region, "url": f"https://{near.host_name}"}
    template = S3FS if tool == "s3fs" else RCLONE
    command = template.format(mode=tool.partition("-")[2] or "off", **values)
    kind = "simple" if tool == "s3fs" else "notify"
    bed.on(host, f"mkdir -p {folder} && chmod 0 {folder}")
    key = r"s/^secret_access_key = \(.*\)$/attachments-app:\1/p"
    bed.on(
        host,
        "umask 077; sed -n "
        + shlex.quote(key)
        + " /etc/yiyun-attachments/rclone.conf > /run/bed-s3fs.passwd",
    )
    options = f"--unit={unit} --property=Type={kind} --property=Restart=always --property=RestartSec=500ms"
    clean = f"--property='ExecStartPre=-/usr/bin/fusermount3 -u -z {folder}'"
    bed.on(host, f"systemd-run {options} {clean} {command}")
    until(lambda: bed.on(host, f"mountpoint -q {folder} && echo yes").strip() == "yes", 20)
    try:
        yield folder
    finally:
        bed.on(host, f"systemctl stop {unit}; fusermount3 -u -z {folder}; rm -f /run/bed-s3fs.passwd")


def until(claim: Callable[[], bool], seconds: float) -> float:
    """Seconds until a claim came true. Raises TimeoutError."""
    began = time.monotonic()
    while not claim():
        if time.monotonic() - began > seconds:
            raise TimeoutError
        time.sleep(0.1)
    return round(time.monotonic() - began, 2)


def write_through(bed: Bed, host: str, folder: str, prefix: str, fault: Callable[[], None]) -> dict[str, Any]:
    """Write at a pace while a fault happens; then look for everything that was acknowledged."""
    agent = resources.files("tests.beds").joinpath("mount_agent.py").read_text(encoding="utf-8")
    pid = containers(bed.paths.estate)[qualified(bed.paths.estate, host)].pid
    argv = ["nsenter", f"--target={pid}", "--mount", "--net", "--pid", "--uts"]
    argv += [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "python3",
        "-c",
        agent,
        folder,
        prefix,
        str(RUN),
        "0.2",
        str(SIZE),
    ]
    writer = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    began = time.time()
    time.sleep(FAULT_AFTER)
    fault()
    ended = time.time()
    results: list[dict[str, Any]] = json.loads(writer.communicate(timeout=RUN + 120)[0])
    return {**judged(results, began, ended), **stored(bed, results)}


def judged(results: list[dict[str, Any]], began: float, ended: float) -> dict[str, Any]:
    """What the writer saw. Pure."""
    good = [r for r in results if not r["error"]]
    before = [r["seconds"] for r in good if r["at"] < began + FAULT_AFTER - 1]
    after = [r["at"] + r["seconds"] for r in good if r["at"] + r["seconds"] > ended]
    errors = sorted({r["error"] for r in results if r["error"]})
    return {
        "acknowledged": len(good),
        "errors": len(results) - len(good),
        "kinds": errors,
        "hung": sum(r["error"] == "hung" for r in results),
        "median_s": round(statistics.median(before), 3) if before else None,
        "longest_s": max(r["seconds"] for r in results),
        "works_again_s": round(min(after) - ended, 2) if after else None,
    }


def stored(bed: Bed, results: list[dict[str, Any]]) -> dict[str, Any]:
    """Acknowledged writes that the store has not, or has otherwise; versions a file left."""
    lost = 0
    for entry in results:
        if entry["error"]:
            continue
        path = bed.paths.lab / "objectstore" / bed.estate.region.name / "objects/attachments" / entry["name"]
        lost += not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]
    prefix = results[0]["name"].rpartition("-")[0]
    listing = bed.asked(f"/attachments?prefix={prefix}&versions=")
    good = sum(not r["error"] for r in results)
    return {"lost": lost, "versions_a_file": round(listing.count("<VersionId>") / max(1, good), 2)}


def measure(bed: Bed, tool: str, host: str, other: str) -> dict[str, Any]:
    """Everything about one tool."""

    def restart() -> None:
        bed.store("stop", "--time", "1")
        bed.store("start")

    def stop() -> None:
        bed.store("stop", "--time", "1")
        time.sleep(FAULT_FOR)
        bed.store("start")

    def freeze() -> None:
        bed.store("pause")
        time.sleep(FAULT_FOR)
        bed.store("unpause")

    def kill() -> None:
        bed.on(host, f"systemctl kill --signal=SIGKILL bed-{tool}")

    found: dict[str, Any] = {}
    stamp = f"bed-{tool}-{int(time.time())}"
    with mounted(bed, host, tool) as folder:
        for name, fault in (("restart", restart), ("stopped", stop), ("frozen", freeze), ("killed", kill)):
            found[name] = write_through(bed, host, folder, f"{stamp}-{name}", fault)
        bed.on(host, f"head -c 64M /dev/urandom > {folder}/{stamp}-large", seconds=120)
        memory = bed.on(host, f"systemctl show bed-{tool} --property=MemoryPeak --value").strip()
        found["memory_peak_mib"] = round(int(memory) / 2**20) if memory.isdigit() else None
        with mounted(bed, other, tool) if tool != "s3fs" else _none() as there:
            if there:
                bed.on(other, f"ls {there} > /dev/null")
                bed.on(host, f"echo x > {folder}/{stamp}-seen")
                found["seen_elsewhere_s"] = until(
                    lambda: bed.on(other, f"cat {there}/{stamp}-seen 2>/dev/null").strip() == "x", 30
                )
    return found


@contextmanager
def _none() -> Generator[str]:
    yield ""


def main() -> None:
    """Measure every tool and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--estate", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tools", default="rclone-off,rclone-writes,s3fs")
    options = parser.parse_args()
    estate = load_estate(options.estate)
    bed = Bed(estate, EstatePaths(estate.estate))
    host, other = (h.name for h in estate.hosts_with("app"))
    result: dict[str, Any] = {"size": SIZE, "fault_seconds": FAULT_FOR, "tools": {}}
    tools = options.tools.split(",")
    try:
        if "s3fs" in tools:
            unpack_s3fs(bed, host)
        for tool in tools:
            result["tools"][tool] = measure(bed, tool, host, other)
            options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    finally:
        bed.on(host, f"rm -rf {UNPACKED}")


if __name__ == "__main__":
    main()
