"""Every secret, certificate and key of an estate: what it is, who uses it. Pure; never a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.estate.addresses import elastic_name_of_balancer
from infra.services.catalogue import SERVICES, services_of
from infra.trust.material import OPERATOR_KEY, ROOT, gateway_key_name, peer_key_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra.estate.model import Estate

HOST_KEY = "ssh-host:"
RECOVERY_KEY = "recovery-key"
ENGINE_PASSPHRASE = "engine-passphrase"  # noqa: S105  a name
OBJECT_STORE = "object-store:"


@dataclass(frozen=True)
class Entry:
    """One secret: its name, its kind, the services and hosts that use it."""

    name: str
    kind: str
    services: tuple[str, ...]
    hosts: tuple[str, ...]


def catalogue(estate: Estate, stored: Iterable[str] = ()) -> tuple[Entry, ...]:
    """All entries, sorted by kind and name. `stored`: names in the store, so that none is left out."""
    known = {entry.name: entry for entry in _known(estate)}
    for name in stored:
        known.setdefault(name, Entry(name, _kind_by_name(name), (), ()))
    return tuple(sorted(known.values(), key=lambda e: (e.kind, e.name)))


def _known(estate: Estate) -> Iterator[Entry]:
    everywhere = tuple(h.name for h in estate.hosts)
    yield from _shared(estate)
    yield from _own(estate)
    yield from _certificates(estate)
    yield from _tunnels(estate)
    yield Entry(ROOT, "authority", (), everywhere)
    yield Entry(OPERATOR_KEY, "operator-key", ("sshd",), everywhere)
    for host in everywhere:
        yield Entry(f"{HOST_KEY}{host}", "ssh-host-key", ("sshd",), (host,))
    yield Entry(RECOVERY_KEY, "recovery-key", (), ())
    yield Entry(ENGINE_PASSPHRASE, "engine-passphrase", (), ())
    if estate.provider == "lab":
        for region in sorted({b.region for b in estate.buckets}):
            yield Entry(f"{OBJECT_STORE}{region}", "object-storage-key", (), ())


def _shared(estate: Estate) -> Iterator[Entry]:
    kinds = {spec.name: spec.kind for s in SERVICES for spec in s.secrets if not spec.per_host}
    for name, kind in kinds.items():
        users = [s for s in SERVICES if name in {spec.name for spec in s.secrets}]
        hosts = tuple(h.name for h in estate.hosts if set(users) & set(services_of(h)))
        yield Entry(name, kind, tuple(s.name for s in users), hosts)


def _own(estate: Estate) -> Iterator[Entry]:
    """What each host has for itself, a tunnel's keys apart: those belong to a path of the line."""
    for host in estate.hosts:
        for service in services_of(host):
            for spec in service.secrets:
                if spec.per_host and spec.kind != "tunnel-key":
                    yield Entry(f"{spec.name}:{host.name}", spec.kind, (service.name,), (host.name,))


def _certificates(estate: Estate) -> Iterator[Entry]:
    for host in estate.hosts:
        for service in services_of(host):
            if service.certificate:
                yield Entry(f"leaf:{host.name}/{service.name}", "certificate", (service.name,), (host.name,))
    for balancer in estate.load_balancers:
        name = f"leaf:balancer/{elastic_name_of_balancer(balancer.name)}"
        yield Entry(name, "certificate", ("load-balancer",), ())


def _tunnels(estate: Estate) -> Iterator[Entry]:
    if estate.line is None:
        return
    for gateway in estate.line.gateways:
        hosts, services = (gateway, estate.line.peer), ("line-gateway", "line-peer")
        yield Entry(gateway_key_name(gateway), "tunnel-key", services, hosts)
        yield Entry(peer_key_name(estate.line.peer, gateway), "tunnel-key", services, hosts)


def _kind_by_name(name: str) -> str:
    return "certificate" if name.startswith("leaf:") else "other"
