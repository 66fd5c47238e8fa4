"""Lab machines on this computer: containers started, found, entered and stopped through podman."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from infra.drivers.lab.commands import failure_text, run
from infra.drivers.lab.disks import merged, system_folder
from infra.drivers.lab.machines import ESTATE_LABEL, OWNER_LABEL, SPEC_LABEL, Machine, run_command
from infra.drivers.lab.names import qualified
from infra.errors import YiyunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from infra import resources as kinds
    from infra.paths import EstatePaths

HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
WORKING_STATES = frozenset({"running", "degraded"})
"""States of systemd in which a machine is up; a degraded one has a failed unit, which `verify` names."""


@dataclass(frozen=True)
class Container:
    """A container of this lab as podman sees it."""

    name: str
    state: str
    pid: int
    spec: str
    owner: str

    @property
    def alive(self) -> bool:
        """True when it has processes, be they frozen."""
        return self.state in {"running", "paused"}


def containers(estate: str) -> dict[str, Container]:
    """Full name → container, of all containers that carry the estate's label."""
    listing = run(
        ["podman", "ps", "--all", "--format=json", f"--filter=label={ESTATE_LABEL}={estate}"]
    ).stdout
    found: dict[str, Container] = {}
    for item in json.loads(listing or "[]") or []:
        labels, name = item["Labels"], item["Names"][0]
        found[name] = Container(
            name, item["State"], item["Pid"], labels.get(SPEC_LABEL, ""), labels.get(OWNER_LABEL, "")
        )
    return found


def prepare(paths: EstatePaths, host: kinds.Host) -> list[str]:
    """Give a host its identity, once: host key, machine id; and the operators' key as recorded now."""
    root = merged(paths, host.name)
    changed = _host_key(root, host.name)
    machine_id = root / "etc/machine-id"
    if not machine_id.exists():
        machine_id.write_text(f"{secrets.token_hex(16)}\n", encoding="ascii")
        hosts = f"127.0.0.1 localhost\n{host.address} {host.name}.{host.domain} {host.name}\n"
        (root / "etc/hosts").write_text(hosts, encoding="ascii")
    # As podman's own, which it lays over this one until a soft reboot takes that away: a host sees no change.
    named = root / "etc/hostname"
    named.write_text(host.name, encoding="ascii")
    named.chmod(0o644)
    for attached in host.disks:
        (root / attached.mount.lstrip("/")).mkdir(parents=True, exist_ok=True)
    keys = root / "root/.ssh/authorized_keys"
    line = f"{host.authorized_key.strip()}\n" if host.authorized_key.strip() else ""
    if line and (not keys.exists() or keys.read_text(encoding="utf-8") != line):
        keys.parent.mkdir(mode=0o700, exist_ok=True)
        keys.touch(mode=0o600)
        keys.write_text(line, encoding="utf-8")
        changed.append(f"{host.name}: authorized key")
    return changed


def _host_key(root: Path, name: str) -> list[str]:
    path = root / HOST_KEY
    public = path.with_suffix(".pub")
    if public.exists():
        return []
    key = Ed25519PrivateKey.generate()
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public.write_text(f"{line} root@{name}\n", encoding="ascii")
    return [f"{name}: host key"]


def host_public_keys(paths: EstatePaths) -> dict[str, str]:
    """Host name → its public SSH host key (`ssh-ed25519 AAAA…`), of every host made so far."""
    return _public_keys(paths, f"{HOST_KEY}.pub")


def coming_public_keys(paths: EstatePaths) -> dict[str, str]:
    """Host name → the public host key that it has made and is about to use (a rotation)."""
    return _public_keys(paths, f"{HOST_KEY}.next.pub")


def _public_keys(paths: EstatePaths, file: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted((paths.lab / "hosts").glob(f"*/upper/{file}")):
        thing = path.relative_to(paths.lab / "hosts").parts[0]
        found[thing] = " ".join(path.read_text(encoding="ascii").split()[:2])
    return found


def start(machine: Machine, paths: EstatePaths, owner: str) -> None:
    """Start a machine anew. Its namespace, wire and disks must be ready."""
    # A start that was killed half-way leaves its name in podman's storage, where no listing shows it.
    run(["podman", "rm", "--force", "--ignore", qualified(paths.estate, machine.thing)], check=False)
    run(run_command(machine, paths.estate, owner, merged(paths, machine.thing)))


def remove_containers(names: Iterable[str]) -> None:
    """Stop (in order, as a machine shuts down) and remove containers. Absent ones are fine."""
    listed = list(names)
    if listed:
        run(["podman", "rm", "--force", "--time=20", "--ignore", *listed], timeout=300)


def is_open(pid: int) -> bool:
    """Whether a running host has what `open_up` gives it. `pid`: of its first process.

    A run that was killed between starting a host and opening it leaves one that looks whole and is not.
    """
    return shows_open(Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8", errors="replace"))


def shows_open(mountinfo: str) -> bool:
    """The same, from the text of a process's `mountinfo`. Pure."""
    lines = [line.split(" - ")[0].split() for line in mountinfo.splitlines()]
    settings = any(line[4] == "/proc/sys/net" and "rw" in line[5].split(",") for line in lines)
    shared = any(line[4] == "/" and any(tag.startswith("shared:") for tag in line[6:]) for line in lines)
    return settings and shared


def open_up(pid: int) -> None:
    """Give a host that has just started what a machine of its own has."""
    _open_kernel_settings(pid)
    _share_mounts(pid)


def _open_kernel_settings(pid: int) -> None:
    """Let a running host set its own network settings: /proc/sys/net is its namespace's, nobody else's.

    podman mounts all of /proc/sys read-only; the rest of it, which is this machine's, stays so.
    """
    script = (
        "mount --bind /proc/sys/net /proc/sys/net && mount -o remount,bind,rw /proc/sys/net; "
        "test ! -x /usr/lib/systemd/systemd-sysctl || /usr/lib/systemd/systemd-sysctl --prefix=/net"
    )
    run(["nsenter", f"--target={pid}", "--mount", "--net", "sh", "-c", script], check=False)


def _share_mounts(pid: int) -> None:
    """Let units with mounts of their own see what is mounted later, as on a machine of its own.

    systemd makes the root shared on real machines and leaves it to the maker of a container; without it a
    bucket's mount that comes back stays dead for a service that was started before.
    """
    run(["nsenter", f"--target={pid}", "--mount", "mount", "--make-rshared", "/"], check=False)


def enter_command(pid: int, argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` inside the machine whose first process is `pid`."""
    return [
        *("nsenter", f"--target={pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"),
        *("env", "-i", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb"),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        *argv,
    ]


def system_state(pid: int) -> str:
    """What systemd says of a machine: `running`, `degraded`, `starting` …; empty without an answer yet."""
    try:
        done = subprocess.run(
            enter_command(pid, ["systemctl", "is-system-running"]),
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.strip()


def wait_until_up(estate: str, things: Sequence[str], seconds: float = 90) -> dict[str, str]:
    """Wait until systemd of every machine has finished starting. Returns thing → state.

    Raises YiyunError naming the machines that did not come up in time.
    """
    found = containers(estate)
    deadline = time.monotonic() + seconds

    def one(thing: str) -> str:
        container = found.get(qualified(estate, thing))
        state = ""
        while container is not None and time.monotonic() < deadline:
            state = system_state(container.pid)
            if state in WORKING_STATES:
                return state
            time.sleep(0.1)
        return state

    with ThreadPoolExecutor(max_workers=8) as pool:
        states = dict(zip(things, pool.map(one, things), strict=True))
    late = sorted(thing for thing, state in states.items() if state not in WORKING_STATES)
    if late:
        said = ", ".join(f"{t} ({states[t] or 'no answer'})" for t in late)
        raise YiyunError(
            f"not up after {seconds:.0f} s: {said}",
            hint=f"podman exec {qualified(estate, late[0])} journalctl -b -n 50 tells why",
        )
    return states


def run_in_host(
    paths: EstatePaths, host: str, argv: Sequence[str], *, stdin: str = "", timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a program inside a host, past its network: for drills and probes. The caller judges the exit code.

    Raises YiyunError when the host is not running or the program hangs.
    """
    name = qualified(paths.estate, host)
    container = containers(paths.estate).get(name)
    if container is None or container.state != "running":
        raise YiyunError(f"{host} is not running", hint=f"yiyun lab up --estate {paths.estate}")
    return run(enter_command(container.pid, argv), stdin=stdin, check=False, timeout=timeout)


def last_words(estate: str, thing: str) -> str:
    """The last lines a container printed: why it ended."""
    done = run(["podman", "logs", "--tail=5", qualified(estate, thing)], check=False)
    return failure_text(done.stdout + done.stderr)


def known_system_disks(paths: EstatePaths) -> list[str]:
    """Things that have a system disk."""
    folder = system_folder(paths, "x").parent
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []
