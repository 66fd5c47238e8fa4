"""The database tier of an estate, and one look at all of it through its hosts' own programs."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from infra.errors import BadInputError, YiyunError
from infra.estate.addresses import host_addresses
from infra.services.data import MYSQL, MYSQL_HEALTH
from runbooks.database.picture import Member, Picture, Router, member_of, router_of
from runbooks.database.session import sessions, together

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from infra.estate.model import Estate
    from infra.paths import EstatePaths


class Hand(Protocol):
    """A program on a host that can be asked (`runbooks.database.session.Session`)."""

    def ask(self, what: str, *, seconds: float = ..., **arguments: Any) -> dict[str, Any]:
        """One question. Raises YiyunError."""
        ...


@dataclass(frozen=True)
class Tier:
    """Names of members and routers in the estate's order, and the addresses that sessions come from."""

    members: tuple[str, ...]
    routers: tuple[str, ...]
    clients: tuple[str, ...]

    @classmethod
    def of(cls, estate: Estate) -> Tier:
        """The tier of an estate. Raises BadInputError for one without a database."""
        addresses = host_addresses(estate)
        members, apps = estate.hosts_with("db"), estate.hosts_with("app")
        if not members or not apps:
            raise BadInputError("this estate has no database and its routers", hint="roles db and app")
        return cls(
            tuple(h.name for h in members),
            tuple(h.name for h in apps),
            tuple(str(addresses[h.name]) for h in apps),
        )


@dataclass(frozen=True)
class Hands:
    """What is open to the tier. `silent`: host → why it cannot be asked."""

    tier: Tier
    members: Mapping[str, Hand]
    routers: Mapping[str, Hand]
    silent: Mapping[str, str]

    def look(self) -> Picture:
        """The tier as it is now. What does not answer is seen as such."""
        asked = {n: partial(h.ask, "look", clients=list(self.tier.clients)) for n, h in self.members.items()}
        asked |= {n: partial(h.ask, "look") for n, h in self.routers.items()}
        said = together(asked)
        members = [self._member(name, said.get(name)) for name in self.tier.members]
        routers = tuple(self._router(name, said.get(name)) for name in self.tier.routers)
        return Picture(tuple(self._compared(members)), routers)

    def _member(self, name: str, said: Any) -> Member:
        if isinstance(said, dict):
            return member_of(name, said)
        return Member(name, problem=_why(said, self.silent.get(name, "")))

    def _router(self, name: str, said: Any) -> Router:
        if isinstance(said, dict):
            return router_of(name, said)
        return Router(name, problem=_why(said, self.silent.get(name, "")))

    def _compared(self, members: list[Member]) -> list[Member]:
        """With what each lacks and what only it has; GTID sets are MySQL's own to compare."""
        answering = [m for m in members if m.answers]
        if not answering:
            return members
        sets = {m.name: ",".join(s for s in (m.executed, m.received) if s) for m in answering}
        for judge in answering:  # one may have gone in this moment: it is restarted, say
            try:
                found = self.members[judge.name].ask("compare", sets=sets)
            except YiyunError:
                continue
            missing, only = found["missing"], found["only"]
            return [
                replace(m, missing=missing[m.name], only=only[m.name]) if m.answers else m for m in members
            ]
        return members


@contextmanager
def hands(estate: Estate, paths: EstatePaths) -> Generator[Hands]:
    """Sessions with every member's and every router's host, opened at once."""
    tier = Tier.of(estate)
    member = {"health_port": MYSQL_HEALTH.port("health").number}
    router = {"port": MYSQL.port("mysql").number}
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        **dict.fromkeys(tier.members, ("member", member)),
        **dict.fromkeys(tier.routers, ("router", router)),
    }
    with sessions(paths, wanted) as (opened, failed):
        yield Hands(
            tier,
            {n: s for n, s in opened.items() if n in tier.members},
            {n: s for n, s in opened.items() if n in tier.routers},
            failed,
        )


def _why(said: object, otherwise: str) -> str:
    return said.message if isinstance(said, YiyunError) else otherwise
