"""Names in a drill's file become hosts when it begins; what is neither is said at once."""

from __future__ import annotations

import pytest

from infra.errors import BadInputError
from infra.estate.loading import load_estate
from runbooks.drills.catalogue import shipped
from runbooks.drills.model import Drill
from runbooks.drills.roles import hit, resolved, roles_now

LAB = load_estate("lab")
STATUS = {"mysql": {"writer": "db-2"}, "line": {"path": "app-2"}}


def kill(host: str) -> Drill:
    drill = shipped()["mysql-writer-kill"].model_dump()
    drill["method"] = [{"faults": [{"kind": "process-killed", "host": host, "unit": "mysql"}]}]
    return Drill.model_validate(drill)


def test_roles_are_what_status_says_now() -> None:
    assert roles_now(LAB, STATUS) == {
        "writer": "db-2",
        "other-member": "db-1",
        "client": "app-1",
        "other-client": "app-2",
        "line-gateway": "app-2",
    }


def test_without_an_agreed_writer_nobody_is_it() -> None:
    found = roles_now(LAB, {**STATUS, "mysql": {"writer": None}})
    assert "writer" not in found
    with pytest.raises(BadInputError, match="no host or role writer"):
        resolved(kill("writer"), LAB, found)


def test_a_role_becomes_its_host_and_a_host_stays() -> None:
    roles = roles_now(LAB, STATUS)
    assert hit(resolved(kill("writer"), LAB, roles)) == {"db-2"}
    assert hit(resolved(kill("db-3"), LAB, roles)) == {"db-3"}


def test_a_host_that_is_not_in_the_estate_is_refused_by_name() -> None:
    with pytest.raises(BadInputError, match="db-9"):
        resolved(kill("db-9"), LAB, roles_now(LAB, STATUS))


@pytest.mark.parametrize("drill", shipped().values(), ids=lambda d: d.name)
def test_every_shipped_drill_can_be_begun_in_the_lab(drill: Drill) -> None:
    assert hit(resolved(drill, LAB, roles_now(LAB, STATUS)))
