"""What is repeated, what is not, and how often."""

import socket
from typing import Any

import pymysql
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from yiyun_app.errors import DatabaseUnavailableError, UnknownOutcomeError
from yiyun_app.retry import Phase, RestartTransactionError, RetryPolicy, Verdict, classify, run_transaction


def failure(code: int, *, invalidated: bool = False) -> OperationalError:
    return OperationalError(
        "SQL", {}, pymysql.OperationalError(code, "x"), connection_invalidated=invalidated
    )


@pytest.mark.parametrize(
    ("error", "phase", "verdict"),
    [
        (failure(1213), Phase.EXECUTING, Verdict.ROLLED_BACK),
        (failure(1213), Phase.COMMITTING, Verdict.ROLLED_BACK),
        (failure(1180), Phase.COMMITTING, Verdict.ROLLED_BACK),
        (failure(3101), Phase.COMMITTING, Verdict.ROLLED_BACK),
        (failure(3100), Phase.COMMITTING, Verdict.UNKNOWN),
        (failure(2013), Phase.COMMITTING, Verdict.UNKNOWN),
        (failure(2006), Phase.COMMITTING, Verdict.UNKNOWN),
        (failure(9999, invalidated=True), Phase.COMMITTING, Verdict.UNKNOWN),
        (InterfaceError("SQL", {}, pymysql.InterfaceError(0, "")), Phase.COMMITTING, Verdict.UNKNOWN),
        (failure(2013), Phase.EXECUTING, Verdict.ROLLED_BACK),
        (failure(2006), Phase.CONNECTING, Verdict.ROLLED_BACK),
        (failure(2003), Phase.CONNECTING, Verdict.ROLLED_BACK),
        (failure(1040), Phase.CONNECTING, Verdict.ROLLED_BACK),
        (PoolTimeoutError(), Phase.CONNECTING, Verdict.ROLLED_BACK),
        (failure(1290), Phase.EXECUTING, Verdict.ROLLED_BACK),
        (RestartTransactionError(), Phase.EXECUTING, Verdict.ROLLED_BACK),
        (failure(1045), Phase.CONNECTING, Verdict.FATAL),
        (ProgrammingError("SQL", {}, pymysql.ProgrammingError(1146, "x")), Phase.EXECUTING, Verdict.FATAL),
        (IntegrityError("SQL", {}, pymysql.IntegrityError(1062, "x")), Phase.EXECUTING, Verdict.FATAL),
        (ValueError(), Phase.COMMITTING, Verdict.FATAL),
    ],
)
def test_a_failure_means(error: BaseException, phase: Phase, verdict: Verdict) -> None:
    assert classify(error, phase) is verdict


class FakeSession:
    """Fails where told, in order; None is a success."""

    def __init__(self, plan: dict[str, list[BaseException | None]]) -> None:
        self.plan = plan
        self.closed = self.commits = self.invalidated = 0

    def _step(self, name: str) -> None:
        waiting = self.plan.get(name, [])
        error = waiting.pop(0) if waiting else None
        if error is not None:
            raise error

    def connection(self) -> None:
        self._step("connect")

    def flush(self) -> None:
        self._step("flush")

    def commit(self) -> None:
        self.commits += 1
        self._step("commit")

    def invalidate(self) -> None:
        self.invalidated += 1

    def close(self) -> None:
        self.closed += 1


def run(
    session: FakeSession, *, idempotent: bool, policy: RetryPolicy | None = None
) -> tuple[int, list[float]]:
    now, slept, runs = [0.0], list[float](), [0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    def work(_session: Any) -> int:
        runs[0] += 1
        return runs[0]

    return run_transaction(
        lambda: session,  # type: ignore[arg-type, return-value]
        work,
        idempotent=idempotent,
        policy=policy or RetryPolicy(),
        clock=lambda: now[0],
        sleep=sleep,
    ), slept


def test_a_rollback_repeats_the_whole_work_with_growing_pauses() -> None:
    session = FakeSession({"commit": [failure(3101), failure(1213), None]})
    runs, slept = run(session, idempotent=False)
    assert (runs, session.commits, session.closed) == (3, 3, 3)
    assert 0.005 <= slept[0] <= 0.01 <= slept[1] <= 0.02


def test_a_connection_lost_before_the_first_statement_is_always_repeated() -> None:
    assert run(FakeSession({"connect": [failure(2006), failure(2013)]}), idempotent=False)[0] == 1


@pytest.mark.parametrize("code", [2013, 2006, 3100])
def test_an_unknown_outcome_is_repeated_only_under_a_key(code: int) -> None:
    with pytest.raises(UnknownOutcomeError):
        run(FakeSession({"commit": [failure(code)]}), idempotent=False)
    assert run(FakeSession({"commit": [failure(code)]}), idempotent=True)[0] == 2


def test_a_connection_to_a_member_that_may_not_write_is_thrown_away() -> None:
    session = FakeSession({"flush": [failure(1290)]})
    run(session, idempotent=False)
    assert session.invalidated == 1


def test_the_repetition_ends_with_the_policys_time() -> None:
    session = FakeSession({"commit": [failure(1213) for _ in range(1000)]})
    with pytest.raises(DatabaseUnavailableError):
        run(session, idempotent=True, policy=RetryPolicy(total_seconds=2))
    assert 8 <= session.commits <= 30


def refused() -> OperationalError:
    """What a connection to a port says where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    engine = create_engine(f"mysql+pymysql://nobody@127.0.0.1:{port}/none")
    with pytest.raises(OperationalError) as caught, engine.connect():
        pass
    return caught.value


def test_where_no_router_listens_another_host_shall_serve_soon() -> None:
    error = refused()
    session = FakeSession({"connect": [error for _ in range(1000)]})
    slept: list[float] = []
    with pytest.raises(DatabaseUnavailableError):
        run_transaction(
            lambda: session,  # type: ignore[arg-type, return-value]
            lambda _: None,
            idempotent=True,
            policy=RetryPolicy(),
            clock=lambda: sum(slept),
            sleep=slept.append,
        )
    assert 0.05 <= sum(slept) <= 0.2


def test_a_router_that_is_back_at_once_is_used() -> None:
    error = refused()
    plan: dict[str, list[BaseException | None]] = {"connect": [error, error, None]}
    assert run(FakeSession(plan), idempotent=False)[0] == 1


def test_an_error_of_the_work_is_not_repeated() -> None:
    session = FakeSession({"flush": [failure(1146)]})
    with pytest.raises(OperationalError):
        run(session, idempotent=True)
    assert session.closed == 1


def test_pauses_are_jittered_and_bounded() -> None:
    policy = RetryPolicy()
    assert policy.pause(0, lambda: 0.0) == pytest.approx(0.005)
    assert policy.pause(0, lambda: 1.0) == pytest.approx(0.01)
    assert policy.pause(1000, lambda: 1.0) == policy.longest_pause


def test_a_real_deadlock_is_resolved_by_repeating(engine: Engine) -> None:
    import threading

    from sqlalchemy import select, update
    from sqlalchemy.orm import Session

    from yiyun_app.database import sessions
    from yiyun_app.schema import Counter

    with Session(engine) as session, session.begin():
        session.add_all([Counter(name="a", value=0), Counter(name="b", value=0)])
    both_hold_one = threading.Barrier(2)
    runs = {"a": 0, "b": 0}

    def add(first: str, second: str) -> None:
        def work(session: Session) -> None:
            runs[first] += 1
            session.execute(update(Counter).where(Counter.name == first).values(value=Counter.value + 1))
            if runs[first] == 1:
                both_hold_one.wait(20)
            session.execute(update(Counter).where(Counter.name == second).values(value=Counter.value + 1))

        run_transaction(sessions(engine), work, idempotent=False, policy=RetryPolicy(total_seconds=20))

    threads = [threading.Thread(target=add, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with Session(engine) as session:
        assert [
            tuple(row) for row in session.execute(select(Counter.name, Counter.value).order_by(Counter.name))
        ] == [
            ("a", 2),
            ("b", 2),
        ]
    assert sorted(runs.values()) == [1, 2]
