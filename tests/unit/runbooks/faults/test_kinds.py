"""Faults have bounds, and each kind says whose answers it silences."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from runbooks.drills.kinds import Fault

FAULT: TypeAdapter[Fault] = TypeAdapter(Fault)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "process-killed", "host": "db-1", "unit": "mysql; reboot"},
        {"kind": "process-killed", "host": "DB 1", "unit": "mysql"},
        {"kind": "disk-full", "host": "db-1", "service": "mysql", "left_mb": -1},
        {"kind": "slow-disk", "host": "db-1", "service": "mysql"},
        {"kind": "slow-disk", "host": "db-1", "service": "mysql", "bytes_s": 10},
        {"kind": "slow-disk", "host": "db-1", "service": "mysql", "iops": 0},
        {"kind": "clock-moved", "host": "db-1", "unit": "mysql", "seconds": 0},
        {"kind": "clock-moved", "host": "db-1", "unit": "mysql", "seconds": 10**10},
        {"kind": "memory-pressure", "host": "db-1", "left_mb": 0},
        {"kind": "link-cut", "source": "db-1", "destination": "db-1"},
        {"kind": "link-cut", "source": "db-1", "destination": "db-2", "ports": [0]},
        {"kind": "link-cut", "source": "db-1", "destination": "db-2", "ports": ["mysql"]},
        {"kind": "link-poor", "source": "db-1", "destination": "db-2"},
        {"kind": "link-poor", "source": "db-1", "destination": "db-2", "loss_percent": 100},
        {"kind": "storage-refusing", "mode": "slow"},
        {"kind": "quorum-cut", "host": "db-1"},
    ],
    ids=str,
)
def test_what_is_out_of_bounds_is_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FAULT.validate_python(fault)


@pytest.mark.parametrize(
    ("fault", "silenced"),
    [
        ({"kind": "process-killed", "host": "db-1", "unit": "mysql"}, {"db-1"}),
        ({"kind": "process-stopped", "host": "db-1", "unit": "mysql.service"}, {"db-1"}),
        ({"kind": "process-killed", "host": "db-1", "unit": "zabbix-agent2"}, set()),
        ({"kind": "process-killed", "host": "app-1", "unit": "haproxy"}, set()),
        ({"kind": "host-frozen", "host": "db-1"}, {"db-1"}),
        ({"kind": "host-lost", "host": "db-1"}, {"db-1"}),
        ({"kind": "link-cut", "source": "db-1", "destination": "everywhere"}, {"db-1"}),
        ({"kind": "link-cut", "source": "app-1", "destination": "db-1", "ports": [3306]}, set()),
        ({"kind": "link-cut", "source": "db-1", "destination": "everywhere", "ports": [22]}, set()),
        ({"kind": "members-cut", "host": "db-1"}, {"db-1"}),
        ({"kind": "quorum-cut"}, set()),
        ({"kind": "disk-full", "host": "db-1", "service": "mysql"}, set()),
    ],
    ids=str,
)
def test_only_whoever_cannot_rightly_answer_is_silenced(fault: dict[str, object], silenced: set[str]) -> None:
    assert FAULT.validate_python(fault).breaks() == silenced


def test_the_same_thing_broken_more_or_less_is_the_same_target() -> None:
    little, much = (
        FAULT.validate_python({"kind": "disk-full", "host": "db-1", "service": "mysql", "left_mb": n})
        for n in (0, 100)
    )
    other = FAULT.validate_python({"kind": "disk-full", "host": "db-2", "service": "mysql"})
    assert little.target == much.target != other.target
