"""What rotations change on hosts, recorded as `up` does: it is no drift, and `up` need not repeat it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra.drift.records import read_record
from infra.drift.survey import Survey, recorded, started, states_of
from infra.steps.converging import inputs_now

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from infra.estate.model import Estate
    from infra.paths import EstatePaths

Parts = dict[str, frozenset[str]]
"""Host → parts."""


@dataclass
class HostNotes:
    """Records of the hosts that rotations touch. A host that was never recorded is left alone."""

    estate: Estate
    paths: EstatePaths
    progress: Callable[[str], None]
    _found: Survey = field(default_factory=Survey)
    _as_declared: Parts = field(default_factory=Parts)
    """Parts that nothing but a rotation will have changed."""
    _changed: Parts = field(default_factory=Parts)

    def begin(self, hosts: Collection[str]) -> None:
        """Before the store changes. `hosts`: those that use what will be rotated."""
        records = {h.name: read_record(self.paths, h.name) for h in self.estate.hosts}
        records = {host: record for host, record in records.items() if record.state}
        self._found = Survey(records=records)
        self._as_declared, self._changed = {}, {}
        for host, now in self._inputs().items():
            past, running = records[host].inputs, set(records[host].running)
            same = {part for part, digest in now.items() if past.get(part) == digest}
            self._as_declared[host] = frozenset(same - running)
        self._look(host for host in hosts if host in records)

    def changing(self) -> None:
        """After the store changed, before the hosts do: if that is interrupted, `up` knows what was begun."""
        for host, now in self._inputs().items():
            past = self._found.records[host].inputs
            parts = frozenset(p for p in self._as_declared[host] if past[p] != now[p])
            if parts:
                self._look([host])
                self._changed[host] |= parts
        started(self._found, self.paths, {h: parts for h, parts in self._changed.items() if parts})

    def keep(self) -> None:
        """After all went well: the hosts are recorded as they are now."""
        if self._changed:
            self._found.inputs = self._inputs()
            recorded(self._found, self.estate, self.paths, self._changed, {})

    def _look(self, hosts: Iterable[str]) -> None:
        new = [host for host in hosts if host not in self._changed]
        if new:
            self._found.states |= states_of(self.estate, self.paths, new)
            self._changed |= dict.fromkeys(new, frozenset[str]())

    def _inputs(self) -> dict[str, dict[str, str]]:
        if not self._found.records:  # nothing to compare with: no bundle is built for it
            return {}
        now = inputs_now(self.estate, self.paths, self.progress)
        return {host: parts for host, parts in now.items() if host in self._found.records}
