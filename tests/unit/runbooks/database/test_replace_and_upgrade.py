"""A replacement's and an upgrade's steps, and where each stops: with hosts that only note what is asked."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

import pytest

from infra.errors import RefusedError, YiyunError
from runbooks.database import replacing, upgrading
from runbooks.database.picture import Member, Picture, Router
from runbooks.database.planning import ReplacePlan
from runbooks.database.replacing import check_room, replace
from runbooks.database.upgrading import upgrade

NAMES = ("db-1", "db-2", "db-3")
WHOLE = dict.fromkeys(NAMES, "ONLINE")
PLAN = ReplacePlan("db-3", ("db-1", "db-2"), "")
COPIED = [{"stage": "FILE COPY", "state": "Completed", "estimate": 10, "data": 10}]
SAME = {"installed": "9.7.4-2", "candidate": "9.7.4-2", "bytes": 100, "free": 1000}


class Host:
    def __init__(self, name: str, asked: list[str], **answers: Any) -> None:
        self.name, self.asked, self.answers = name, asked, answers

    def ask(self, what: str, *, seconds: float = 5, **arguments: Any) -> dict[str, Any]:
        told = f" {arguments['on']}" if what == "hold" else ""
        self.asked.append(f"{self.name} {what}{told}")
        answer = self.answers.get(what, {})
        if isinstance(answer, YiyunError):
            raise answer
        return answer


def whole(writer: str = "db-1", **states: str) -> Picture:
    members = [
        Member(n, answers=True, state=states.get(n.replace("-", "_"), "ONLINE"), view=WHOLE, ready=True)
        for n in NAMES
    ]
    status = dict.fromkeys(NAMES, "UP")
    return Picture(tuple(members), (Router("app-1", answers=True, writer=writer, status=status),))


class Hands:
    """`looks`: what is seen, one after the other, the last one for ever."""

    def __init__(self, asked: list[str], *looks: Picture) -> None:
        self.members = {n: Host(n, asked, cloning={"stages": COPIED}) for n in NAMES}
        self.routers: dict[str, Host] = {}
        self.looks = list(looks)

    def look(self) -> Picture:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacing, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(upgrading, "LOOK_SECONDS", 0.0)


def carried_out(hands: Hands, asked: list[str], limit: float = 5, **answers: Any) -> dict[str, Any]:
    on = {n: Host(n, asked, **answers) for n in NAMES}
    return replace(PLAN, "lab", on, hands, lambda _: None, keep=True, limit=limit)  # pyright: ignore[reportArgumentType]


def test_a_donor_proves_itself_before_anything_is_touched_and_old_data_go_last() -> None:
    asked: list[str] = []
    done = carried_out(Hands(asked, whole(db_3="RECOVERING"), whole()), asked)
    assert done["cloned"] is True
    assert [a for a in asked if "cloning" not in a] == [
        *(
            "db-1 prove",
            "db-3 hold True",
            "db-3 set_aside",
            "db-3 make",
            "db-3 clone_next",
            "db-3 hold False",
        ),
        "db-3 finish",
    ]


def test_a_donor_that_cannot_prove_itself_leaves_the_member_untouched() -> None:
    asked: list[str] = []
    hands = Hands(asked, whole())
    hands.members["db-1"] = Host("db-1", asked, prove=YiyunError("no quorum"))
    with pytest.raises(YiyunError, match="no quorum"):
        carried_out(hands, asked)
    assert asked == ["db-1 prove"]


@pytest.mark.parametrize("answers", [{"make": YiyunError("no disk")}, {}])
def test_a_copy_that_fails_or_does_not_come_to_an_end_puts_the_old_data_back(answers: dict[str, Any]) -> None:
    asked: list[str] = []
    with pytest.raises(YiyunError, match=r"no disk|did not come back"):
        carried_out(Hands(asked, whole(db_3="RECOVERING")), asked, limit=0.05, **answers)
    assert asked[-2:] == ["db-3 put_back", "db-3 hold False"]
    assert "db-3 finish" not in asked


def test_a_copy_that_does_not_fit_is_refused() -> None:
    on = {n: Host(n, [], look={**SAME, "bytes": 900}) for n in NAMES}
    with pytest.raises(RefusedError, match="the copy needs") as refused:
        check_room(PLAN, on, keep=True)
    assert "--discard-first" in refused.value.hint
    assert check_room(PLAN, on, keep=False) == (900, 1000)


def test_the_writer_is_restarted_last_and_only_after_a_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    hands = Hands(asked, whole())

    def switched(plan: Any, hands: Any, _: Any) -> Any:
        asked.append(f"switch {plan.old} {plan.to}")
        hands.looks = [whole("db-2")]
        return changed_pause

    changed_pause = type("Done", (), {"pause": 0.05})()
    monkeypatch.setattr(upgrading, "switch", switched)
    on = {n: Host(n, asked, look=SAME, upgrade={"before": "1", "after": "1"}) for n in NAMES}
    done = upgrade(on, hands, lambda _: None)  # pyright: ignore[reportArgumentType]
    assert [a for a in asked if "restart" in a or "switch" in a] == [
        *("db-2 restart", "db-3 restart", "switch db-1 db-2", "db-1 restart")
    ]
    assert (done.restart_only, done.switch_pause, len(done.members)) == (True, 0.05, 3)


def test_an_upgrade_stops_at_a_member_that_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(upgrading, "BACK_SECONDS", 0.05)
    on = {n: Host(n, asked, look=SAME) for n in NAMES}
    hands = Hands(asked, whole(), whole(), whole(db_2="RECOVERING"))
    with pytest.raises(YiyunError, match=r"db-2 did not come back.*were not touched"):
        upgrade(on, hands, lambda _: None)  # pyright: ignore[reportArgumentType]
    assert [a for a in asked if "restart" in a] == ["db-2 restart"]


def test_an_upgrade_stops_when_another_member_goes_meanwhile() -> None:
    asked: list[str] = []
    on = {n: Host(n, asked, look=SAME) for n in NAMES}
    gone = whole()
    gone = changed(gone, members=(*gone.members[:2], changed(gone.members[2], state="ERROR")))
    hands = Hands(asked, whole(), whole(), whole(), gone)
    with pytest.raises(RefusedError, match="db-3 is ERROR"):
        upgrade(on, hands, lambda _: None)  # pyright: ignore[reportArgumentType]
    assert [a for a in asked if "restart" in a] == ["db-2 restart"]
