"""What `up` finds on the hosts before it converges, what it puts right at once, and what must run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.drift.compare import State, differences, merged, settled
from infra.drift.mending import HostPlan, plan
from infra.drift.records import HostRecord, read_record, write_record
from infra.drift.remote import collect, mend
from infra.errors import YiyunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from infra.drift.compare import Difference
    from infra.drift.manifest import Manifest
    from infra.estate.model import Estate
    from infra.paths import EstatePaths

ROUNDS = 3
"""Taking one thing away shows the next: a package, then its files, then its user."""


@dataclass
class Survey:
    """Findings on all hosts."""

    states: dict[str, State] = field(default_factory=dict[str, State])
    records: dict[str, HostRecord] = field(default_factory=dict[str, HostRecord])
    inputs: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    """Host → part → hash of inputs, as they are now."""
    plans: dict[str, HostPlan] = field(default_factory=dict[str, HostPlan])
    mended: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """What was put right without a role: `host`, `what`, `ok`, `said`."""
    keep: frozenset[str] = frozenset()
    """Resources (`HOST:KIND:NAME`) the user asked to take over as they are."""

    def parts_to_run(self, host: str) -> frozenset[str]:
        """Parts whose inputs changed, that were interrupted, or whose result is not as recorded."""
        record = self.records[host]
        now = self.inputs.get(host, {})
        changed = {part for part, digest in now.items() if record.inputs.get(part) != digest}
        wanted = changed | set(record.running) | self.plans.get(host, HostPlan()).parts
        return frozenset(wanted & set(now))

    @property
    def left(self) -> tuple[Difference, ...]:
        """What is not as recorded now: after the converge, what neither a role nor an order put right."""
        return tuple(
            d
            for host, state in self.states.items()
            if self.records[host].state
            for d in differences(host, self.records[host].state, state)
        )


def survey(
    estate: Estate,
    paths: EstatePaths,
    inputs: dict[str, dict[str, str]],
    progress: Callable[[str], None],
    *,
    states: Mapping[str, State] | None = None,
    keep: frozenset[str] = frozenset(),
) -> Survey:
    """Look at every host, put right at once what no role names, and say what must run.

    `states`: what the hosts were a moment ago, if somebody has looked already.
    Raises YiyunError naming a host that does not answer.
    """
    found = Survey(inputs=inputs, keep=keep)
    found.records = {h.name: read_record(paths, h.name) for h in estate.hosts}
    known = [h for h, r in found.records.items() if r.state]
    if known and states is None:
        progress(f"looking at {len(known)} hosts")
    found.states = dict(states) if states is not None else states_of(estate, paths, known)
    for host in found.states:
        if _made_anew(found.records[host].state, found.states[host]):
            found.records[host] = HostRecord()
    for _ in range(ROUNDS):
        found.plans = {h: _plan(h, found) for h in found.states}
        orders = {h: p.orders for h, p in found.plans.items() if p.orders}
        if not orders:
            break
        progress(f"putting right {', '.join(orders)}")
        for host, results in mend(paths, orders).items():
            found.mended += [{"host": host, **_told(r)} for r in results]
        found.states |= states_of(estate, paths, orders)
    found.plans = {h: _plan(h, found) for h in found.states}
    return found


def recorded(
    survey_: Survey,
    estate: Estate,
    paths: EstatePaths,
    ran: Mapping[str, frozenset[str]],
    named: Mapping[str, Manifest],
) -> None:
    """After parts ran well: record what the hosts are now. `ran`: host → parts; `named`: what they named."""
    after = states_of(estate, paths, ran)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for host, parts in ran.items():
        record = survey_.records[host]
        names = {**record.names, **named.get(host, {})}
        words = frozenset[str]().union(*names.values())
        keep = frozenset(k.partition(":")[2] for k in survey_.keep if k.startswith(f"{host}:"))
        state = (
            merged(record.state, survey_.states.get(host, {}), after[host], words, keep)
            if record.state and not record.running
            else settled(after[host])
        )
        survey_.records[host] = HostRecord(
            inputs={**record.inputs, **{p: survey_.inputs[host][p] for p in parts}},
            names=names,
            running=sorted(set(record.running) - parts),
            state=state,
            recorded=now,
        )
        write_record(paths, host, survey_.records[host])
        survey_.states[host] = after[host]


def started(survey_: Survey, paths: EstatePaths, ran: Mapping[str, frozenset[str]]) -> None:
    """Note that parts begin to run: what they make is not drift, should this run be interrupted."""
    for host, parts in ran.items():
        noted = replace(survey_.records[host], running=sorted({*survey_.records[host].running, *parts}))
        write_record(paths, host, noted)


def keep_by_hand(survey_: Survey, paths: EstatePaths) -> int:
    """Take over into the records what the user asked to keep. Returns how many things that were."""
    kept = 0
    for wanted in sorted(survey_.keep):
        host, kind, name = [*wanted.split(":", 2), "", ""][:3]
        record, state = survey_.records.get(host), survey_.states.get(host)
        if record is None or state is None:
            continue
        entry, entries = state.get(kind, {}).get(name), record.state.setdefault(kind, {})
        if entry != entries.get(name):
            kept += 1
            if entry is None:
                entries.pop(name, None)
            else:
                entries[name] = entry
            write_record(paths, host, record)
    return kept


def _plan(host: str, found: Survey) -> HostPlan:
    record = found.records[host]
    if not record.state:
        return HostPlan()
    listed = differences(host, record.state, found.states[host])
    listed = tuple(d for d in listed if d.resource not in found.keep)
    return plan(listed, record.names, removes=not record.running)


def _made_anew(recorded_state: State, actual: State) -> bool:
    """True when this is another machine than the one that was recorded."""
    before, now = (s.get("File", {}).get("/etc/machine-id", {}) for s in (recorded_state, actual))
    return before.get("sha256") != now.get("sha256")


def states_of(estate: Estate, paths: EstatePaths, hosts: Iterable[str]) -> dict[str, State]:
    """What these hosts are made of. Raises YiyunError naming one that does not answer."""
    wanted = [h for h in estate.hosts if h.name in set(hosts)]
    found: dict[str, State] = {}
    answers = collect(paths, wanted)
    silent = [h for h in wanted if answers[h.name] is None]
    answers |= collect(paths, silent)  # once more: a busy machine is no broken host
    for host, state in answers.items():
        if state is None:
            raise YiyunError(f"{host} does not say what it is made of", hint=f"yiyun logs {host}", where=host)
        found[host] = state
    return found


def _told(result: dict[str, Any]) -> dict[str, Any]:
    order = result["order"]
    what = f"{order['do'].replace('-', ' ')} {order.get('name') or order.get('path')}"
    return {"what": what, "ok": result["ok"], "said": result["said"]}
