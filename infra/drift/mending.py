"""Differences → what `up` does about them: orders for the host itself, and parts of the playbook. Pure.

Roles stay the authority: what a task names is left to its role. What no task names is put back to its
record where that is safe, and what nobody declared is taken away, never with data (decision 0010).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from infra.drift.manifest import parts_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from infra.drift.compare import Difference
    from infra.drift.manifest import Manifest

Order: TypeAlias = dict[str, Any]
"""One order for `mender.py`: `do`, and what that needs."""
OWNERSHIP = frozenset({"owner", "group", "mode"})


@dataclass(frozen=True)
class HostPlan:
    """What puts one host right."""

    orders: tuple[Order, ...] = ()
    parts: frozenset[str] = frozenset()
    left: tuple[Difference, ...] = ()
    """What neither a role nor an order can put right."""
    done_by: dict[str, str] = field(default_factory=dict[str, str])
    """Resource → how it is put right, in words."""


def plan(found: Iterable[Difference], manifest: Manifest, *, removes: bool = True) -> HostPlan:
    """How each difference of one host is put right.

    `removes=False`: nothing is taken away, because a run was interrupted and what it made is not
    recorded yet.
    """
    orders: list[Order] = []
    parts: set[str] = set()
    left: list[Difference] = []
    words: dict[str, str] = {}
    for difference in found:
        by_roles = _parts(difference, manifest)
        mine = _orders(difference, named=bool(by_roles))
        if difference.action == "delete" and not removes:
            mine, by_roles = [], ()
        orders += mine
        parts |= set(by_roles)
        if mine or by_roles:
            roles = [f"runs {', '.join(by_roles)}"] if by_roles else []
            words[difference.resource] = "; ".join([*(_in_words(o) for o in mine), *roles])
        elif difference.action != "delete" or removes:
            left.append(difference)
    extras = [o["name"] for o in orders if o["do"] == "remove-package"]
    for order in orders:
        if order["do"] == "remove-package":
            order["others"] = extras
    return HostPlan(tuple(orders), frozenset(parts), tuple(left), words)


def _parts(difference: Difference, manifest: Manifest) -> tuple[str, ...]:
    if difference.kind == "Listener":
        unit = difference.declared.get("unit") or difference.actual.get("unit", "")
        return tuple(
            sorted(part for part, words in manifest.items() if unit.removesuffix(".service") in words)
        )
    if difference.kind in {"KernelSetting", "Firewall"}:
        return ()
    if difference.action == "delete" and difference.kind != "File":
        return ()
    return parts_for(difference, manifest)


def _orders(difference: Difference, *, named: bool) -> list[Order]:
    maker = {
        "Listener": _listener,
        "Unit": _unit,
        "Package": _package,
        "User": _user,
        "Group": _group,
        "File": _file,
        "KernelSetting": _kernel,
        "Firewall": _firewall,
    }[difference.kind]
    return maker(difference, named)


def _listener(d: Difference, named: bool) -> list[Order]:
    """A listener of a declared unit belongs to its role; any other is ended."""
    return [{"do": "end-listener", "name": d.name}] if d.action == "delete" and not named else []


def _unit(d: Difference, named: bool) -> list[Order]:
    if d.action == "delete":
        return [{"do": "stop-unit", "name": d.name}]
    if d.action == "create":
        return []
    orders: list[Order] = []
    wanted, now = d.declared, d.actual
    if wanted["enabled"] != now["enabled"]:
        orders.append({"do": "unit-file", "name": d.name, "state": wanted["enabled"], "was": now["enabled"]})
    if wanted["active"] != now["active"]:
        runs = wanted["active"] == "active"
        if not runs or not named:
            orders.append({"do": "start-unit" if runs else "stop-unit", "name": d.name})
    return orders


def _package(d: Difference, named: bool) -> list[Order]:
    if d.action == "delete":
        return [{"do": "remove-package", "name": d.name}]
    if named and d.action == "create":
        return []
    return [{"do": "install-package", "name": d.name, "version": d.declared["version"]}]


def _user(d: Difference, named: bool) -> list[Order]:
    if d.action == "delete":
        return [{"do": "remove-user", "name": d.name}]
    if d.action == "update" and d.declared["password"] == "locked" != d.actual["password"]:  # noqa: S105
        return [{"do": "lock-password", "name": d.name}]
    if d.action == "update" and not named and d.properties == ("shell",):
        return [{"do": "set-shell", "name": d.name, "shell": d.declared["shell"]}]
    return []


def _group(d: Difference, named: bool) -> list[Order]:
    if d.action == "delete":
        return [{"do": "remove-group", "name": d.name}]
    if d.action == "update" and d.properties == ("members",):
        return [{"do": "set-members", "name": d.name, "members": d.declared["members"]}]
    return [] if named or d.action == "update" else [{"do": "add-group", "name": d.name, **d.declared}]


def _file(d: Difference, named: bool) -> list[Order]:
    if d.action == "delete":
        return [{"do": "set-aside", "path": d.name}]
    if named:
        return []
    if d.action == "update" and set(d.properties) <= OWNERSHIP:
        return [{"do": "own", "path": d.name, **{n: d.declared[n] for n in sorted(OWNERSHIP)}}]
    if d.declared["kind"] == "link":
        return [{"do": "link", "path": d.name, "target": d.declared["target"]}]
    return []


def _kernel(d: Difference, named: bool) -> list[Order]:  # noqa: ARG001  one signature for all kinds
    if d.action == "delete":
        return []
    return [{"do": "kernel", "name": d.name, "value": d.declared["value"]}]


def _firewall(d: Difference, named: bool) -> list[Order]:  # noqa: ARG001  one signature for all kinds
    return [{"do": "remove-table" if d.action == "delete" else "load-table", "name": d.name}]


def _in_words(order: Order) -> str:
    what = order.get("name") or order.get("path")
    more = {k: v for k, v in order.items() if k not in {"do", "name", "path", "was", "others"}}
    tail = f" ({', '.join(f'{k} {v}' for k, v in more.items())})" if more else ""
    return f"{order['do'].replace('-', ' ')} {what}{tail}"
