"""Runs on a host, sent over SSH: carries out the orders of `yiyun up` on what no role names.

Standard library only. Argument: a JSON list of orders. Prints one JSON object an order: `order`, `ok`,
`said`. Takes nothing away for good: files are set aside, packages are removed without their data, a
user's home stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ASIDE = Path("/var/lib/yiyun/set-aside")
"""Where files go that nobody declared: a folder a run, paths below it as they were."""
SECONDS = 180
QUIET_APT = {"DEBIAN_FRONTEND": "noninteractive", "LANG": "C.UTF-8", "PATH": os.environ.get("PATH", "")}
NFT_FILES = ("/etc/nftables.conf", "/etc/nftables.d")

Order = dict[str, Any]


class FailedError(Exception):
    """An order that could not be carried out, and why."""


def main() -> None:
    """Carry out and print."""
    orders: list[Order] = json.loads(sys.argv[1])
    results: list[dict[str, Any]] = []
    for order in orders:
        try:
            said = DO[order["do"]](order)
            results.append({"order": order, "ok": True, "said": said})
        except (FailedError, OSError, KeyError, ValueError) as error:
            results.append({"order": order, "ok": False, "said": str(error)[-500:]})
    run(["systemctl", "daemon-reload"], check=False)
    sys.stdout.write(json.dumps(results))


def run(argv: list[str], *, check: bool = True) -> str:
    """Output of a command. Raises FailedError when it fails and `check`."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=SECONDS, check=False, env={**QUIET_APT}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FailedError(f"{argv[0]}: {error}") from None
    if check and done.returncode != 0:
        raise FailedError(f"{argv[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def end_listener(order: Order) -> str:
    """End who listens there: the unit when it is one that nobody declared, else the process alone."""
    protocol, _, where = order["name"].partition(" ")
    port = where.rpartition(":")[2]
    listing = run(["ss", "-Hlnp", "--tcp" if protocol == "tcp" else "--udp", f"sport = :{port}"], check=False)
    ended: list[str] = []
    for pid in sorted({int(p) for p in re.findall(r"pid=(\d+)", listing)}):
        cgroup = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")
        units = re.findall(r"[^/\s]+\.service", cgroup)
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        fragment = (
            run(["systemctl", "show", units[-1], "--property=FragmentPath", "--value"]) if units else ""
        )
        if units and units[-1] != "ssh.service" and fragment.startswith(("/run/", "/etc/")):
            run(["systemctl", "stop", units[-1]], check=False)
        end_process(pid)
        ended.append(f"{pid}: {command.strip()[:120]}")
    return "ended " + ", ".join(ended) if ended else "nobody listens there any more"


def end_process(pid: int, seconds: float = 3) -> None:
    """Ask a process to end, then make it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)


def stop_unit(order: Order) -> str:
    """Stop a unit, now and at boot."""
    run(["systemctl", "disable", "--quiet", "--now", order["name"]], check=False)
    run(["systemctl", "stop", order["name"]], check=False)
    run(["systemctl", "reset-failed", order["name"]], check=False)
    return "stopped"


def start_unit(order: Order) -> str:
    """Start a unit."""
    run(["systemctl", "start", order["name"]])
    return "started"


def unit_file(order: Order) -> str:
    """Give a unit its state at boot: unmask, then enable, disable or mask."""
    name, wanted = order["name"], order["state"]
    if order["was"].startswith("masked"):
        run(["systemctl", "unmask", name])
        run(["systemctl", "unmask", "--runtime", name])
    verb = {"enabled": "enable", "disabled": "disable", "masked": "mask"}.get(wanted)
    if verb:
        run(["systemctl", verb, "--quiet", name])
    return f"{order['was']} → {wanted}"


def remove_package(order: Order) -> str:
    """Remove a package and what came with it; its data stays. Refused when something else would go, too."""
    name = order["name"]
    if not run(["dpkg-query", "--show", "--showformat=${db:Status-Status}", name], check=False).startswith(
        "installed"
    ):
        return "gone already"
    extra = set(order.get("others", ())) | {name}
    for more in (["--auto-remove"], []):
        listing = run(["apt-get", "--simulate", "remove", *more, name])
        going = set(re.findall(r"^(?:Remv|Purg) (\S+)", listing, re.MULTILINE))
        if going <= extra:
            run(["apt-get", "--yes", "--quiet", "remove", *more, name])
            return "removed " + ", ".join(sorted(going))
    raise FailedError(f"{', '.join(sorted(going - extra))} would have to go, too")


def install_package(order: Order) -> str:
    """Install the recorded version from the estate's depot."""
    wanted = f"{order['name']}={order['version']}"
    run(["apt-get", "--yes", "--quiet", "--no-install-recommends", "--allow-downgrades", "install", wanted])
    return f"installed {wanted}"


def remove_user(order: Order) -> str:
    """Lock an account, end what it runs, remove it. Its home stays."""
    try:
        user = pwd.getpwnam(order["name"])
    except KeyError:
        return "gone already"
    run(["usermod", "--lock", "--expiredate", "1", user.pw_name])
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == user.pw_uid:
                end_process(int(entry.name), seconds=1)
    run(["userdel", user.pw_name])
    stays = f"; {user.pw_dir} stays" if Path(user.pw_dir).exists() else ""
    return f"locked and removed{stays}"


def lock_password(order: Order) -> str:
    """Lock an account's password; keys go on to work."""
    run(["usermod", "--password", "!", order["name"]])
    return "password locked"


def set_shell(order: Order) -> str:
    """Give an account its recorded shell."""
    run(["usermod", "--shell", order["shell"], order["name"]])
    return "shell set"


def remove_group(order: Order) -> str:
    """Remove a group. Absent is fine."""
    run(["groupdel", order["name"]], check=False)
    return "removed"


def add_group(order: Order) -> str:
    """Make a group again with its number."""
    run(["groupadd", "--system", "--gid", order["gid"], order["name"]])
    return set_members(order)


def set_members(order: Order) -> str:
    """Give a group its recorded members."""
    run(["gpasswd", "--members", ",".join(order["members"].split()), order["name"]])
    return f"members: {order['members'] or 'none'}"


def set_aside(order: Order) -> str:
    """Move a file or folder that nobody declared out of the way."""
    path = Path(order["path"])
    if not os.path.lexists(path):
        return "gone already"
    target = ASIDE / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) / path.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    ASIDE.chmod(0o700)
    shutil.move(path, target)
    return f"moved to {target}"


def own(order: Order) -> str:
    """Owner, group and mode as recorded."""
    shutil.chown(order["path"], order["owner"], order["group"])
    Path(order["path"]).chmod(int(order["mode"], 8))
    return f"{order['owner']}:{order['group']} {order['mode']}"


def link(order: Order) -> str:
    """The recorded link; what stands in its place is set aside."""
    set_aside(order)
    Path(order["path"]).symlink_to(order["target"])
    return f"→ {order['target']}"


def kernel(order: Order) -> str:
    """A kernel setting as recorded."""
    Path("/proc/sys", *order["name"].split(".")).write_text(order["value"] + "\n", encoding="utf-8")
    return order["value"]


def remove_table(order: Order) -> str:
    """Remove a table of the firewall."""
    run(["nft", "delete", "table", *order["name"].split()])
    return "removed"


def load_table(order: Order) -> str:
    """Load a table of the firewall again from the file that defines it."""
    files = [
        p for f in NFT_FILES for p in ([Path(f)] if Path(f).is_file() else sorted(Path(f).glob("*.nft")))
    ]
    for path in files:
        if f"table {order['name']}" in path.read_text(encoding="utf-8"):
            run(["nft", "--file", str(path)])
            return f"loaded {path}"
    raise FailedError(f"no file of {', '.join(NFT_FILES)} defines it")


DO = {
    "end-listener": end_listener,
    "stop-unit": stop_unit,
    "start-unit": start_unit,
    "unit-file": unit_file,
    "remove-package": remove_package,
    "install-package": install_package,
    "remove-user": remove_user,
    "lock-password": lock_password,
    "set-shell": set_shell,
    "remove-group": remove_group,
    "add-group": add_group,
    "set-members": set_members,
    "set-aside": set_aside,
    "own": own,
    "link": link,
    "kernel": kernel,
    "remove-table": remove_table,
    "load-table": load_table,
}

if __name__ == "__main__":
    main()
