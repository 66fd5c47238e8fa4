"""What an answer of the platform means, and what is asked again; no network."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from runbooks.drills.workloads import platform
from runbooks.drills.workloads.elements import key_of
from runbooks.drills.workloads.platform import Answer, Client, Settings, Signed, judged, newest

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbooks.drills.evidence.history import Operation

SETTINGS = Settings(
    address="203.0.113.10",
    port=443,
    name="platform.test",
    authority="",
    username="yiyun-drill",
    password="not told",
    residents=["00000099900000001"],
    run="abc",
    clients=1,
    rate=10,
    seconds=1,
    seed=1,
)


@pytest.mark.parametrize(
    ("status", "location", "outcome"),
    [
        (303, "/residents/1#attachments", "ok"),
        (303, "/login", "fail"),
        (403, "", "fail"),
        (429, "", "fail"),
        (500, "", "unknown"),
        (502, "", "unknown"),
        (503, "", "unknown"),
    ],
)
def test_only_a_definite_no_is_a_failure(status: int, location: str, outcome: str) -> None:
    assert judged(status, location) == outcome


def test_a_key_belongs_to_one_write_of_one_drill() -> None:
    keys = {key_of("a", 1), key_of("a", 2), key_of("b", 1)}
    assert len(keys) == 3
    assert all(len(k) == 64 and set(k) <= set("0123456789abcdef") for k in keys)


def entry(title: str) -> dict[str, Any]:
    return {"resource": {"content": [{"attachment": {"title": title}}]}}


def test_the_newest_file_is_the_one_with_the_highest_number() -> None:
    assert newest({"entry": [entry("9.pdf"), entry("10.pdf"), entry("x.pdf"), entry("")]}) == 10
    assert newest({"total": 0}) == 0


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Operation, int]]:
    """One operation of a client whose tries are answered as given, and how many of the answers it took."""
    monkeypatch.setattr(platform, "browser", lambda *_: None)
    monkeypatch.setattr(platform, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(platform, "MIX", (("append", 1),))

    def one(*answers: Answer, stopped: bool = False) -> tuple[Operation, int]:
        noted: list[Operation] = []
        client = Client(SETTINGS, Signed({}, ""), 0, noted.append)
        left = list(answers)
        monkeypatch.setattr(client, "_store", lambda _element: left.pop(0))
        event = threading.Event()
        if stopped:
            event.set()
        client._one(0, 0.0, event)
        return noted[0], len(answers) - len(left)

    return one


OK = Answer("ok", 1, "app-2")
CUT = Answer("unknown", error="cut", again=True)
CLOSED = Answer("fail", error="refused", again=True)
NO = Answer("fail", error="403")


def test_what_was_cut_is_asked_again_and_says_so(asked: Callable[..., tuple[Operation, int]]) -> None:
    operation, used = asked(CUT, OK)
    assert (operation.outcome, operation.tries, operation.error, used) == ("ok", 2, "cut", 2)
    assert (operation.member, operation.value, operation.target) == ("app-2", 1, "list-0")


def test_one_cut_try_leaves_it_unknown_whatever_the_others_say(
    asked: Callable[..., tuple[Operation, int]],
) -> None:
    assert asked(CUT, CLOSED, CLOSED)[0].outcome == "unknown"
    assert asked(CLOSED, CLOSED, CLOSED)[0].outcome == "fail"
    assert asked(CUT, NO)[0].outcome == "unknown"


def test_a_definite_no_is_not_asked_again_and_a_stop_ends_the_asking(
    asked: Callable[..., tuple[Operation, int]],
) -> None:
    assert asked(NO, OK)[1] == 1
    operation, used = asked(CUT, OK, stopped=True)
    assert (operation.outcome, used) == ("unknown", 1)
