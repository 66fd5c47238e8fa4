"""What each layer said, as HAProxy 3.0 and MySQL 9.7 say it on a lab."""

from __future__ import annotations

import json

from runbooks.drills.evidence.gather import once
from runbooks.drills.evidence.observers import Sighting, alert_sightings, member_sightings, router_sightings

DOWN = (
    'Server writer/db-1 is DOWN, reason: Layer7 wrong status, code: 503, info: "Service Unavailable", '
    "check duration: 149ms. 2 active and 0 backup servers left. 0 sessions active, 0 requeued."
)
UP = "Server writer/db-1 is UP, reason: Layer7 check passed, code: 200, check duration: 5ms. 3 active"


def entry(message: object, at: str = "1795856814548766") -> str:
    return json.dumps({"MESSAGE": message, "__REALTIME_TIMESTAMP": at, "_BOOT_ID": "b"})


def test_a_router_says_who_is_lost_and_who_is_back() -> None:
    said = [f"[WARNING]  (1685) : {DOWN}", DOWN, UP, "Proxy mysql started.", [0, 255]]
    down, again, up = router_sightings("app-1", "\n".join(entry(m) for m in said))
    assert (down.subject, down.gone, down.at, down.host) == ("db-1", True, 1795856814.548766, "app-1")
    assert down.text.startswith("db-1 is DOWN, reason: Layer7 wrong status, code: 503")
    assert again == down
    assert (up.subject, up.gone) == ("db-1", False)


def test_a_member_says_what_its_group_did_and_nothing_else() -> None:
    rows = (
        "1795856819.2\tMY-011493\tPlugin group_replication reported: 'Member with address ... has ...'\n"
        "1795856819.3\tMY-010914\tAborted connection 12\n"
    )
    (one,) = member_sightings("db-2", rows)
    assert (one.host, one.at, one.gone) == ("db-2", 1795856819.2, None)


def test_an_alert_is_of_its_host() -> None:
    event = {"clock": "100", "ns": "500000000", "name": "MySQL", "host": "db-1", "severity": "4"}
    (one,) = alert_sightings([event])
    assert (one.layer, one.host, one.subject, one.at) == ("alert", "db-1", "db-1", 100.5)


def test_what_a_router_says_twice_at_once_is_one_sighting() -> None:
    one = Sighting(layer="router", host="app-1", at=10.0, subject="db-1", gone=True, text="db-1 is DOWN")
    again, later = one.model_copy(update={"at": 10.001}), one.model_copy(update={"at": 12.0})
    assert once([later, again, one]) == [one, later]
    assert once([one, one.model_copy(update={"host": "app-2"})]) != [one]
