"""Recorded state + actual state → what differs. Pure.

A state is `{kind: {name: {property: value}}}`, as `collector.py` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Entry: TypeAlias = dict[str, str]
State: TypeAlias = dict[str, dict[str, Entry]]
Action: TypeAlias = Literal["create", "update", "delete"]

KINDS = ("Package", "Unit", "Listener", "User", "Group", "File", "KernelSetting", "Firewall")
"""In the order in which a person wants to read them: causes before what follows from them."""
SETTLED = frozenset({"active", "activating", "reloading", "refreshing"})
"""States in which a unit that should run is on its way or there."""
STARTED_BY_OTHERS = frozenset({"static", "indirect", "generated", "instance", "alias"})
"""Units that others start and stop: that one of them runs, or does not any more, is no drift by itself."""


@dataclass(frozen=True)
class Difference:
    """One thing of a host that is not as recorded. `action`: what would put it right."""

    host: str
    kind: str
    name: str
    action: Action
    declared: Entry = field(default_factory=dict[str, str])
    actual: Entry = field(default_factory=dict[str, str])

    @property
    def properties(self) -> tuple[str, ...]:
        """Names of the properties that differ."""
        names = {*self.declared, *self.actual}
        return tuple(n for n in sorted(names) if self.declared.get(n) != self.actual.get(n))

    @property
    def resource(self) -> str:
        """The name `drift` and `up` call it by."""
        return f"{self.host}:{self.kind}:{self.name}"


def differences(host: str, recorded: State, actual: State) -> tuple[Difference, ...]:
    """What differs on a host, causes first."""
    found = [d for kind in KINDS for d in _of_kind(host, kind, recorded.get(kind, {}), actual.get(kind, {}))]
    return tuple(d for d in found if not _follows(d, found))


def _of_kind(
    host: str, kind: str, recorded: dict[str, Entry], actual: dict[str, Entry]
) -> Iterator[Difference]:
    for name in sorted({*recorded, *actual}):
        declared, now = recorded.get(name), actual.get(name)
        if kind == "Unit":
            declared, now = _units(declared, now)
        if declared == now:
            continue
        if declared is None:
            yield Difference(host, kind, name, "delete", {}, now or {})
        elif now is None:
            yield Difference(host, kind, name, "create", declared, {})
        else:
            yield Difference(host, kind, name, "update", declared, now)


def _units(declared: Entry | None, now: Entry | None) -> tuple[Entry | None, Entry | None]:
    """Both sides of a unit with what is no drift made equal: jobs that ran, units that others start."""
    if now is None and declared is not None and declared["active"] != "active":
        # a unit without a file, such as a finished job: systemd has forgotten it
        gone = declared["enabled"] in {*STARTED_BY_OTHERS, "transient"}
        return (None, None) if gone else (declared, now)
    if now is None or declared is None:
        idle = now is not None and now["active"] != "active" and now["enabled"] not in {"enabled", "masked"}
        return (None, None) if idle else (declared, now)
    wanted, active = declared["active"] == "active", now["active"] in SETTLED
    by_others = declared["enabled"] in STARTED_BY_OTHERS and not (
        wanted and declared["enabled"] in {"instance", "generated"}
    )
    same = wanted == active or by_others
    return declared, {**now, "active": declared["active"]} if same else now


def _follows(one: Difference, all_of_them: list[Difference]) -> bool:
    """True for what is seen only because of another difference: a unit's own file, a user's own group."""
    if one.kind == "Group":
        return any(d.kind == "User" and d.name == one.name and d.action == one.action for d in all_of_them)
    if one.kind == "Listener" and one.action == "create":
        stopped = {d.name for d in all_of_them if d.kind == "Unit" and d.actual.get("active") != "active"}
        return one.declared.get("unit", "") in stopped
    return False


def merged(
    recorded: State, before: State, after: State, named: frozenset[str], keep: frozenset[str] = frozenset()
) -> State:
    """The new record of a host after roles ran there. Never takes over what was changed by hand.

    What already differed `before` the run and is still the same `after` it keeps its old record, unless
    the user asked to keep it (`keep`: `KIND:NAME`), or it is there (or gone) just as a task wants it.
    """
    result: State = {}
    final = settled(after)
    for kind in KINDS:
        old, was, now = recorded.get(kind, {}), before.get(kind, {}), final.get(kind, {})
        entries: dict[str, Entry] = {}
        for name in {*old, *now}:
            by_hand = was.get(name) != old.get(name) and was.get(name) == now.get(name)
            new_or_gone = name not in old or name not in now
            owner = now.get(name, {}).get("unit", name) if kind == "Listener" else name
            takes_over = f"{kind}:{name}" in keep or (new_or_gone and is_named(owner, named))
            chosen = old.get(name) if by_hand and not takes_over else now.get(name)
            if chosen is not None:
                entries[name] = chosen
        result[kind] = entries
    return result


def settled(state: State) -> State:
    """A state with the units that are on their way as if they had arrived: so they are recorded."""
    units = {
        name: {**unit, "active": "active"} if unit["active"] in SETTLED else unit
        for name, unit in state.get("Unit", {}).items()
    }
    return {**state, "Unit": units}


def is_named(name: str, named: frozenset[str]) -> bool:
    """Whether one of a role's words (exact, or a pattern with `*`) means this thing."""
    plain = name.removesuffix(".service")
    return bool({name, plain} & named) or any(
        fnmatch(name, word) for word in named if "*" in word and word.startswith("/")
    )
