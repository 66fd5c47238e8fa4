"""The estate that takes another one's place where its copies are: derived from it, never written. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.errors import BadInputError
from infra.estate.addresses import host_addresses
from infra.estate.capacity import total
from infra.estate.model import Access, Bucket, Capacity, Published, Recovers
from infra.services.storage import ATTACHMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.estate.model import Estate, Host

PREFIX = "r-"
"""Of a recovery's name. Not a suffix: names on a lab's machine are told apart by how they begin."""
PORTS_APART = 200
"""A lab's recovery is published this many ports above the lab that it recovers."""
EMPTY_ROLES = frozenset({"ora", "hospital"})
"""Roles that have nothing to come back: Oracle awaits its media, the hospital stands where it stood."""
ENOUGH = ("app", "db", "ops")
"""Roles of a rehearsal, a host each: what serves a page, what it reads, what both are installed from."""


def rehearsal_of(estate: Estate) -> Estate:
    """The smallest estate that serves the platform's pages, in the region of the copies, on scratch hosts.

    Names, inner addresses, keys and sizes are the estate's own. Raises BadInputError for an estate without
    copies in another region, or one that is a recovery itself.
    """
    _must_have_copies(estate)
    hosts = [_alone(next(iter(estate.hosts_with(role))), role) for role in ENOUGH]
    return _elsewhere(estate, hosts, isolated=True).model_copy(update={"sites": (), "line": None})


def successor_of(estate: Estate, edge_keys: Mapping[str, str]) -> Estate:
    """The estate that takes this one's place for good: all its hosts that had data or served.

    What stands on the premises stays what it is: machines that exist. `edge_keys`: their host keys by name,
    as far as they are known. Raises BadInputError as `rehearsal_of`.
    """
    _must_have_copies(estate)
    hosts = [
        _standing(estate, host, edge_keys.get(host.name, "")) if host.site else host
        for host in estate.hosts
        if not EMPTY_ROLES & set(host.roles)
    ]
    return _elsewhere(estate, hosts, isolated=False)


def _elsewhere(estate: Estate, hosts: list[Host], *, isolated: bool) -> Estate:
    changed = {
        "estate": f"{PREFIX}{estate.estate}",
        "recovers": Recovers(estate=estate.estate, isolated=isolated),
        "region": estate.remote_region,
        "remote_region": estate.region,
        "hosts": tuple(hosts),
        "buckets": tuple(_near(b) for b in estate.buckets if b.region == estate.remote_region.name),
        "lab": estate.lab.model_copy(update={"published": _published(estate.lab.published)}),
    }
    found = estate.model_copy(update=changed)
    size = total(found)
    return found.model_copy(update={"expect": Capacity(vcpu=size.vcpu, memory_gib=size.memory_gib)})


def _standing(estate: Estate, host: Host, key: str) -> Host:
    """A machine on the premises, as its successor's operators reach it: by the door that they had."""
    if host.exists:
        return host
    door = Access(host="127.0.0.1", port=estate.lab.published.premises, host_key=key)
    changed = {"provider": "existing", "address": host_addresses(estate)[host.name], "ssh": door}
    return host.model_copy(update=changed)


def _must_have_copies(estate: Estate) -> None:
    if estate.recovers:
        raise BadInputError(f"{estate.estate} is itself a recovery", hint=f"of {estate.origin}: use that one")
    far = [b.name for b in estate.buckets if b.region == estate.remote_region.name]
    if not far:
        raise BadInputError(
            f"{estate.estate} has no bucket in {estate.remote_region.name}",
            hint="add backups-remote and a copy of attachments (docs/guides/backups.md)",
        )
    for role in ENOUGH:
        if not estate.hosts_with(role):
            raise BadInputError(f"no host of {estate.estate} has the role {role}", hint="add one")


def _alone(host: Host, role: str) -> Host:
    """A host with one role: the line and everything else of it is not there."""
    return host.model_copy(update={"roles": (role,)})


def _near(bucket: Bucket) -> Bucket:
    """A copy is what is left: it counts as an original there."""
    return bucket.model_copy(update={"copy_of": ""})


def attachments_bucket(estate: Estate) -> str:
    """Name of the bucket that the platform's attachments are in: of a recovery, the copy of it."""
    if not estate.recovers:
        return ATTACHMENTS
    return next((b.name for b in estate.buckets if b.name.startswith(ATTACHMENTS)), ATTACHMENTS)


def _published(published: Published) -> Published:
    return Published(**{name: port + PORTS_APART for name, port in published.model_dump().items()})
