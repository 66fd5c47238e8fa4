"""HAProxy's configuration, images, settings and mounts, without a machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.drivers.lab import images
from infra.drivers.lab.balancer import haproxy_config, prepare, states_in
from infra.drivers.lab.buckets import bucket_policy
from infra.drivers.lab.commands import run
from infra.drivers.lab.images import RECIPES, mirrors_in, mmdebstrap_command, newest_build
from infra.drivers.lab.machines import host_machine, run_command, store_machine
from infra.drivers.lab.objectstore import accounts
from infra.drivers.lab.settings import LabSettings, read_settings, write_settings
from infra.errors import BadInputError, YiyunError
from infra.estate.limits import EDGE
from infra.paths import EstatePaths

if TYPE_CHECKING:
    from infra.drivers.lab.desired import Desired


def test_backends_are_called_by_tls_under_their_own_names(desired: Desired) -> None:
    text = haproxy_config(desired, "web")
    name = "app-1.lab.yiyun.internal"
    assert f"server app-1 10.20.1.10:443 verifyhost {name} sni str({name}) check-sni {name}" in text
    assert "ssl verify required ca-file /certificates/ca.pem" in text


def test_only_idempotent_requests_are_sent_twice(desired: Desired) -> None:
    lines = [line.strip() for line in haproxy_config(desired, "web").splitlines()]
    assert "http-request disable-l7-retry if !twice" in lines
    methods = next(line for line in lines if line.startswith("acl twice method"))
    assert set(methods.split()[3:]) == {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}
    assert "acl twice req.hdr(Idempotency-Key) -m found" in lines


def test_a_client_cannot_say_who_it_is(desired: Desired) -> None:
    lines = [line.strip() for line in haproxy_config(desired, "web").splitlines()]
    assert lines.index("http-request del-header X-Forwarded-For") < lines.index("option forwardfor")


def test_a_balancer_without_listeners_has_no_door(desired: Desired) -> None:
    assert "frontend" not in haproxy_config(replace(desired, listeners=()), "web")


def test_a_missing_certificate_is_named(desired: Desired, tmp_path: Path) -> None:
    paths = EstatePaths("lab", tmp_path)
    with pytest.raises(YiyunError, match=r"web has no certificate ca\.pem") as caught:
        prepare(paths, desired, "web")
    assert caught.value.where.endswith("certificates/ca.pem")


def test_a_balancers_version_follows_its_certificates(desired: Desired, tmp_path: Path) -> None:
    paths = EstatePaths("lab", tmp_path)
    folder = paths.lab / "certificates"
    folder.mkdir(parents=True)
    (folder / "ca.pem").write_text("one")
    (folder / "lb-web.pem").write_text("leaf")
    first = prepare(paths, desired, "web")
    assert prepare(paths, desired, "web") == first
    (folder / "lb-web.pem").write_text("renewed")
    assert prepare(paths, desired, "web") != first


def test_server_states_are_read_from_the_statistics() -> None:
    listing = (
        "# pxname,svname,scur,status,check_status,\n"
        "web-443,app-1,3,UP,L7OK,\nweb-443,app-2,,DOWN,* L4CON,\nweb-443,db,0,UP 1/2,L7OK,\n\n"
    )
    states = states_in(listing)
    assert [(s.host, s.up, s.check, s.sessions) for s in states] == [
        ("app-1", True, "L7OK", 3),
        ("app-2", False, "L4CON", 0),
        ("db", True, "L7OK", 0),
    ]


def test_the_stores_secret_is_in_no_argument_and_it_speaks_tls_only(desired: Desired, tmp_path: Path) -> None:
    store = desired.stores[0]
    machine = store_machine(store, "abc", tmp_path, Path("/x/versitygw"))
    command = run_command(machine, "lab", "owner", tmp_path)
    assert not [word for word in command if "SECRET" in word or "ACCESS_KEY" in word]
    assert "--port :443" in command[-1]
    assert "--cert /store/tls.pem --key /store/tls.pem" in command[-1]
    assert store_machine(store, "renewed", tmp_path, Path("/x/versitygw")).digest != machine.digest


def test_a_store_has_the_accounts_of_its_own_buckets_and_no_administrator(desired: Desired) -> None:
    backups = {"backup": "four", "backup-pruning": "five"}
    keys = {"attachments-app": "one", "attachments-copy": "two", "other": "three", **backups}
    keys |= {"recovery": "six", "takeover": "seven"}
    near, far = (
        json.loads(accounts(desired, region, keys))["accessAccounts"]
        for region in ("cn-north-1", "cn-east-2")
    )
    assert {name: a["secret"] for name, a in near.items()} == {
        "attachments-app": "one",
        "attachments-copy": "two",
        **backups,
    }
    of_far = {"attachments-copy": "two", "recovery": "six", "takeover": "seven"} | backups
    assert {name: a["secret"] for name, a in far.items()} == of_far
    assert {a["role"] for a in (*near.values(), *far.values())} == {"user"}


def test_who_prunes_deletes_hosts_only_hide_lock_files_and_each_account_has_its_buckets(
    desired: Desired,
) -> None:
    policies = {b.name: bucket_policy(b) for b in desired.buckets if b.access}
    assert set(policies) == {"attachments", "attachments-remote", "backups", "backups-remote"}
    deleting = [
        (statement["Principal"]["AWS"][0], statement["Resource"][0])
        for policy in policies.values()
        for statement in policy["Statement"]
        if "Delete" in json.dumps(statement)
    ]
    assert deleting == [
        found
        for bucket in ("backups", "backups-remote")
        for found in (
            ("backup", f"arn:aws:s3:::{bucket}/restic/*/locks/*"),
            ("backup-pruning", f"arn:aws:s3:::{bucket}/*"),
        )
    ]
    granted = {
        (name, s["Principal"]["AWS"][0]): sorted(s["Action"])
        for name, policy in policies.items()
        for s in policy["Statement"]
        if s["Resource"] == [f"arn:aws:s3:::{name}/*"]
    }
    assert {who for who, actions in granted.items() if "s3:PutObject" in actions} == {
        ("attachments", "attachments-app"),
        ("attachments-remote", "attachments-copy"),
        ("attachments-remote", "takeover"),
        ("backups", "backup"),
        ("backups-remote", "backup"),
        ("backups", "backup-pruning"),
        ("backups-remote", "backup-pruning"),
    }
    assert "s3:PutObjectRetention" in granted["backups-remote", "backup"]
    assert granted["attachments", "attachments-copy"] == ["s3:GetObject", "s3:GetObjectVersion"]


def test_a_host_is_started_in_its_prepared_network_within_its_memory(
    desired: Desired, tmp_path: Path
) -> None:
    host = next(h for h in desired.hosts if h.name == "db-1")
    command = run_command(host_machine(host, tmp_path), "lab", "owner", tmp_path / "root")
    assert command[:4] == ["podman", "--runtime", "runc", "run"]
    assert "--network=ns:/run/netns/yy-lab-db-1" in command
    assert f"--memory={host.memory_mib}m" in command
    assert command[-3:] == ["--rootfs", str(tmp_path / "root"), "/sbin/init"]


def test_the_mirror_is_the_machines_own() -> None:
    listing = (
        "Packages|main|Other|Other|http://a.example/x/\n"
        "DEP-11|main|Debian|Debian|http://b.example/debian/\n"
        "Packages|main|Debian|Debian-Security|http://c.example/debian-security/\n"
        "Packages|main|Debian|Debian|http://d.example/debian/\n"
    )
    assert list(mirrors_in(listing)) == ["http://d.example/debian/"]


def test_an_image_is_named_by_what_it_is_made_of_and_not_by_the_mirror(tmp_path: Path) -> None:
    recipe = RECIPES["debian-13"]
    assert replace(recipe, packages=(*recipe.packages, "vim")).digest != recipe.digest
    command = mmdebstrap_command(recipe, "http://m.example/debian", tmp_path)
    assert command[-1] == "deb http://m.example/debian trixie main"


def test_a_half_built_image_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "half-20260101T000000").mkdir()
    assert newest_build(tmp_path) is None
    (tmp_path / "build-20260101T000000").mkdir()
    (tmp_path / "build-20260102T000000").mkdir()
    assert newest_build(tmp_path) == tmp_path / "build-20260102T000000"
    images.remove_half_built(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["build-20260101T000000", "build-20260102T000000"]


def test_an_unknown_image_is_bad_input() -> None:
    with pytest.raises(BadInputError, match="no image windows"):
        images.ensure_image("windows", lambda _: None)


def test_settings_survive_and_default_to_no_doors(desired: Desired, tmp_path: Path) -> None:
    paths = EstatePaths("lab", tmp_path)
    assert read_settings(paths) == LabSettings()
    write_settings(paths, desired.settings)
    assert read_settings(paths) == desired.settings
    doors = {d.name: (d.listen, d.namespace, d.source, d.address, d.port) for d in desired.settings.doors}
    assert doors == {
        "bastion": (10022, "inet", "198.51.100.100", "203.0.113.12", 22),
        "monitoring": (10444, "inet", "198.51.100.100", "203.0.113.12", 443),
        "web": (10443, "inet", "198.51.100.100", "203.0.113.10", 443),
        "backups": (10445, "inet", "198.51.100.100", "100.64.2.10", 443),
        "premises": (10023, "hospital", "192.168.50.250", "192.168.50.10", 22),
    }


def test_a_failing_program_is_told_in_a_sentence() -> None:
    with pytest.raises(YiyunError, match="nobody-has-this is not installed"):
        run(["nobody-has-this"])
    with pytest.raises(YiyunError, match=r"sh -c .* failed: broken"):
        run(["sh", "-c", "echo broken >&2; exit 3"])


def test_a_source_is_refused_before_tls_then_before_a_backend(desired: Desired) -> None:
    text = haproxy_config(desired, "web")
    frontend = text.partition("frontend web-443")[2].partition("\nbackend ")[0]
    assert "tcp-request connection reject if { sc0_conn_rate gt 150 }" in frontend
    assert f"sc0_conn_cur gt {EDGE.connections} }}" in frontend
    many = EDGE.requests_per_second * EDGE.requests_window_s
    assert f"deny_status 429 if {{ sc0_http_req_rate gt {many} }}" in frontend
    assert (
        frontend.index("reject if { sc0_http")
        < frontend.index("deny_status 429")
        < frontend.index("default_backend")
    )
    assert f"timeout http-request {EDGE.header_seconds}s" in text
    assert f"maxconn {EDGE.per_proxy}" in text.partition("\nbackend ")[2]
