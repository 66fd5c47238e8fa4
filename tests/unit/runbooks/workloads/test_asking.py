"""What many tries of one message amount to, and when the asking ends."""

from __future__ import annotations

import threading
import time

import pytest

from runbooks.drills.workloads.asking import Try, persist, summed

OK = Try("ok", "app-2")
CUT = Try("unknown", error="cut", again=True)
CLOSED = Try("fail", error="refused", again=True)
NO = Try("fail", error="422")
NOBODY = Try("fail", error="no way", again=True, away=True)


def test_an_acknowledgement_says_what_went_before_it() -> None:
    found = summed([CUT, CLOSED, OK])
    assert (found.outcome, found.member, found.error, found.tries) == ("ok", "app-2", "cut", 3)


@pytest.mark.parametrize(
    ("tries", "outcome"),
    [
        ([CUT, CLOSED], "unknown"),
        ([CUT, NO], "unknown"),
        ([CLOSED, CLOSED], "fail"),
        ([CLOSED, NO], "fail"),
        ([], "fail"),
    ],
)
def test_one_try_that_may_have_been_stored_leaves_it_unknown(tries: list[Try], outcome: str) -> None:
    found = summed(tries)
    assert (found.outcome, found.member, found.tries) == (outcome, "", max(1, len(tries)))
    assert found.error


def test_it_asks_until_there_is_an_answer_that_stays() -> None:
    rounds, paused = iter([[CUT], [], [NOBODY], [CLOSED, CUT], [OK]]), list[int]()

    def pause(_: object, number: int) -> float:
        paused.append(number)
        return 0.001

    found = persist(lambda: next(rounds), pause, 10, threading.Event())
    assert (found.outcome, found.tries, paused) == ("ok", 5, [1, 1, 1, 2]), "only who was met counts"
    assert next(rounds, None) is None
    refused = persist(lambda: [NO], lambda *_: 5.0, 10, threading.Event())
    assert (refused.outcome, refused.tries) == ("fail", 1), "a definite no is not asked again"


def test_its_patience_ends_also_in_a_pause() -> None:
    began = time.monotonic()
    found = persist(lambda: [CUT], lambda *_: 60.0, 0.2, threading.Event())
    assert found.outcome == "unknown"
    assert 0.2 <= time.monotonic() - began < 2


def test_a_stop_ends_the_asking_after_the_try_under_way() -> None:
    stopped = threading.Event()
    stopped.set()
    found = persist(lambda: [CUT], lambda *_: 60.0, 60, stopped)
    assert (found.outcome, found.tries) == ("unknown", 1)
