"""One lab for all lab tests of a session. It is brought up from nothing and removed at the end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.lab.harness import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

KEEP = os.environ.get("YIYUN_TEST_KEEP", "") not in ("", "0")
"""For developers: use the lab that is there, and leave it for the next run."""


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The session's lab, verified."""
    lab = Lab()
    if not KEEP:
        lab.yiyun("lab", "down", "--yes")
    try:
        answer = lab.yiyun("up", "--yes", seconds=2400)
        assert answer.code == 0, answer.json
        yield lab
    finally:
        if not KEEP:
            assert lab.yiyun("lab", "down", "--yes").code == 0
