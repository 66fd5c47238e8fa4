"""The source `host`: every host beside the record of its last good converge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.drift.compare import differences
from infra.drift.mending import HostPlan, plan
from infra.drift.records import read_record
from infra.drift.remote import collect
from infra.drift.sources import Found
from infra.engine.changes import Change
from infra.provider.differences import PropertyChange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.drift.compare import Difference, State
    from infra.drift.records import HostRecord
    from infra.drift.sources import Look


class HostDrift:
    """All hosts, in parallel, by SSH."""

    name = "host"

    def find(self, look: Look) -> Found:
        """What differs on every host."""
        look.progress(f"looking at {len(look.estate.hosts)} hosts")
        states = collect(look.paths, look.estate.hosts)
        records = {host: read_record(look.paths, host) for host in states}
        return Found(tuple(c for h, state in states.items() for c in changes_of(h, records[h], state)))


def changes_of(host: str, record: HostRecord, actual: State | None) -> Iterator[Change]:
    """What differs on one host, as changes. Pure. `actual`: None when it does not answer."""
    if actual is None:
        yield _about_host(host, "answers", "yiyun up (a lab: yiyun lab up), or yiyun logs")
    elif not record.state:
        yield _about_host(host, "recorded", "yiyun up: no converge has recorded this host yet")
    else:
        found = differences(host, record.state, actual)
        mending = plan(found, record.names, removes=not record.running)
        yield from (_change(d, mending) for d in found)


def _change(difference: Difference, mending: HostPlan) -> Change:
    d = difference
    properties = tuple(PropertyChange(n, d.declared.get(n), d.actual.get(n)) for n in d.properties)
    return Change(d.resource, d.kind, d.action, properties, "host", remedy(d, mending))


def remedy(difference: Difference, mending: HostPlan) -> str:
    """What puts one difference right."""
    how = mending.done_by.get(difference.resource)
    if how:
        return f"yiyun up: {how}"
    return f"by hand, for no role names it; to take it over: yiyun up --keep '{difference.resource}'"


def _about_host(host: str, what: str, how: str) -> Change:
    return Change(f"host-{host}", "Host", "update", (PropertyChange(what, "yes", "no"),), "host", how)
