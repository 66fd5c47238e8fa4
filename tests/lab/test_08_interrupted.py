"""The lab came up although its first runs were killed and one database was late."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.harness import Lab
    from tests.lab.trouble import Story


def test_two_killed_runs_were_picked_up_by_the_next_without_a_hand(lab: Lab, story: Story) -> None:
    assert len(story.killed) == 2
    assert lab.yiyun("preview", "--exit-code").code == 0
    for host in (h.name for h in lab.estate.hosts):
        assert lab.on(host, "dpkg", "--audit") == "", f"{host} has half-installed packages"


def test_the_group_forms_without_a_late_member_which_then_joins_by_itself(story: Story) -> None:
    assert story.formed_without == {"db-1": "ONLINE", "db-2": "ONLINE", "db-3": "SILENT"}
    print(f"the late member served {story.joined_after:.1f} s after its server was started")  # noqa: T201
