"""The estate that takes another one's place where its copies are: derived from it, never written. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.errors import BadInputError
from infra.estate.capacity import total
from infra.estate.model import Bucket, Capacity, Published, Recovers
from infra.services.storage import ATTACHMENTS

if TYPE_CHECKING:
    from infra.estate.model import Estate, Host

PREFIX = "r-"
"""Of a recovery's name. Not a suffix: names on a lab's machine are told apart by how they begin."""
PORTS_APART = 200
"""A lab's recovery is published this many ports above the lab that it recovers."""
ENOUGH = ("app", "db", "ops")
"""Roles of a rehearsal, a host each: what serves a page, what it reads, what both are installed from."""


def rehearsal_of(estate: Estate) -> Estate:
    """The smallest estate that serves the platform's pages, in the region of the copies, on scratch hosts.

    Names, inner addresses, keys and sizes are the estate's own. Raises BadInputError for an estate without
    copies in another region, or one that is a recovery itself.
    """
    _must_have_copies(estate)
    hosts = [_alone(next(iter(estate.hosts_with(role))), role) for role in ENOUGH]
    changed = {
        "estate": f"{PREFIX}{estate.estate}",
        "recovers": Recovers(estate=estate.estate, isolated=True),
        "region": estate.remote_region,
        "remote_region": estate.region,
        "hosts": tuple(hosts),
        "sites": (),
        "line": None,
        "buckets": tuple(_near(b) for b in estate.buckets if b.region == estate.remote_region.name),
        "lab": estate.lab.model_copy(update={"published": _published(estate.lab.published)}),
    }
    found = estate.model_copy(update=changed)
    size = total(found)
    return found.model_copy(
        update={"expect": Capacity(vcpu=size.vcpu, memory_gib=size.memory_gib)},
    )


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
