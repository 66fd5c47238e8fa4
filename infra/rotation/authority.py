"""Certificates: new leaves, and a new authority that is trusted beside the old one for a time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from infra.rotation.model import Phase, Rotator, Values, Work, retire, switch
from infra.rotation.policy import rule_of
from infra.trust.authority import make_leaf, make_root
from infra.trust.material import ROOT, pack, unpack
from infra.trust.store import NEXT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from infra.rotation.catalogue import Entry

_TOUCHES = (
    "balancer, nginx: reload, connections stay",
    "db-router, platform, collector: take it up, nothing restarts",
    "mysql: reloads TLS; one member after the other leaves the group and joins again",
)


def _issue(work: Work, values: Values, names: Iterable[str]) -> None:
    specs, root = work.material().leaf_specs(), unpack(values[ROOT])
    for name in names:
        if name in specs:
            values[name] = pack(make_leaf(root, specs[name]))


def _new_leaves(work: Work, values: Values, entries: Sequence[Entry]) -> None:
    _issue(work, values, [entry.name for entry in entries])


def _leaves(work: Work, entries: Sequence[Entry]) -> None:
    if any(entry.hosts for entry in entries):
        work.converge_users(entries)
    if not all(entry.hosts for entry in entries):
        work.realise()


def _new_root(work: Work, values: Values, _entries: Sequence[Entry]) -> None:
    values[ROOT + NEXT] = pack(make_root(work.estate.estate))


def _switch_root(work: Work, values: Values, entries: Sequence[Entry]) -> None:
    switch(work, values, entries)
    _issue(work, values, work.material().leaf_specs())


def _everywhere(work: Work, _entries: Sequence[Entry]) -> None:
    """Balancers and hosts in any order: each phase goes with the one before."""
    work.realise()
    work.converge()


CERTIFICATE = Rotator(
    "certificate",
    (Phase("renew", "new leaves of the same authority", _leaves, _new_leaves, _TOUCHES),),
)
AUTHORITY = Rotator(
    "authority",
    (
        Phase(
            "introduce", "the new authority is trusted beside the old one", _everywhere, _new_root, _TOUCHES
        ),
        Phase(
            "switch",
            "every leaf is of the new authority",
            _everywhere,
            _switch_root,
            (*_TOUCHES, "clients from outside must trust the new authority before"),
            timedelta(hours=rule_of("authority").wait),
        ),
        Phase("retire", "the old authority is trusted no more", _everywhere, retire, _TOUCHES),
    ),
)
