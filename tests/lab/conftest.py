"""One lab for all lab tests of a session. It is brought up from nothing and removed at the end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.lab import trouble
from tests.lab.foreign import Foreign, build, remove
from tests.lab.harness import Lab
from tests.lab.leaks import ProcessWatch

if TYPE_CHECKING:
    from collections.abc import Iterator

KEEP = os.environ.get("YIYUN_TEST_KEEP", "") not in ("", "0")
"""For developers: use the lab that is there, and leave it for the next run."""

_STORY = pytest.StashKey[trouble.Story]()
_WATCH = pytest.StashKey[ProcessWatch]()


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The session's lab, verified; unless it was kept, it was interrupted on its way up."""
    lab = Lab()
    if KEEP:
        answer = lab.yiyun("up", "--yes", seconds=2400)
        assert answer.code == 0, answer.json
        yield lab
        return
    lab.yiyun("lab", "down", "--yes")
    try:
        with ProcessWatch() as watch:
            request.config.stash[_STORY] = trouble.bring_up(lab)
        request.config.stash[_WATCH] = watch
        yield lab
    finally:
        assert lab.yiyun("lab", "down", "--yes").code == 0


@pytest.fixture
def story(lab: Lab, request: pytest.FixtureRequest) -> trouble.Story:
    """What happened to the lab on its way up."""
    told = request.config.stash.get(_STORY, None)
    if told is None:
        pytest.skip("a kept lab was not interrupted on its way up: unset YIYUN_TEST_KEEP")
    return told


@pytest.fixture(scope="session")
def processes(lab: Lab, request: pytest.FixtureRequest) -> ProcessWatch:
    """What every process was given while all roles ran: on the way up, or again on a kept lab."""
    watch = request.config.stash.get(_WATCH, None)
    if watch is None:
        with ProcessWatch() as watch:
            assert lab.yiyun("up", "--full", "--yes", seconds=2400).code == 0
    return watch


@pytest.fixture(scope="session")
def foreign(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    """A machine in the lab's network that the lab's provider did not make."""
    made = build(lab, tmp_path_factory.mktemp("foreign"))
    yield made
    remove(made)
