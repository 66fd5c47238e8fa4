"""What a result file of database verbs under load says."""

from __future__ import annotations

import pytest

from tests.drill_sample import append
from tests.stream_lag import figures as lateness
from tests.under_load import figures


def test_what_clients_felt_during_the_verbs_stands_apart_from_the_times_between() -> None:
    calm = [append(n, 10.0 + n / 10) for n in range(20)]
    slow, failed = append(30, 20.1, 0.4, member="db-2"), append(31, 20.2, 0.1, "fail")
    verbs = [{"began": 20.0, "ended": 21.0, "pause_s": 0.2}, {"began": 30.0, "ended": 31.0, "pause_s": 0.1}]
    found = figures([*calm, slow, failed], verbs)
    assert found["wait_p99_s"] == {"during": 0.4, "between": 0.01}
    assert (found["pause_p50_s"], found["pause_max_s"], found["longest_wait_s"]) == (0.1, 0.2, 0.4)
    assert (found["acknowledged"], found["failed"], found["unknown"]) == (21, 1, 0)
    assert [(t["verb"], t["at_s"]) for t in found["troubled"]] == [(1, 0.3)]
    assert found["members"] == ["db-1", "db-2"]


def test_the_logs_lateness_is_told_by_its_segments() -> None:
    ages = [0.5] * 98 + [4.0, 9.0]
    assert lateness(ages) == {"segments": 100, "p50_s": 0.5, "p99_s": 4.0, "most_s": 9.0}
    with pytest.raises(ValueError, match="no values"):
        lateness([])
