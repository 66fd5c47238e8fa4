"""Recorded state beside actual state: every kind of hand change is named, and nothing else."""

from __future__ import annotations

import copy

import pytest

from infra.drift.compare import State, differences, is_named, merged


def state() -> State:
    return {
        "File": {
            "/etc/a.conf": {"kind": "file", "owner": "root", "group": "root", "mode": "0644", "sha256": "1"},
            "/opt/app/current": {"kind": "link", "target": "/opt/app/releases/1"},
        },
        "Package": {"nginx": {"version": "1.26"}},
        "Unit": {
            "nginx.service": {"enabled": "enabled", "active": "active"},
            "cleaner.service": {"enabled": "static", "active": "inactive"},
            "backup.service": {"enabled": "disabled", "active": "inactive"},
            "wg-quick@wg0.service": {"enabled": "enabled", "active": "active"},
        },
        "Listener": {"tcp 0.0.0.0:443": {"unit": "nginx.service"}},
        "User": {"app": {"uid": "990", "group": "app", "home": "/", "shell": "/x", "password": "locked"}},
        "Group": {"app": {"gid": "990", "members": ""}},
        "KernelSetting": {"net.ipv4.ip_forward": {"value": "0"}},
        "Firewall": {"inet line": {"sha256": "1"}},
    }


def seen(change) -> list[tuple[str, str, str, tuple[str, ...]]]:
    actual = copy.deepcopy(state())
    change(actual)
    return [(d.kind, d.name, d.action, d.properties) for d in differences("h", state(), actual)]


def test_a_host_as_recorded_has_no_difference() -> None:
    assert seen(lambda s: None) == []


FULL_USER = ("group", "home", "password", "shell", "uid")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda s: s["File"]["/etc/a.conf"].update(sha256="2"),
            ("File", "/etc/a.conf", "update", ("sha256",)),
        ),
        (
            lambda s: s["File"]["/etc/a.conf"].update(mode="0666"),
            ("File", "/etc/a.conf", "update", ("mode",)),
        ),
        (
            lambda s: s["File"]["/opt/app/current"].update(target="/tmp/x"),
            ("File", "/opt/app/current", "update", ("target",)),
        ),
        (
            lambda s: s["File"].pop("/opt/app/current"),
            ("File", "/opt/app/current", "create", ("kind", "target")),
        ),
        (
            lambda s: s["File"].update({"/etc/new": {"kind": "file"}}),
            ("File", "/etc/new", "delete", ("kind",)),
        ),
        (lambda s: s["Package"].pop("nginx"), ("Package", "nginx", "create", ("version",))),
        (
            lambda s: s["Package"]["nginx"].update(version="1"),
            ("Package", "nginx", "update", ("version",)),
        ),
        (
            lambda s: s["Package"].update(hello={"version": "2"}),
            ("Package", "hello", "delete", ("version",)),
        ),
        (
            lambda s: s["Unit"]["backup.service"].update(active="active"),
            ("Unit", "backup.service", "update", ("active",)),
        ),
        (
            lambda s: s["Unit"].update({"evil.service": {"enabled": "transient", "active": "active"}}),
            ("Unit", "evil.service", "delete", ("active", "enabled")),
        ),
        (
            lambda s: s["Unit"].pop("wg-quick@wg0.service"),
            ("Unit", "wg-quick@wg0.service", "create", ("active", "enabled")),
        ),
        (
            lambda s: s["Listener"].update({"tcp *:99": {"unit": "session"}}),
            ("Listener", "tcp *:99", "delete", ("unit",)),
        ),
        (
            lambda s: s["Listener"]["tcp 0.0.0.0:443"].update(unit="session"),
            ("Listener", "tcp 0.0.0.0:443", "update", ("unit",)),
        ),
        (
            lambda s: s["User"]["app"].update(password="set 12"),
            ("User", "app", "update", ("password",)),
        ),
        (
            lambda s: s["KernelSetting"]["net.ipv4.ip_forward"].update(value="1"),
            ("KernelSetting", "net.ipv4.ip_forward", "update", ("value",)),
        ),
        (
            lambda s: s["Firewall"]["inet line"].update(sha256="2"),
            ("Firewall", "inet line", "update", ("sha256",)),
        ),
    ],
)
def test_one_hand_change_is_named_alone(change, expected) -> None:
    assert seen(change) == [expected]


def test_a_stopped_unit_is_named_and_its_listener_is_not_named_again() -> None:
    def stop(s: State) -> None:
        s["Unit"]["nginx.service"]["active"] = "inactive"
        del s["Listener"]["tcp 0.0.0.0:443"]

    assert seen(stop) == [("Unit", "nginx.service", "update", ("active",))]


def test_a_masked_unit_shows_both_properties() -> None:
    changed = {"enabled": "masked", "active": "inactive"}
    assert seen(lambda s: s["Unit"].update({"nginx.service": changed})) == [
        ("Unit", "nginx.service", "update", ("active", "enabled"))
    ]


def test_a_new_user_is_named_once_with_its_group() -> None:
    def add(s: State) -> None:
        s["User"]["eve"] = {"uid": "1000"}
        s["Group"]["eve"] = {"gid": "1000", "members": ""}

    assert seen(add) == [("User", "eve", "delete", ("uid",))]


@pytest.mark.parametrize("active", ["activating", "reloading"])
def test_a_unit_on_its_way_is_no_drift(active: str) -> None:
    assert seen(lambda s: s["Unit"]["nginx.service"].update(active=active)) == []


def test_units_that_others_start_may_come_and_go() -> None:
    assert seen(lambda s: s["Unit"]["cleaner.service"].update(active="active")) == []
    assert seen(lambda s: s["Unit"]["backup.service"].update(active="failed")) == []
    assert seen(lambda s: s["Unit"].update({"job.service": {"enabled": "static", "active": "failed"}})) == []


def test_an_unknown_unit_that_starts_at_boot_is_named_even_before_it_runs() -> None:
    added = {"evil.service": {"enabled": "enabled", "active": "inactive"}}
    assert seen(lambda s: s["Unit"].update(added)) == [
        ("Unit", "evil.service", "delete", ("active", "enabled"))
    ]


def test_a_new_record_takes_over_what_roles_made_and_nothing_made_by_hand() -> None:
    old, before, after = state(), copy.deepcopy(state()), copy.deepcopy(state())
    by_hand = {"/etc/by-hand": {"kind": "file"}}
    before["File"] |= by_hand
    after["File"] |= by_hand | {"/etc/by-role": {"kind": "file"}}
    before["File"]["/etc/a.conf"]["mode"] = "0666"
    after["Package"]["haproxy"] = {"version": "3"}
    new = merged(old, before, after, frozenset())
    assert "/etc/by-hand" not in new["File"]
    assert "/etc/by-role" in new["File"]
    assert new["File"]["/etc/a.conf"]["mode"] == "0644"
    assert new["Package"]["haproxy"] == {"version": "3"}


def test_a_hand_change_that_no_role_undid_stays_a_difference_although_a_task_names_the_file() -> None:
    old, before = state(), copy.deepcopy(state())
    before["File"]["/etc/a.conf"]["sha256"] = "2"
    assert merged(old, before, copy.deepcopy(before), frozenset({"/etc/a.conf"}))["File"] == old["File"]


def test_what_was_there_before_a_role_named_it_is_taken_over() -> None:
    old, before = state(), copy.deepcopy(state())
    before["Package"]["hello"] = {"version": "2"}
    new = merged(old, before, copy.deepcopy(before), frozenset({"hello"}))
    assert new["Package"]["hello"] == {"version": "2"}


def test_a_listener_that_opened_late_belongs_to_the_role_of_its_unit() -> None:
    old, before = state(), copy.deepcopy(state())
    before["Listener"] |= {"tcp *:8444": {"unit": "nginx.service"}, "tcp *:99": {"unit": "session"}}
    new = merged(old, before, copy.deepcopy(before), frozenset({"nginx"}))
    assert set(new["Listener"]) == {"tcp 0.0.0.0:443", "tcp *:8444"}


def test_a_unit_on_its_way_is_recorded_as_arrived() -> None:
    after = copy.deepcopy(state())
    after["Unit"]["nginx.service"]["active"] = "activating"
    assert merged({}, {}, after, frozenset())["Unit"]["nginx.service"]["active"] == "active"


def test_the_user_may_keep_a_hand_change() -> None:
    old, before = state(), copy.deepcopy(state())
    before["File"]["/etc/a.conf"]["mode"] = "0600"
    new = merged(old, before, copy.deepcopy(before), frozenset(), frozenset({"File:/etc/a.conf"}))
    assert new["File"]["/etc/a.conf"]["mode"] == "0600"


@pytest.mark.parametrize(
    ("name", "word", "named"),
    [
        ("/etc/app/secrets/x", "/etc/app/secrets/*", True),
        ("nginx.service", "nginx", True),
        ("nginx", "nginx", True),
        ("nginx-extras", "nginx", False),
        ("anything", "*", False),
    ],
)
def test_what_a_word_means(name: str, word: str, named: bool) -> None:
    assert is_named(name, frozenset({word})) is named
