"""How the probe reaches hosts and fabric: in a lab directly and with counters, elsewhere by SSH without."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from infra.errors import BadInputError, YiyunError
from infra.reach import ssh_argv
from infra.verify.channel import agent_argv
from infra.verify.verdicts import Tap

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from infra.verify.results import Scope
    from infra.verify.verdicts import Key

CONNECT_S = 20
"""More than people's own SSH connections get: the probe makes several at once."""


class Reaching(Protocol):
    """What the probe needs of the world."""

    @property
    def scope(self) -> Scope:
        """Whether the fabric is counted, or only the ends are asked."""
        ...

    def argv(self, host: str) -> list[str]:
        """The command that starts the agent inside a host."""
        ...

    def reset(self) -> None:
        """Empty the counters before a round."""
        ...

    def read(self) -> Mapping[str, Tap] | None:
        """Counters of the round by network, or None where there are none."""
        ...

    def deliver(self, keys: Mapping[tuple[str, str], frozenset[Key]]) -> Mapping[str, Tap] | None:
        """Put first packets on hosts' wires past the fabric; what the hosts counted, or None if we cannot.

        `keys`: by (network, host).
        """
        ...


@dataclass(frozen=True)
class BySsh:
    """Hosts through their bastions; nothing is known of the fabric."""

    paths: EstatePaths
    scope: Scope = "ends"

    def argv(self, host: str) -> list[str]:
        """OpenSSH, with the estate's configuration and pinned keys."""
        program, *rest = ssh_argv(self.paths, host, agent_argv())
        return [program, "-o", f"ConnectTimeout={CONNECT_S}", *rest]

    def reset(self) -> None:
        """There is nothing to empty."""

    def read(self) -> None:
        """There are no counters."""

    def deliver(self, keys: Mapping[tuple[str, str], frozenset[Key]]) -> None:
        """Only whoever holds the fabric can get past it."""


@dataclass(frozen=True)
class InLab:
    """A lab on this machine: its hosts are entered past their network, its routers have taps."""

    paths: EstatePaths
    processes: Mapping[str, int]
    """Host → its first process on this machine."""
    existing: frozenset[str] = frozenset()
    """Hosts that the lab did not make: reached by SSH, as everywhere."""
    scope: Scope = "fabric"

    def argv(self, host: str) -> list[str]:
        """Into the host's namespaces. Raises YiyunError when it is not running."""
        from infra.drivers.lab.hosts import enter_command

        if host in self.existing:
            return BySsh(self.paths).argv(host)
        pid = self.processes.get(host)
        if pid is None:
            raise YiyunError(f"{host} is not running", hint=f"yiyun lab up --estate {self.paths.estate}")
        return enter_command(pid, agent_argv())

    def reset(self) -> None:
        """Put empty taps in place."""
        from infra.drivers.lab.taps import install_taps

        install_taps(self.paths)

    def read(self) -> Mapping[str, Tap]:
        """What the taps counted since they were emptied."""
        from infra.drivers.lab.taps import read_taps

        return {router: Tap(seen, passed) for router, (seen, passed) in read_taps(self.paths).items()}

    def deliver(self, keys: Mapping[tuple[str, str], frozenset[Key]]) -> Mapping[str, Tap]:
        """By packet sockets of the routers; taps in the hosts' namespaces count."""
        from infra.drivers.lab.inject import inject_all

        found = inject_all(self.paths.estate, keys)
        return {host: Tap(seen, passed) for host, (seen, passed) in found.items()}


@contextmanager
def reaching(estate: Estate, paths: EstatePaths, scope: Scope | None = None) -> Generator[Reaching]:
    """The way to an estate's hosts. In a lab the taps are taken out at the end, whatever happens.

    Raises BadInputError when the fabric of an estate that is not a lab is asked for.
    """
    if scope == "fabric" and estate.provider != "lab":
        raise BadInputError("only a lab's fabric can be counted", hint="probe by the ends alone")
    if estate.provider != "lab" or scope == "ends":
        yield BySsh(paths)
        return
    from infra.drivers.lab.hosts import containers
    from infra.drivers.lab.names import prefix
    from infra.drivers.lab.taps import remove_taps

    head = prefix(paths.estate)
    running = {
        n.removeprefix(head): c.pid for n, c in containers(paths.estate).items() if c.state == "running"
    }
    try:
        yield InLab(paths, running, frozenset(h.name for h in estate.hosts if h.exists))
    finally:
        remove_taps(paths)
