"""The health agent's verdict, with the lies that a member is known to tell."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from tests.programs import load_program
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

SOURCE = Path(__file__).parents[3] / "playbooks/roles/mysql_health/files/mysql_health_agent.py"
NOW = 1000.0


@pytest.fixture(scope="module")
def agent() -> ModuleType:
    pytest.importorskip("pymysql")
    return load_program(SOURCE)


@pytest.fixture
def settings(agent: ModuleType) -> Any:
    return agent.Settings(member="db-1", address="127.0.0.1", port=0, configured=3)


def well(agent: ModuleType) -> Any:
    """Everything known of a member that is well, at NOW."""
    sample = agent.Sample(NOW - 0.1, "ONLINE", 3, drained=True, queue=0, writable=True)
    barrier, commit = agent.Proof(NOW - 0.2, 0.001), agent.Proof(NOW - 0.9, 0.01)
    return agent.Known(sample, barrier, commit, last_tick=NOW - 0.05)


def reasons(agent: ModuleType, settings: Any, known: Any) -> str:
    verdict = agent.judge(settings, NOW, known)
    assert verdict.ready == (not verdict.reasons)
    return "; ".join(verdict.reasons)


def with_sample(agent: ModuleType, **changes: Any) -> Any:
    known = well(agent)
    return replace(known, sample=replace(known.sample, **changes))


def test_a_member_that_is_well_is_ready(agent: ModuleType, settings: Any) -> None:
    assert reasons(agent, settings, well(agent)) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": "RECOVERING"}, "the member is RECOVERING"),
        ({"online": 1}, "1 of 3 members are ONLINE, not 2"),
        ({"writable": False}, "read-only"),
        ({"problem": "connection refused"}, "connection refused"),
        ({"at": NOW - 5}, "its last answer is too old"),
    ],
)
def test_each_fact_of_the_tables_can_refuse_alone(
    agent: ModuleType, settings: Any, changes: dict[str, Any], said: str
) -> None:
    assert said in reasons(agent, settings, with_sample(agent, **changes))


def test_a_secondary_that_lacks_nothing_stands_by(agent: ModuleType, settings: Any) -> None:
    """It has never committed here, and cannot: its group has elected another."""
    secondary = replace(with_sample(agent, writable=False, role="SECONDARY"), commit=agent.Proof())
    verdict = agent.judge(settings, NOW, secondary)
    assert (verdict.ready, verdict.standby) == (False, True)
    assert verdict.reasons == ("the member is read-only", "no commit has succeeded yet")
    assert not agent.judge(settings, NOW, well(agent)).standby


@pytest.mark.parametrize(
    "changes",
    [
        {"role": "PRIMARY"},
        {"role": ""},
        {"state": "RECOVERING"},
        {"online": 1},
        {"at": NOW - 5},
        {"problem": "gone"},
    ],
)
def test_a_member_with_anything_else_against_it_does_not_stand_by(
    agent: ModuleType, settings: Any, changes: dict[str, Any]
) -> None:
    known = with_sample(agent, **({"writable": False, "role": "SECONDARY"} | changes))
    assert not agent.judge(settings, NOW, known).standby
    late = replace(known, barrier=agent.Proof(NOW - 9, 0.001))
    assert not agent.judge(settings, NOW, late).standby


def test_the_majority_is_of_the_configured_members_not_of_the_group(agent: ModuleType, settings: Any) -> None:
    assert reasons(agent, replace(settings, configured=5), with_sample(agent, online=2)) != ""


@pytest.mark.parametrize(
    ("configured", "given_up", "online", "serves"),
    [(3, 2, 1, True), (3, 1, 1, False), (3, 1, 2, True), (3, 0, 1, False), (5, 3, 1, False), (5, 3, 2, True)],
)
def test_of_what_was_given_up_no_majority_is_asked(
    agent: ModuleType, settings: Any, configured: int, given_up: int, online: int, serves: bool
) -> None:
    told = replace(settings, configured=configured)
    known = with_sample(agent, online=online, given_up=given_up)
    assert (reasons(agent, told, known) == "") == serves


def test_what_was_given_up_is_read_from_its_file(agent: ModuleType, settings: Any, tmp_path: Path) -> None:
    note = tmp_path / "given-up.json"
    asked = agent.Agent(replace(settings, given_up=str(note)), tmp_path / "password")
    assert asked._given_up() == 0
    note.write_text('["db-1", "db-2"]')
    assert asked._given_up() == 2
    note.write_text('["db-1", "db')
    assert asked._given_up() == 0
    assert agent.Agent(settings, tmp_path / "password")._given_up() == 0, "no file is named"


def test_a_backlog_seen_for_a_moment_does_not_refuse(agent: ModuleType, settings: Any) -> None:
    assert reasons(agent, settings, with_sample(agent, drained=False, queue=2)) == ""


def test_nothing_is_assumed_before_the_first_answers(agent: ModuleType, settings: Any) -> None:
    never = agent.Known(None, agent.Proof(), agent.Proof(), last_tick=NOW)
    said = reasons(agent, settings, never)
    assert "has not answered" in said
    assert "no barrier" in said
    assert "no commit" in said


def test_a_quorum_cut_is_seen_although_every_table_says_well(agent: ModuleType, settings: Any) -> None:
    hanging = replace(well(agent), barrier=agent.Proof(NOW - 1.2, 0.001, "timed out"))
    assert "the last barrier is too old (timed out)" in reasons(agent, settings, hanging)


def test_while_a_member_is_away_the_group_may_stand_still_for_longer(
    agent: ModuleType, settings: Any
) -> None:
    late, older = (agent.Proof(NOW - age, 0.001, "timed out") for age in (5.5, 6.1))
    away = with_sample(agent, online=2, at=NOW - 5.5)
    assert reasons(agent, settings, replace(away, barrier=late)) == ""
    assert "barrier is too old" in reasons(agent, settings, replace(well(agent), barrier=late)), (
        "all are there"
    )
    assert "answer is too old" in reasons(agent, settings, with_sample(agent, at=NOW - 1.5)), "all are there"
    assert "barrier is too old" in reasons(agent, settings, replace(away, barrier=older))
    assert "answer is too old" in reasons(agent, settings, with_sample(agent, online=2, at=NOW - 6.1))


class Failing:
    """A connection whose next answer is an error."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def run(self, _statement: str) -> None:
        raise pymysql.OperationalError(*self.arguments)


def test_a_server_that_is_gone_is_said_at_once(agent: ModuleType, settings: Any, tmp_path: Path) -> None:
    runs = agent.Agent(settings, tmp_path / "password")
    assert "refused" in runs._take(Failing(2003, "refused")).problem


@pytest.fixture
def threads(agent: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Begins endless works of the agent; they end at their next sleep once the test is over."""
    over = threading.Event()

    def sleep(seconds: float) -> None:
        if over.wait(seconds):
            raise SystemExit

    def until_over(work: Callable[[], None]) -> None:
        with contextlib.suppress(SystemExit):
            work()

    def begin(*works: Callable[[], None]) -> None:
        for work in works:
            threading.Thread(target=until_over, args=(work,), daemon=True).start()

    monkeypatch.setattr(agent, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    yield begin
    over.set()


def test_a_server_that_waits_for_its_group_is_not_filled_up_with_sessions(
    agent: ModuleType, settings: Any, tmp_path: Path, threads: Callable[..., None]
) -> None:
    """A session that hangs cannot be ended from outside, so each thread may leave one at most."""
    (tmp_path / "password").write_text("")
    short = {"sample_every": 0.02, "barrier_every": 0.05, "barrier_deadline": 0.1, "commit_deadline": 0.1}
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mysqld.sock"))
        mute.listen()
        mute.settimeout(1.0)
        runs = agent.Agent(replace(settings, socket=mute.getsockname(), **short), tmp_path / "password")
        barriers = [partial(runs._barrier, place) for place in range(runs.settings.barriers)]
        threads(runs._sample, runs._commit, *barriers)
        taken: list[socket.socket] = []
        with contextlib.suppress(TimeoutError):
            while len(taken) < 20:
                taken.append(mute.accept()[0])
        assert len(taken) == 2 + len(barriers)
        for session in taken:
            session.close()


def test_a_host_that_is_there_is_greeted_again_and_again_although_another_is_silent(
    agent: ModuleType, settings: Any, tmp_path: Path, threads: Callable[..., None]
) -> None:
    with socket.create_server(("127.0.0.2", 0)) as listening:
        listening.settimeout(5)
        greeting = replace(settings, port=listening.getsockname()[1], greet_every=0.05)
        runs = agent.Agent(greeting, tmp_path / "password")
        threads(partial(runs._greet, "127.0.0.3"), partial(runs._greet, "127.0.0.2"))
        for _ in range(3):
            listening.accept()[0].close()


def test_the_journal_hears_of_each_change_and_why(
    agent: ModuleType, settings: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = agent.Agent(settings, tmp_path / "password")
    said = runs._told(None)
    assert runs._told(said) is False
    assert capsys.readouterr().err.splitlines() == [
        "db-1 may not: the member has not answered; no barrier has succeeded yet; no commit has succeeded yet"
    ]


def test_one_late_barrier_does_not_refuse(agent: ModuleType, settings: Any) -> None:
    late = replace(well(agent), barrier=agent.Proof(NOW - 0.6, 0.001, "timed out"))
    assert reasons(agent, settings, late) == ""


def test_a_member_that_cannot_commit_is_refused_although_it_agrees(agent: ModuleType, settings: Any) -> None:
    full = replace(well(agent), commit=agent.Proof(NOW - 4.5, 0.01, "the disk is full"))
    assert "the disk is full" in reasons(agent, settings, full)


def test_a_thawed_host_is_refused_before_its_own_loop_has_run(agent: ModuleType, settings: Any) -> None:
    """Frozen for 10 s right after good answers: the first question comes before anything is renewed."""
    frozen = replace(well(agent), last_tick=NOW - 10)
    assert "stood still for 10.0 s" in reasons(agent, settings, frozen)


def test_proofs_from_before_a_thaw_never_count(agent: ModuleType, settings: Any) -> None:
    """A proof begun before the freeze looks young when only the loop's own time is looked at."""
    thawed = replace(well(agent), not_before=NOW - 0.1)
    said = reasons(agent, settings, thawed)
    assert "the last barrier is from before a doubt" in said
    assert "the last commit is from before a doubt" in said


def test_proofs_begun_after_a_thaw_count(agent: ModuleType, settings: Any) -> None:
    fresh = agent.Proof(NOW - 0.05, 0.001)
    assert (
        reasons(agent, settings, replace(well(agent), barrier=fresh, commit=fresh, not_before=NOW - 0.1))
        == ""
    )


class Said:
    """A connection that takes its time, in place of the server's."""

    def __init__(self, clock: list[float], takes: float, error: Exception | None = None) -> None:
        self.clock, self.takes, self.error = clock, takes, error

    def run(self, statement: str, arguments: tuple[str, ...]) -> None:
        self.clock[0] += self.takes
        if self.error:
            raise self.error


class Slow:
    """A connection that answers after 0.6 s."""

    def __init__(self, *_arguments: object) -> None:
        """Like a client of the agent's."""

    def run(self, _statement: str, _arguments: tuple[str, ...]) -> None:
        time.sleep(0.6)


def proved(
    agent: ModuleType, monkeypatch: pytest.MonkeyPatch, takes: float, error: Exception | None = None
) -> Any:
    clock = [NOW]
    monkeypatch.setattr(agent.time, "monotonic", lambda: clock[0])
    tried = agent.prove(Said(clock, takes, error), "SELECT 1", (), 0.3)
    return agent.after(agent.Proof(990.0, 0.1), tried)


def test_a_success_counts_from_when_it_began(agent: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert proved(agent, monkeypatch, 0.2).begun == NOW


def test_a_success_that_slept_through_a_freeze_is_none(
    agent: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = proved(agent, monkeypatch, 12.0)
    assert last.begun == 990.0
    assert "12.00 s" in last.problem


def test_a_failure_keeps_the_last_success_and_says_why(
    agent: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = proved(agent, monkeypatch, 0.1, OSError("broken pipe"))
    assert (last.begun, last.problem) == (990.0, "broken pipe")


def test_of_barriers_under_way_at_once_the_newest_success_counts(agent: ModuleType) -> None:
    newest = agent.Proof(NOW, 0.5)
    assert agent.after(newest, agent.Proof(NOW - 0.2, 0.9)) == newest, "an older one came later"
    assert agent.after(newest, agent.Proof(NOW - 0.2, problem="timed out")) == newest
    assert agent.after(newest, agent.Proof(NOW + 0.2, problem="timed out")).problem == "timed out"
    assert agent.after(newest, agent.Proof(NOW + 0.2, 0.1)) == agent.Proof(NOW + 0.2, 0.1)


def test_a_barrier_begins_in_time_although_each_takes_its_whole_deadline(
    agent: ModuleType,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    threads: Callable[..., None],
) -> None:
    """Threads of the agent, a server that answers after 0.6 s, and the age as the routers would see it."""
    monkeypatch.setattr(agent, "Client", Slow)
    runs = agent.Agent(settings, tmp_path / "password")
    threads(*(partial(runs._barrier, place) for place in range(settings.barriers)))
    eventually(lambda: runs.barrier.begun, seconds=5, every=0.01)
    seen = [time.monotonic() - runs.barrier.begun for _ in range(100) if time.sleep(0.02) is None]
    assert min(seen) >= 0.6
    assert max(seen) < 1.1, "one at a time, it would be twice 0.6 s"
    assert settings.barrier_every + 0.6 < settings.barrier_max_age


@pytest.mark.parametrize(("now", "due"), [(10.1, 10.8), (10.7, 10.8), (10.9, 11.6), (13.1, 13.2)])
def test_a_turn_that_was_missed_is_left_out(agent: ModuleType, now: float, due: float) -> None:
    assert agent.next_turn(10.0, 0.8, now) == pytest.approx(due)


@pytest.fixture
def served(agent: ModuleType, settings: Any) -> Iterator[Any]:
    """An agent whose HTTP side runs, and none of its threads."""
    found = agent.Agent(settings, "secret")
    server = agent.Server(found)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    found.port = server.socket.getsockname()[1]
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def ask(served: Any, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_member_that_is_not_ready_answers_503_with_reasons(served: Any) -> None:
    status, body = ask(served, "/")
    assert status == 503
    assert "no commit has succeeded yet" in body["reasons"]
    assert "secret" not in json.dumps(body)


def test_the_screen_gets_its_answer_from_a_member_that_is_not_ready(served: Any) -> None:
    status, body = ask(served, "/state")
    assert (status, body["ready"], body["member"]) == (200, False, "db-1")


def test_a_member_that_is_well_answers_200(agent: ModuleType, served: Any) -> None:
    now = agent.time.monotonic()
    served.sample = agent.Sample(now, "ONLINE", 3, writable=True, members=(("10.0.0.1", "ONLINE"),))
    served.barrier = served.commit = agent.Proof(now, 0.001)
    served.last_tick = now + 5
    status, body = ask(served, "/")
    assert (status, body["reasons"], body["standby"]) == (200, [], False)
    assert body["sample"]["members"] == {"10.0.0.1": "ONLINE"}


def test_an_unknown_page_is_none(served: Any) -> None:
    assert ask(served, "/elsewhere")[0] == 404
