"""What verification found, as the JSON contract has it, and the last probe kept for `why` and `status`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter, ValidationError

from infra.trust.store import write_private
from infra.verify.verdicts import Verdict  # noqa: TC001  pydantic reads it at run time

if TYPE_CHECKING:
    from pathlib import Path


Scope = Literal["fabric", "ends"]
"""fabric: the routers' counters gave the verdicts. ends: only the hosts could be asked, so a host's own
firewall may hide an open fabric."""


@dataclass(frozen=True, order=True)
class Unexpected:
    """A difference between what the estate declares and what is."""

    source: str
    destination: str
    port: int
    protocol: str
    verdict: Verdict
    expected: Literal["permitted", "denied"]
    rule: str
    """The declared rule that should permit it, or that nothing declares it."""
    via: str = ""
    """The gateway of the line that it was sent from, for its last leg."""


@dataclass(frozen=True)
class ProbeResult:
    """Outcome of the all-pairs probe."""

    scope: Scope
    pairs: int
    ports: int
    """Port numbers tried at each pair, by TCP and by UDP each."""
    probes: int
    seed: int
    at: str
    """RFC 3339."""
    seconds: float
    line: str
    """Gateway that carried the line, or empty when no tunnel was up."""
    unexpected_open: tuple[Unexpected, ...]
    unexpected_closed: tuple[Unexpected, ...]
    undecided: tuple[str, ...] = ()
    """Denied probes that their own source stopped, so that the fabric was never asked."""
    unguarded: tuple[str, ...] = ()
    """Hosts that exist already: between two of them nothing of ours can deny, so only what is permitted is
    probed; of the rest the other end's security group decided."""
    walls: int = 0
    """First packets put on hosts' wires past the fabric, none of which the host's own firewall may let in."""
    unexpected_let_in: tuple[Unexpected, ...] = ()
    """Those it did let in: what an open fabric would expose."""
    verdicts: dict[str, str] = field(default_factory=dict[str, str])
    """Every verdict by `verdict_key`."""

    @property
    def ok(self) -> bool:
        """True when the matrix is as declared."""
        return not self.differences

    @property
    def differences(self) -> tuple[Unexpected, ...]:
        """Everything that is not as declared."""
        return (*self.unexpected_open, *self.unexpected_closed, *self.unexpected_let_in)

    def as_json(self) -> dict[str, Any]:
        """The `probe` object of the JSON contract; the single verdicts stay in the saved file."""
        return {key: value for key, value in asdict(self).items() if key != "verdicts"}


_SAVED = TypeAdapter(ProbeResult)


def verdict_key(source: str, destination: str, port: int, protocol: str, via: str = "") -> str:
    """Name of one probe in the saved result."""
    return f"{source}{f' via {via}' if via else ''} → {destination} {port}/{protocol}"


def save_probe(result: ProbeResult, path: Path) -> None:
    """Keep a probe's result, replacing the one before."""
    write_private(path, json.dumps(asdict(result), ensure_ascii=False, indent=1).encode())


def load_probe(path: Path) -> ProbeResult | None:
    """The last probe's result, or None when there is none that can be read."""
    try:
        return _SAVED.validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


@dataclass(frozen=True, order=True)
class Failure:
    """A check that did not hold."""

    check: str
    host: str
    message: str

    def __str__(self) -> str:
        return f"{self.check}{f' on {self.host}' if self.host else ''}: {self.message}"


@dataclass(frozen=True)
class SuiteResult:
    """Outcome of the roles' suites."""

    passed: int
    failed: int
    skipped: int
    failures: tuple[Failure, ...]
    seconds: float = 0.0
    skips: tuple[Failure, ...] = ()
    """Checks that this estate cannot answer, each with its reason."""
    clauses: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    """Outcomes by the standard's control point that a check stands for."""


@dataclass(frozen=True)
class VerifyResult:
    """Outcome of `yiyun verify`: the suites, the probe, and whether both hold."""

    suites: SuiteResult | None
    probe: ProbeResult | None

    @property
    def ok(self) -> bool:
        """True when nothing failed and the matrix has no difference."""
        return (self.suites is None or not self.suites.failed) and (self.probe is None or self.probe.ok)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Everything that did not hold, each difference of the probe included."""
        found = list(self.suites.failures) if self.suites else []
        for item in self.probe.differences if self.probe else ():
            title = f"probe: {item.source}{f' via {item.via}' if item.via else ''} → {item.destination}"
            message = f"expected {item.expected}, found {item.verdict}; {item.rule}"
            found.append(Failure(f"{title} {item.port}/{item.protocol}", "", message))
        return tuple(found)

    @property
    def counts(self) -> dict[str, int]:
        """Checks passed, failed and skipped; the probe counts as one check an ordered pair of hosts."""
        suites, probe = self.suites, self.probe
        differences = probe.differences if probe else ()
        wrong = len({(d.source, d.destination) for d in differences})
        return {
            "passed": (suites.passed if suites else 0) + (probe.pairs - wrong if probe else 0),
            "failed": (suites.failed if suites else 0) + wrong,
            "skipped": suites.skipped if suites else 0,
        }

    @property
    def summary(self) -> str:
        """The result in a line."""
        parts: list[str] = []
        if self.suites:
            s = self.suites
            parts.append(f"{s.passed} checks passed, {s.failed} failed, {s.skipped} skipped")
        if self.probe:
            p = self.probe
            how = "" if p.scope == "fabric" else " (by the ends alone)"
            found = len(p.differences)
            walls = f", {p.walls} past the fabric" if p.walls else ""
            parts.append(
                f"{p.probes} probes between {p.pairs} pairs of hosts{how}{walls}: {found} differences"
            )
            if p.unguarded:
                parts.append(f"no security group guards {', '.join(p.unguarded)} (existing)")
        return "; ".join(parts) or "nothing was asked for"

    def as_json(self) -> dict[str, Any]:
        """The fields of `verify` in the JSON contract."""
        return {
            "checks": self.counts,
            "failures": [asdict(failure) for failure in self.failures],
            "skips": [asdict(skip) for skip in self.suites.skips] if self.suites else [],
            "standard": self.suites.clauses if self.suites else {},
            "probe": self.probe.as_json() if self.probe is not None else None,
        }
