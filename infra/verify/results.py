"""What verification found, as the JSON contract has it, and the last probe kept for `why` and `status`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from infra.trust.store import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from infra.verify.verdicts import Verdict

Scope = Literal["fabric", "ends"]
"""fabric: the routers' counters gave the verdicts. ends: only the hosts could be asked, so a host's own firewall
may hide an open fabric."""


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
    verdicts: dict[str, str] = field(default_factory=dict[str, str])
    """Every verdict by `verdict_key`."""

    @property
    def ok(self) -> bool:
        """True when the matrix is as declared."""
        return not self.unexpected_open and not self.unexpected_closed

    def as_json(self) -> dict[str, Any]:
        """The `probe` object of the JSON contract; the single verdicts stay in the saved file."""
        return {key: value for key, value in asdict(self).items() if key != "verdicts"}


def verdict_key(source: str, destination: str, port: int, protocol: str, via: str = "") -> str:
    """Name of one probe in the saved result."""
    return f"{source}{f' via {via}' if via else ''} → {destination} {port}/{protocol}"


def save_probe(result: ProbeResult, path: Path) -> None:
    """Keep a probe's result, replacing the one before."""
    write_private(path, json.dumps(asdict(result), ensure_ascii=False, indent=1).encode())


def load_probe(path: Path) -> ProbeResult | None:
    """The last probe's result, or None when there is none that can be read."""
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for name in ("unexpected_open", "unexpected_closed"):
            data[name] = tuple(Unexpected(**item) for item in data[name])
        return ProbeResult(**{**data, "undecided": tuple(data["undecided"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


@dataclass(frozen=True, order=True)
class Failure:
    """A check that did not hold."""

    check: str
    host: str
    message: str


@dataclass(frozen=True)
class SuiteResult:
    """Outcome of the roles' suites."""

    passed: int
    failed: int
    skipped: int
    failures: tuple[Failure, ...]
    seconds: float = 0.0


@dataclass(frozen=True)
class VerifyResult:
    """Outcome of `yiyun verify`: the suites, the probe, and whether both hold."""

    suites: SuiteResult | None
    probe: ProbeResult | None

    @property
    def ok(self) -> bool:
        """True when nothing failed and the matrix has no difference."""
        return (self.suites is None or not self.suites.failed) and (self.probe is None or self.probe.ok)

    def as_json(self) -> dict[str, Any]:
        """The fields of `verify` in the JSON contract."""
        suites, probe = self.suites, self.probe
        checks = {
            "passed": suites.passed if suites else 0,
            "failed": suites.failed if suites else 0,
            "skipped": suites.skipped if suites else 0,
        }
        failures = [asdict(f) for f in suites.failures] if suites else []
        if probe is not None:
            checks["passed" if probe.ok else "failed"] += 1
            found = len(probe.unexpected_open), len(probe.unexpected_closed)
            if not probe.ok:
                message = f"{found[0]} unexpectedly open, {found[1]} unexpectedly closed"
                failures.append(asdict(Failure("probe", "", message)))
        return {
            "checks": checks,
            "failures": failures,
            "probe": probe.as_json() if probe is not None else None,
        }
