"""The all-pairs probe: every ordered pair of hosts, every declared port and a sample of others, TCP and UDP.

Temporary listeners tell "permitted, nobody listens" from "denied"; the routers' counters tell who dropped
what, so that a host's own firewall cannot hide an open fabric.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from infra.estate.addresses import line_addresses, tunnel_addresses
from infra.estate.endpoints import addresses_of
from infra.estate.matrix import expected_matrix, source_address
from infra.estate.plan import network_of
from infra.verify.behind import let_in, past_the_fabric
from infra.verify.channel import Agent
from infra.verify.declared import rule_text
from infra.verify.reaching import reaching
from infra.verify.results import ProbeResult, Unexpected, save_probe, verdict_key
from infra.verify.verdicts import Key, Tap, Try, Verdict, agrees, judge, undecided

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping

    from infra.estate.matrix import Check, Matrix
    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from infra.verify.reaching import Reaching
    from infra.verify.results import Scope

DEADLINE_S = 0.9
"""Under Linux's first retransmission of a SYN (1 s): one packet a try."""
STARTING_TOGETHER = 4
"""Agents started at a time: each may be a new SSH connection through the same bastion."""
SECOND_DEADLINE_S = 2.5
"""A surprise is tried again with more patience before it is reported: hosts share processors."""
ROUNDS: tuple[frozenset[str], ...] = (
    frozenset({"fabric", "gateway", "apart", "managed"}),
    frozenset({"line"}),
)
"""Apart, because both carry a gateway's line address."""


def probe(
    estate: Estate,
    paths: EstatePaths,
    *,
    seed: int = 0,
    scope: Scope | None = None,
    only: Callable[[Check], bool] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> ProbeResult:
    """Probe the estate, keep the result in its state, and return it. Changes nothing that lasts.

    `scope`: `ends` leaves the fabric's counters alone (the only way where the fabric is not ours).
    `only`: probes a part of the matrix. Raises YiyunError when a host cannot be used.
    """
    matrix = expected_matrix(estate, seed)
    checks = tuple(c for c in matrix.checks if only is None or only(c))
    began = time.monotonic()
    with reaching(estate, paths, scope) as reach:
        run = _Run(estate, matrix, reach, progress)
        verdicts, line = asyncio.run(run.all(checks))
        behind = second_wall(estate, reach, checks, progress)
    result = summary(estate, matrix, verdicts, reach.scope, line, time.monotonic() - began, behind)
    save_probe(result, paths.last_probe)
    return result


@dataclass(frozen=True)
class Behind:
    """What hosts' own firewalls did with what was put on their wires past the fabric."""

    sent: int = 0
    passed: tuple[Check, ...] = ()
    lost: tuple[Check, ...] = ()
    """Never arrived, so nothing was proved."""


def second_wall(
    estate: Estate, reach: Reaching, checks: Iterable[Check], progress: Callable[[str], None]
) -> Behind:
    """Ask every host's own firewall what the fabric's verdicts hide."""
    wanted = past_the_fabric(estate, checks)
    progress(f"second wall: {sum(map(len, wanted.values()))} first packets past the fabric")
    taps = reach.deliver({place: frozenset(keys) for place, keys in wanted.items()})
    if taps is None:
        return Behind()
    passed, lost = let_in(wanted, taps)
    return Behind(sum(map(len, wanted.values())), tuple(passed), tuple(lost))


def summary(
    estate: Estate,
    matrix: Matrix,
    verdicts: Mapping[Check, Verdict],
    scope: Scope,
    line: str,
    seconds: float,
    behind: Behind | None = None,
) -> ProbeResult:
    """Verdicts → the differences from what is declared. Pure but for the clock."""
    behind = behind or Behind()

    def unexpected(check: Check, verdict: Verdict) -> Unexpected:
        expected: Literal["permitted", "denied"] = "permitted" if check.permitted else "denied"
        rule = rule_text(estate, check)
        return Unexpected(
            check.source, check.destination, check.port, check.protocol, verdict, expected, rule, check.via
        )

    surprises: list[tuple[Check, Verdict]] = [(c, v) for c, v in verdicts.items() if not agrees(c, v)]
    named = {verdict_key(c.source, c.destination, c.port, c.protocol, c.via): v for c, v in verdicts.items()}
    return ProbeResult(
        scope=scope,
        pairs=len({(c.source, c.destination) for c in verdicts}),
        ports=len(matrix.ports),
        probes=len(verdicts),
        seed=matrix.seed,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        line=line,
        unexpected_open=tuple(sorted(unexpected(c, v) for c, v in surprises if not c.permitted)),
        unexpected_closed=tuple(sorted(unexpected(c, v) for c, v in surprises if c.permitted)),
        undecided=tuple(
            verdict_key(c.source, c.destination, c.port, c.protocol, c.via)
            for c in (*(c for c, v in verdicts.items() if undecided(c, v)), *behind.lost)
        ),
        unguarded=tuple(h.name for h in estate.hosts if h.exists),
        walls=behind.sent,
        unexpected_let_in=tuple(sorted(unexpected(c, "let in by the host") for c in behind.passed)),
        verdicts=dict(named),
    )


class _Run:
    """One run of the probe: agents on all hosts, rounds of tries, verdicts."""

    def __init__(
        self, estate: Estate, matrix: Matrix, reach: Reaching, progress: Callable[[str], None]
    ) -> None:
        self.estate, self.matrix, self.reach, self.progress = estate, matrix, reach, progress
        self.addresses = {name: str(a) for name, a in addresses_of(estate).items()}
        self.hosts = {h.name for h in estate.hosts}
        self.line = ""

    async def all(self, checks: tuple[Check, ...]) -> tuple[dict[Check, Verdict], str]:
        """Verdicts of all checks, surprises tried twice; and the gateway that carries the line."""
        destinations = {c.destination for c in checks} & self.hosts
        used = {c.sender for c in checks} | destinations
        async with self._agents(sorted(used)) as agents:
            self.line = await self._active_gateway(agents)
            await self._listen(agents, destinations)
            verdicts = await self._rounds(agents, checks, DEADLINE_S)
            surprises = [c for c, v in verdicts.items() if not agrees(c, v)]
            if surprises:
                self.progress(f"{len(surprises)} surprises, trying them again")
                verdicts |= await self._rounds(agents, surprises, SECOND_DEADLINE_S)
        return verdicts, self.line

    @asynccontextmanager
    async def _agents(self, names: list[str]) -> AsyncGenerator[dict[str, Agent]]:
        self.progress(f"probing from {len(names)} hosts")
        started: dict[str, Agent] = {}

        turn = asyncio.Semaphore(STARTING_TOGETHER)

        async def start(name: str) -> None:
            async with turn:
                started[name] = await Agent.start(name, self.reach.argv(name))

        try:
            await asyncio.gather(*(start(name) for name in names))
            yield started
        finally:
            await asyncio.gather(*(agent.stop() for agent in started.values()))

    async def _listen(self, agents: dict[str, Agent], destinations: set[str]) -> None:
        ports = self.matrix.ports
        await asyncio.gather(
            *(agents[name].listen(self.addresses[name], ports, ports) for name in sorted(destinations))
        )

    async def _active_gateway(self, agents: dict[str, Agent]) -> str:
        line = self.estate.line
        if line is None or line.peer not in agents or not self.estate.cloud_hosts:
            return ""
        inside = self.addresses[self.estate.cloud_hosts[0].name]
        source = await agents[line.peer].source_for(inside)
        ends = tunnel_addresses(self.estate)
        return next((name for name, (_, peer) in ends.items() if str(peer) == source), "")

    async def _rounds(
        self, agents: dict[str, Agent], checks: Iterable[Check], deadline_s: float
    ) -> dict[Check, Verdict]:
        verdicts: dict[Check, Verdict] = {}
        for number, routes in enumerate(ROUNDS, 1):
            chosen = [c for c in checks if c.route in routes]
            if not chosen:
                continue
            self.progress(f"round {number}: {len(chosen)} probes")
            self.reach.reset()
            ends = await self._send(agents, chosen, deadline_s)
            taps = self.reach.read()
            verdicts |= {c: judge(c, self._key(c), end, self._tap(c, taps)) for c, end in ends.items()}
        return {check: verdicts[check] for check in checks}

    async def _send(
        self, agents: dict[str, Agent], checks: list[Check], deadline_s: float
    ) -> dict[Check, str]:
        by_sender: dict[str, list[Check]] = {}
        for check in checks:
            by_sender.setdefault(check.sender, []).append(check)

        async def tries(sender: str, own: list[Check]) -> list[tuple[Check, str]]:
            wanted = [
                Try(self.addresses[c.destination], c.port, c.protocol, self._key(c)[0] if c.via else "")
                for c in own
            ]
            return list(zip(own, await agents[sender].probe(wanted, deadline_s), strict=True))

        answered = await asyncio.gather(*(tries(sender, own) for sender, own in by_sender.items()))
        return {check: end for part in answered for check, end in part}

    def _key(self, check: Check) -> Key:
        source = source_address(self.estate, check)
        if check.route == "line" and self.line:
            source = str(line_addresses(self.estate)[self.line])
        return source, self.addresses[check.destination], check.protocol, check.port

    def _tap(self, check: Check, taps: Mapping[str, Tap] | None) -> Tap | None:
        """Counters of the router that decides: the cloud's for what the line brings, else the source's."""
        if taps is None:
            return None
        if check.route in {"line", "gateway"}:
            return taps[self.estate.vpc.name]
        return taps[network_of(self.estate, self.estate.host(check.source))]
