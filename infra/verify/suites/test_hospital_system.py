"""The lab's hospital: a real database and a sender that gets its results taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("hospital-system")


def test_database_runs_and_is_its_own(on: Machine) -> None:
    assert on.shell.service("postgresql").is_running
    outside = {a for a in on.listening(5432) if not a.startswith(("127.", "::1"))}
    assert not outside, f"its database is open to the network at {outside}"


def test_sender_runs(on: Machine) -> None:
    assert on.shell.service("lab-hospital-sender").is_running
