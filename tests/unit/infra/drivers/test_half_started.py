"""A host whose start was killed before it was opened is told from one that is whole, by its mounts."""

from __future__ import annotations

import pytest

from infra.drivers.lab.hosts import shows_open

ROOT = "1 0 0:31 / / rw,relatime shared:5 - overlay overlay rw"
CLOSED_ROOT = "1 0 0:31 / / rw,relatime - overlay overlay rw"
READ_ONLY = "2 1 0:5 /sys /proc/sys ro,nosuid - proc proc rw"
OPENED = "3 2 0:5 /sys/net /proc/sys/net rw,nosuid - proc proc rw"


@pytest.mark.parametrize(
    ("lines", "whole"),
    [
        ((ROOT, READ_ONLY, OPENED), True),
        ((ROOT, READ_ONLY), False),
        ((ROOT, READ_ONLY, OPENED.replace("rw,nosuid", "ro,nosuid")), False),
        ((CLOSED_ROOT, READ_ONLY, OPENED), False),
    ],
    ids=["whole", "never opened", "killed between bind and remount", "its mounts are not shared"],
)
def test_only_a_host_that_was_opened_is_whole(lines: tuple[str, ...], *, whole: bool) -> None:
    assert shows_open("\n".join(lines)) is whole
