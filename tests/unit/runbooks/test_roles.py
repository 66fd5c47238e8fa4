"""Names in a drill's file become hosts when it begins; what is neither is said at once."""

from __future__ import annotations

from typing import Any

import pytest

from infra.errors import BadInputError
from infra.estate.loading import load_estate
from runbooks.drills.catalogue import shipped
from runbooks.drills.model import Drill
from runbooks.drills.roles import hit, resolved, roles_now

LAB = load_estate("lab")
STATUS: dict[str, Any] = {"mysql": {"writer": "db-2"}, "line": {"path": "app-2"}}
NOW = roles_now(LAB, STATUS)


def breaking(*faults: dict[str, Any]) -> Drill:
    drill = shipped()["mysql-writer-kill"].model_dump()
    drill["method"] = [{"faults": [fault]} for fault in faults]
    return Drill.model_validate(drill)


def kill(host: str) -> Drill:
    return breaking({"kind": "process-killed", "host": host, "unit": "mysql"})


def test_roles_are_what_status_says_now() -> None:
    assert NOW == {
        "writer": "db-2",
        "other-member": "db-1",
        "third-member": "db-3",
        "client": "app-1",
        "other-client": "app-2",
        "backend": "app-1",
        "line-gateway": "app-2",
        "other-gateway": "ops-1",
        "ops": "ops-1",
        "edge": "edge-1",
        "premises": "his-1",
    }


def test_without_an_agreed_writer_nobody_is_it() -> None:
    found = roles_now(LAB, {**STATUS, "mysql": {"writer": None}})
    assert not {"writer", "other-member", "third-member"} & set(found)
    with pytest.raises(BadInputError, match="no host or role writer"):
        resolved(kill("writer"), LAB, found)


def test_without_a_path_no_gateway_is_the_other() -> None:
    assert not {"line-gateway", "other-gateway"} & set(roles_now(LAB, {**STATUS, "line": {"path": None}}))


def test_a_backend_is_the_gateway_only_where_there_is_no_other() -> None:
    lone = LAB.model_copy(update={"hosts": tuple(h for h in LAB.hosts if h.name != "app-1")})
    assert roles_now(lone, STATUS)["backend"] == "app-2"


def test_a_role_becomes_its_host_and_a_host_stays() -> None:
    assert hit(resolved(kill("writer"), LAB, NOW)) == {"db-2"}
    assert hit(resolved(kill("db-3"), LAB, NOW)) == {"db-3"}


def test_every_field_that_names_a_host_is_looked_up() -> None:
    edge = {"kind": "link-cut", "source": "client", "destination": "writer", "ports": ["mysql.mysql"]}
    everybody = {"kind": "link-cut", "source": "writer", "destination": "everywhere"}
    path = {"kind": "line-cut", "gateway": "line-gateway"}
    every = {"kind": "line-cut", "gateway": "all"}
    found = resolved(breaking(edge, everybody, path, every), LAB, NOW)
    assert [f.model_dump(include={"source", "destination", "gateway"}) for f in found.faults] == [
        {"source": "app-1", "destination": "db-2"},
        {"source": "db-2", "destination": "everywhere"},
        {"gateway": "app-2"},
        {"gateway": "all"},
    ]
    assert hit(found) == {"db-2"}, "of the whole drill, whoever is cut from everybody"


def test_a_host_that_is_not_in_the_estate_is_refused_by_name() -> None:
    for word in ("db-9", "everywhere", "all"):
        with pytest.raises(BadInputError, match=word):
            resolved(kill(word), LAB, NOW)


def test_two_roles_of_one_host_break_nothing_twice() -> None:
    both = breaking({"kind": "host-frozen", "host": "client"}, {"kind": "host-frozen", "host": "backend"})
    with pytest.raises(BadInputError, match="the same fault twice: kind=host-frozen host=app-1"):
        resolved(both, LAB, NOW)
    looped = breaking({"kind": "link-cut", "source": "client", "destination": "backend"})
    with pytest.raises(BadInputError, match="no link to itself"):
        resolved(looped, LAB, NOW)


def test_a_fault_of_what_the_host_has_not_is_refused_before_anything_begins() -> None:
    with pytest.raises(BadInputError, match="app-1 runs no mysql"):
        resolved(breaking({"kind": "disk-full", "host": "client", "service": "mysql"}), LAB, NOW)


SILENCED = {
    "mysql-writer-kill": {"db-2"},
    "mysql-writer-freeze": {"db-2"},
    "mysql-writer-cut": {"db-2"},
    "mysql-writer-isolate": {"db-2"},
    "mysql-writer-lost": {"db-2"},
    "app-loss": {"app-1"},
    "app-host-loss": {"app-1"},
    "backend-loss": {"app-1"},
    "gateway-loss": {"app-2"},
    "edge-loss": {"edge-1"},
}
"""Whose answers cannot be right; of every other drill the service may go on by the same way."""


BREAKING = [drill for drill in shipped().values() if isinstance(drill, Drill)]


@pytest.mark.parametrize("drill", BREAKING, ids=lambda d: d.name)
def test_every_shipped_drill_can_be_begun_in_the_lab(drill: Drill) -> None:
    assert hit(resolved(drill, LAB, NOW)) == SILENCED.get(drill.name, set())
