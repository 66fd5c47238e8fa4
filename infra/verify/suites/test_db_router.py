"""Database router: every router holds the same single writer, reachable from its own host only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("db-router")


def test_there_is_exactly_one_writer(on: Machine, everyone: dict[str, Machine]) -> None:
    routers = [m for m in everyone.values() if "db-router" in {s.name for s in m.services}]
    said = {m.name: m.json_of("db-writer") for m in routers}
    writers = {name: router["writer"] for name, router in said.items()}
    assert set(writers.values()) == {writers[on.name]}, writers
    assert writers[on.name] in {h.name for h in on.estate.hosts_with("db")}, writers
    stray = said[on.name]["stray"]
    assert not stray, f"sessions beside the writer {writers[on.name]}: {stray}"


def test_it_is_connected_to_every_other_router(on: Machine) -> None:
    """They tell each other what they hold: apart, each would pick a writer of its own."""
    assert on.json_of("db-writer")["apart"] == []


def test_the_keeper_is_a_user_of_its_own_and_may_ask_the_router(on: Machine) -> None:
    asked = on.shell.run(
        "runuser -u yiyun-db-keeper -g haproxy -- python3 -B /usr/local/lib/yiyun/yiyun_db_writer.py"
    )
    assert asked.rc == 0, asked.stdout.strip()
    shown = on.shell.run("systemctl show --property=User --value yiyun-db-keeper")
    assert shown.stdout.strip() == "yiyun-db-keeper"


def test_local_door_is_local(on: Machine) -> None:
    assert on.listening(3306) == {"127.0.0.1"}


def test_configuration_is_valid(on: Machine) -> None:
    checked = on.shell.run("haproxy -c -q -f /etc/haproxy/haproxy.cfg")
    assert checked.rc == 0, checked.stderr.strip()[-300:]
