"""A server that stood still has heard nobody: its waking is no reason to call everybody dead."""

from __future__ import annotations

import re

import pytest

from monitoring.catalogue import alert_files, with_keys
from monitoring.silence import judged_awake

RESTS_ON_SILENCE = [a for a in alert_files() if re.search(r"nodata\(.*?=1|now\(\)", a.when + a.every)]


def test_silence_is_judged_by_a_server_that_was_awake() -> None:
    assert judged_awake("nodata(/db-1/agent.ping,10s)=1 and last(/db-1/x)=0") == (
        "(nodata(/db-1/agent.ping,10s)=1 and ({TRIGGER.VALUE}=1 or"
        " (nodata(/db-1/@awake,3s)=0 and nodata(/db-1/@stalled,90s)=1))) and last(/db-1/x)=0"
    )


def test_what_does_not_rest_on_silence_is_left_alone() -> None:
    assert judged_awake("max(/T/@ready,#4)=0") == "max(/T/@ready,#4)=0"


@pytest.mark.parametrize("alert", RESTS_ON_SILENCE, ids=lambda a: a.id)
def test_no_alert_escapes_it(alert) -> None:
    """A way of writing `nodata` that the rule does not know would be left unguarded."""
    written = alert.when or alert.every
    guarded = with_keys(judged_awake(written))
    silences = 1 if "now()" in written else written.count("nodata(")
    assert guarded.count("{TRIGGER.VALUE}") == silences
    assert "@" not in guarded
