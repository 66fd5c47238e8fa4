"""WireGuard's keys: one path of the line after the other, while traffic goes over another one."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from infra.errors import RefusedError, YiyunError
from infra.reach import run_on
from infra.rotation.model import Phase, Rotator, Values, Work
from infra.trust.material import wireguard_private

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra.rotation.catalogue import Entry

STATE, AVOID = "/run/yiyun-line.json", "/run/yiyun-line.avoid"
DEADLINE_SECONDS = 45.0
ANSWERS = 3
"""So many answers in a row prove a tunnel: its interface was made anew with the new keys only."""


def gateway_of(name: str) -> str:
    """The gateway whose path a key belongs to: `wireguard:GATEWAY` or `wireguard:PEER/GATEWAY`."""
    return name.removeprefix("wireguard:").rpartition("/")[2]


def by_path(entries: Sequence[Entry]) -> list[list[Entry]]:
    """One batch a path."""
    gateways = dict.fromkeys(gateway_of(entry.name) for entry in entries)
    return [[e for e in entries if gateway_of(e.name) == gateway] for gateway in gateways]


def _new_keys(_work: Work, values: Values, entries: Sequence[Entry]) -> None:
    for entry in entries:
        values[entry.name] = wireguard_private()


def _another_path_is_up(work: Work, entries: Sequence[Entry]) -> None:
    gateway, paths = gateway_of(entries[0].name), _state(work)["paths"]
    if not any(path["up"] for path in paths if path["name"] != gateway):
        raise RefusedError(
            f"the line has no other path while the keys of the one over {gateway} are replaced",
            hint="yiyun status; mend the other path first",
        )


def _replace(work: Work, entries: Sequence[Entry]) -> None:
    gateway = gateway_of(entries[0].name)
    _avoid(work, gateway)
    _until(lambda: _state(work)["path"] != gateway, f"traffic does not leave the path over {gateway}")
    work.converge([gateway, _peer(work)])
    seen: list[bool] = []

    def answers() -> bool:
        seen.append(any(p["name"] == gateway and p["rtt_ms"] is not None for p in _state(work)["paths"]))
        return all(seen[-ANSWERS:]) and len(seen) >= ANSWERS

    _until(answers, f"the path over {gateway} does not answer with its new keys")
    _avoid(work, "")


def _avoid(work: Work, gateway: str) -> None:
    command = ["sh", "-c", f"echo {gateway} > {AVOID}" if gateway else f"rm -f {AVOID}"]
    if run_on(work.paths, _peer(work), command).returncode != 0:
        raise YiyunError(f"{_peer(work)} does not answer", hint=f"yiyun logs {_peer(work)}")


def _state(work: Work) -> dict[str, Any]:
    answer = run_on(work.paths, _peer(work), ["cat", STATE])
    if answer.returncode != 0:
        raise YiyunError(f"{_peer(work)} does not say how the line is", hint="yiyun status")
    state: dict[str, Any] = json.loads(answer.stdout)
    return state


def _peer(work: Work) -> str:
    return work.estate.line.peer if work.estate.line else ""


def _until(check: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not check():
        if time.monotonic() > deadline:
            raise YiyunError(f"{otherwise} within {DEADLINE_SECONDS:.0f} s", hint="yiyun status")
        time.sleep(0.3)


TUNNEL = Rotator(
    "tunnel-key",
    (
        Phase(
            "replace",
            "both ends of one path have new keys; traffic goes over the other path",
            _replace,
            _new_keys,
            ("wg-quick of this path restarts at both ends; connections over it begin anew on the other",),
        ),
    ),
    by_path,
    _another_path_is_up,
)
