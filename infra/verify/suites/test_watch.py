"""Watch: the premises hear the monitoring's heart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("watch")


def test_hears_the_monitoring(on: Machine) -> None:
    state = on.json_of("watch")
    assert state["state"] == "ok", state
    assert on.facts["now"] - state["at"] < 15, "it stopped looking"


def test_has_no_rights(on: Machine) -> None:
    shown = on.shell.run("systemctl show --property=User --value yiyun-watch")
    assert shown.stdout.strip() == "yiyun-watch"
