"""The schedule of a workload goes on while an answer is late."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

import pytest

from runbooks.drills.workloads.pacing import drawn, paced


@dataclass(frozen=True)
class Pace:
    clients: int = 2
    rate: float = 100.0
    seconds: float = 0.2


def test_a_late_answer_moves_no_due_moment() -> None:
    began, due = time.monotonic(), list[float]()

    def one(number: int, moment: float) -> None:
        due.append(moment)
        if number == 0:
            time.sleep(0.1)

    paced(Pace(), 1, began, threading.Event(), one)
    assert due == pytest.approx([began + 0.01 + n * 0.02 for n in range(10)])


def test_a_stop_is_obeyed_at_once() -> None:
    stopped = threading.Event()
    stopped.set()
    paced(Pace(), 0, time.monotonic() + 60, stopped, lambda *_: pytest.fail("nothing is asked any more"))


def test_a_draw_follows_the_shares_and_its_seed() -> None:
    def kinds() -> list[str]:
        source = random.Random(7)  # noqa: S311  a seed that can be repeated
        return [drawn(source, (("append", 1), ("get", 3))) for _ in range(400)]

    assert 60 < kinds().count("append") < 140
    assert kinds() == kinds()
