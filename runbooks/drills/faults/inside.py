"""Programs run inside a host for a fault, past its network, with failures that name the host."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from infra.drivers.lab.hosts import containers, run_in_host
from infra.drivers.lab.names import qualified
from infra.errors import YiyunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbooks.drills.faults.tool import Place

LOOK_SECONDS = 0.05
RESTART_SECONDS = 180
"""A database that was killed recovers its log before it says that it is up."""


def said(place: Place, host: str, argv: list[str]) -> str:
    """What a program printed, whatever became of it."""
    return run_in_host(place.paths, host, argv).stdout.strip()


def holds(place: Place, host: str, argv: list[str]) -> bool:
    """Whether a program ended well."""
    return run_in_host(place.paths, host, argv).returncode == 0


def must(place: Place, host: str, argv: list[str], *, stdin: str = "", seconds: float = 60) -> str:
    """What a program printed. Raises YiyunError when it failed."""
    done = run_in_host(place.paths, host, argv, stdin=stdin, timeout=seconds)
    if done.returncode != 0:
        words = " ".join(argv[:3])
        raise YiyunError(f"{host}: {words}: {done.stderr.strip()[-300:]}", hint="yiyun drill resume")
    return done.stdout


def shell(place: Place, host: str, script: str, *, stdin: str = "", seconds: float = 60) -> str:
    """`must` for a script of `sh`, which ends at its first failure."""
    return must(place, host, ["sh", "-ec", script], stdin=stdin, seconds=seconds)


def systemctl(place: Place, host: str, *words: str) -> None:
    """Tell a host's systemd. Raises YiyunError when it refuses."""
    must(place, host, ["systemctl", *words], seconds=RESTART_SECONDS)


def unit_state(place: Place, host: str, unit: str) -> str:
    """A unit's state in systemd's words: `active`, `failed`, and so on."""
    return said(place, host, ["systemctl", "show", "-P", "ActiveState", unit])


def main_pid(place: Place, host: str, unit: str) -> int:
    """Process of a unit, as the host numbers it; 0 when it has none."""
    return int(said(place, host, ["systemctl", "show", "-P", "MainPID", unit]) or 0)


def outer_pid(place: Place, host: str, number: int) -> int:
    """Number here, outside, of a process that a host numbers so; 0 when there is none.

    Raises YiyunError when the host does not run.
    """
    container = containers(place.estate.estate).get(qualified(place.estate.estate, host))
    if container is None or not container.pid:
        raise YiyunError(f"{host} is not running", hint="yiyun status")
    space = Path(f"/proc/{container.pid}/ns/pid").readlink()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "ns/pid").readlink() == space and _inner_pid(process) == number:
                return int(process.name)
    return 0


def _inner_pid(process: Path) -> int:
    """A process's number in its innermost namespace, from the line `NSpid: OUTER … INNER`."""
    lines = (process / "status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[-1]) for line in lines if line.startswith("NSpid:"))


def bring_back(place: Place, host: str, unit: str) -> None:
    """Start a unit that is not active. Raises YiyunError."""
    if unit_state(place, host, unit) != "active":
        said(place, host, ["systemctl", "reset-failed", unit])
        systemctl(place, host, "start", unit)


def drop_ins(unit: str) -> str:
    """Folder of a unit's drop-ins below /run: a host that restarts has forgotten them."""
    return f"/run/systemd/system/{unit if '.' in unit else f'{unit}.service'}.d"


def drop_in_script(unit: str, name: str) -> str:
    """Script that gives a unit the drop-in on its standard input; nothing is restarted. Pure."""
    folder = drop_ins(unit)
    return f"mkdir -p {folder}; cat > {folder}/{name}; systemctl daemon-reload"


def remove_drop_in(place: Place, host: str, unit: str, name: str) -> None:
    """Take it away again; absent is fine. Raises YiyunError."""
    folder = drop_ins(unit)
    shell(
        place,
        host,
        f"rm -f {folder}/{name}; rmdir {folder} 2>/dev/null || true; systemctl daemon-reload",
    )


def has_drop_in(place: Place, host: str, unit: str, name: str) -> bool:
    """Whether a drop-in is there. Raises YiyunError when the host does not run."""
    return holds(place, host, ["test", "-e", f"{drop_ins(unit)}/{name}"])


def within(seconds: float, seen: Callable[[], bool]) -> bool:
    """Whether something is seen within some seconds; looked at once at least."""
    deadline = time.monotonic() + seconds
    while not seen():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True
