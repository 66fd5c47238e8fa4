"""What routers say, each once."""

from __future__ import annotations

from runbooks.drills.evidence.gather import once
from runbooks.drills.evidence.observers import Sighting


def test_what_a_router_says_twice_at_once_is_one_sighting() -> None:
    one = Sighting(layer="router", host="app-1", at=10.0, subject="db-1", gone=True, text="db-1 is DOWN")
    again, later = one.model_copy(update={"at": 10.001}), one.model_copy(update={"at": 12.0})
    assert once([later, again, one]) == [one, later]
    assert once([one, one.model_copy(update={"host": "app-2"})]) != [one]
