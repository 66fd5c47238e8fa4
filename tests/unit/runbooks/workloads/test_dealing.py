"""Clients of a spread workload are dealt to hosts, each to one."""

from __future__ import annotations

from runbooks.drills.workloads.launch import dealt


def test_every_client_runs_on_one_host() -> None:
    hands = dealt(["app-1", "app-2"], 5)
    assert hands == {"app-1": [0, 2, 4], "app-2": [1, 3]}
    assert dealt(["app-1"], 3) == {"app-1": [0, 1, 2]}
