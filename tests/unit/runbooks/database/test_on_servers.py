"""The members' program and the planned switch on real servers and routers, as far as one machine has them."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runbooks.database.onhost.member import Member
from tests.beds.members import PASSWORD, Server, group, join, online, server, wait
from tests.programs import load_program

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(server() is None, reason="no mysqld; YIYUN_TEST_MYSQLD names one"),
    pytest.mark.timeout(300),
]
CLIENTS = ["127.0.0.1"]
ROLE = Path(__file__).parents[4] / "playbooks/roles/mysql/files"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    with group(tmp_path_factory.mktemp("group")) as made:
        yield made


@pytest.fixture
def programs(servers: dict[str, Server]) -> dict[str, Member]:
    addresses = {s.name: s.address for s in servers.values()}
    return {name: Member(s.config(addresses), 1, ssl={}) for name, s in servers.items()}


def copied(stages: list[dict[str, Any]]) -> bool:
    return any(s["stage"] == "FILE COPY" and s["state"] == "Completed" for s in stages)


def client(servers: dict[str, Server], member: str, **more: Any) -> Any:
    """A client's session from an address of a router."""
    return servers[member].connect("yiyun_drill", bind_address=CLIENTS[0], database="yiyun_drill", **more)


def test_a_member_says_what_it_is(programs: dict[str, Member]) -> None:
    said = programs["db-2"].look(CLIENTS)
    assert (said["answers"], said["state"], said["version"][:4]) == (True, "ONLINE", "9.7.")
    assert said["view"] == dict.fromkeys(("db-1", "db-2", "db-3"), "ONLINE")
    assert (said["single_primary"], said["read_only"], said["conflicts"]) == (0, 0, 0)
    assert said["health"]["ready"] is False  # nobody answers at its agent's port here
    assert said["executed"]


def test_who_is_in_a_transaction_is_seen_at_once_and_who_is_idle_is_not(
    servers: dict[str, Server], programs: dict[str, Member]
) -> None:
    db = programs["db-1"]
    servers["db-1"].run("CREATE TABLE yiyun_drill.t (id INT PRIMARY KEY)")
    with closing(client(servers, "db-1")) as session, session.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert db.look(CLIENTS)["busy"] == []
        cursor.execute("BEGIN")
        cursor.execute("SELECT COUNT(*) FROM t")  # a read holds no row, and is a transaction all the same
        (seen,) = db.look(CLIENTS)["busy"]
        assert (seen["user"], seen["host"], seen["id"]) == ("yiyun_drill", CLIENTS[0], session.thread_id())
        time.sleep(0.2)
        assert db.look(CLIENTS)["busy"][0]["seconds"] >= 0.2
        assert db.look(["10.0.0.1"])["busy"] == []  # who does not come by a router is not cut by one
        began = time.monotonic()
        assert db.drain(CLIENTS, 0.1)["busy"]
        assert 0.1 <= time.monotonic() - began < 0.3
        threading.Timer(0.05, session.commit).start()
        began = time.monotonic()
        assert db.drain(CLIENTS, 1.0)["busy"] == []
        assert time.monotonic() - began < 0.3


def test_a_statement_outside_any_transaction_counts_while_it_runs(
    servers: dict[str, Server], programs: dict[str, Member]
) -> None:
    with closing(client(servers, "db-1")) as session:
        asleep = threading.Thread(target=lambda: session.cursor().execute("SELECT SLEEP(0.4)"))
        asleep.start()
        wait(lambda: programs["db-1"].look(CLIENTS)["busy"], "not seen", 2)
        asleep.join()
        wait(lambda: not programs["db-1"].look(CLIENTS)["busy"], "it still counts", 2)


def test_a_member_that_has_not_everything_says_so_and_what_it_lacks(
    servers: dict[str, Server], programs: dict[str, Member]
) -> None:
    executed = programs["db-1"].drain(CLIENTS, 0.1)["executed"]
    assert programs["db-2"].catch_up(executed, 2.0) == {"caught_up": True}
    source = executed.split(":")[0]
    assert programs["db-2"].catch_up(f"{source}:1-99999999", 0.1) == {"caught_up": False}
    found = programs["db-3"].compare({"a": f"{source}:1-10", "b": f"{source}:1-4", "c": ""})
    assert found["missing"] == {"a": "", "b": f"{source}:5-10", "c": f"{source}:1-10"}
    assert found["only"] == {"a": f"{source}:5-10", "b": "", "c": ""}


def test_a_proof_is_a_commit_of_the_whole_group(
    servers: dict[str, Server], programs: dict[str, Member]
) -> None:
    assert programs["db-2"].prove("db-2")["seconds"] < 5
    count = "SELECT count FROM yiyun_probe.proof WHERE member = 'db-2'"
    wait(lambda: servers["db-3"].run(count) == (1,), "the proof did not reach the others", 5)


def test_a_member_is_rebuilt_by_a_copy_and_is_back(
    servers: dict[str, Server], programs: dict[str, Member], tmp_path: Any
) -> None:
    """As `db replace` does it: data aside, a new directory, a join that must copy, the restart after it."""
    lost = servers["db-3"]
    lost.end()
    wait(lambda: online(servers["db-1"]) == 2, "the group did not expel it")
    (lost.folder / "data").rename(tmp_path / "aside")
    lost.initialise()
    lost.start()
    programs["db-3"].look(CLIENTS)  # a session of the server before it must not stand in the way
    programs["db-3"].clone_next()
    wait(lambda: lost.restarted(), "it did not restart itself after the copy")
    wait(lambda: copied(programs["db-3"].cloning()["stages"]), "it did not come by a copy", 5)
    join(lost)  # the keeper's part
    wait(lambda: online(servers["db-1"]) == 3, "it is not back")
    assert lost.run("SELECT COUNT(*) FROM yiyun_drill.t") == (0,)


def test_the_mode_is_changed_while_the_group_serves_and_the_primary_is_elected(
    servers: dict[str, Server], programs: dict[str, Member]
) -> None:
    first = servers["db-1"]
    first.run("SELECT group_replication_switch_to_single_primary_mode()")
    try:
        assert programs["db-2"].look(CLIENTS)["single_primary"] == 1
        wanted = programs["db-2"].look(CLIENTS)["uuid"]
        programs["db-1"].elect(wanted)
        assert first.run("SELECT @@group_replication_enforce_update_everywhere_checks") == (0,)
        seen = {name: p.look(CLIENTS)["read_only"] for name, p in programs.items()}
        assert seen == {"db-1": 1, "db-2": 0, "db-3": 1}
        assert programs["db-2"].prove("db-2")
        with pytest.raises(Exception, match=r"read.only"):
            programs["db-1"].prove("db-1")
    finally:
        first.run("SELECT group_replication_switch_to_multi_primary_mode()")
    checks = "SELECT @@group_replication_enforce_update_everywhere_checks, @@super_read_only"
    wait(lambda: {s.run(checks) for s in servers.values()} == {(1, 0)}, "not all may write again", 10)


def test_a_group_is_given_the_mode_its_file_says(servers: dict[str, Server]) -> None:
    """`converge` of the role's own program, on a group that serves in the other mode."""
    for name in ("group_plan", "mysql_passwords", "mysql_accounts"):
        load_program(ROLE / f"{name}.py")
    program = load_program(ROLE / "mysql_group.py")
    addresses = {s.name: s.address for s in servers.values()}
    mode = "SELECT @@group_replication_single_primary_mode"
    for single in (True, False):
        raw = servers["db-2"].config(addresses) | {"ca": str(servers["db-1"].folder / "ca.pem")}
        raw["admin"], raw["recovery"] = (program.Login(**raw[who]) for who in ("admin", "recovery"))
        group_of = program.Group(**raw, single_primary=single)
        code, said = program.converge(group_of, 30, (), check=True)
        assert (code, said["changed"]) == (0, True)
        assert servers["db-3"].run(mode) == (int(not single),), "a check changed it"
        code, said = program.converge(group_of, 30, (), check=False)
        assert (code, said["changed"], said["plan"]["action"]) == (0, True, "none")
        wait(lambda wanted=int(single): {s.run(mode) for s in servers.values()} == {(wanted,)}, "mode", 10)
        assert program.converge(group_of, 30, (), check=False)[1]["changed"] is False


def test_the_password_stays_out_of_reach() -> None:
    assert PASSWORD not in repr(Member({"name": "x", "members": {}}, 1, ssl={}))
