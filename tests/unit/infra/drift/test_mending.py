"""What `up` does about a difference: its role if one names it, an order where that is safe, else a person."""

from __future__ import annotations

import pytest

from infra.drift.compare import Difference
from infra.drift.manifest import Manifest, manifests, words_of
from infra.drift.mending import plan

MANIFEST: Manifest = {
    "base": frozenset({"/etc/hosts", "/etc/yiyun/tls", "/etc/yiyun/tls/proxy.crt"}),
    "proxy": frozenset({"nginx", "/etc/nginx/nginx.conf", "/etc/yiyun/tls/*.crt"}),
}
FILE = {"kind": "file", "owner": "root", "group": "root", "mode": "0644", "sha256": "1"}


def one(kind: str, name: str, declared=None, actual=None):
    action = "update" if declared and actual else "create" if declared else "delete"
    return Difference("h", kind, name, action, declared or {}, actual or {})


def orders(difference: Difference) -> list[str]:
    return [o["do"] for o in plan([difference], MANIFEST).orders]


def test_what_a_role_names_is_left_to_its_role() -> None:
    found = plan([one("File", "/etc/nginx/nginx.conf", FILE, {**FILE, "sha256": "2"})], MANIFEST)
    assert (found.orders, found.parts, found.left) == ((), {"proxy"}, ())


def test_a_swapped_certificate_runs_its_maker_and_those_that_take_it_up() -> None:
    found = plan([one("File", "/etc/yiyun/tls/proxy.crt", FILE, {**FILE, "sha256": "2"})], MANIFEST)
    assert found.parts == {"base", "proxy"}


def test_a_key_whose_name_is_an_expression_belongs_to_the_role_of_its_folder() -> None:
    found = plan([one("File", "/etc/yiyun/tls/proxy.key", FILE, {**FILE, "sha256": "2"})], MANIFEST)
    assert found.parts == {"base"}


def test_a_removed_package_that_a_role_names_is_the_roles() -> None:
    found = plan([one("Package", "nginx", {"version": "1"})], MANIFEST)
    assert (found.orders, found.parts) == ((), {"proxy"})


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (one("File", "/etc/unknown", None, FILE), ["set-aside"]),
        (one("File", "/etc/nginx/conf.d/evil.conf", None, FILE), ["set-aside"]),
        (one("File", "/etc/issue", FILE, {**FILE, "mode": "0666"}), ["own"]),
        (
            one("File", "/opt/x/current", {"kind": "link", "target": "a"}, {"kind": "link", "target": "b"}),
            ["link"],
        ),
        (one("Package", "hello", None, {"version": "1"}), ["remove-package"]),
        (one("Package", "less", {"version": "1"}), ["install-package"]),
        (one("Package", "nginx", {"version": "1"}, {"version": "2"}), ["install-package"]),
        (one("Unit", "evil.service", None, {"enabled": "enabled", "active": "active"}), ["stop-unit"]),
        (one("Listener", "tcp *:99", None, {"unit": "session"}), ["end-listener"]),
        (one("Listener", "tcp *:99", None, {"unit": "nginx.service"}), []),
        (one("User", "eve", None, {"uid": "1000"}), ["remove-user"]),
        (one("User", "root", {"password": "locked"}, {"password": "set 1"}), ["lock-password"]),
        (one("Group", "eve", None, {"gid": "1000"}), ["remove-group"]),
        (
            one("Group", "sudo", {"gid": "27", "members": ""}, {"gid": "27", "members": "eve"}),
            ["set-members"],
        ),
        (one("KernelSetting", "net.x", {"value": "0"}, {"value": "1"}), ["kernel"]),
        (one("Firewall", "inet filter", {"sha256": "1"}, {"sha256": "2"}), ["load-table"]),
        (one("Firewall", "inet evil", None, {"sha256": "2"}), ["remove-table"]),
    ],
)
def test_orders(difference: Difference, expected: list[str]) -> None:
    assert orders(difference) == expected


def test_a_masked_unit_is_unmasked_first_and_started_by_its_role() -> None:
    masked = one(
        "Unit",
        "nginx.service",
        {"enabled": "enabled", "active": "active"},
        {"enabled": "masked", "active": "inactive"},
    )
    found = plan([masked], MANIFEST)
    assert [(o["do"], o.get("state")) for o in found.orders] == [("unit-file", "enabled")]
    assert found.parts == {"proxy"}


def test_content_that_no_role_knows_is_left_to_a_person() -> None:
    changed = one("File", "/etc/login.defs", FILE, {**FILE, "sha256": "2"})
    found = plan([changed], MANIFEST)
    assert (found.orders, found.parts, found.left) == ((), frozenset(), (changed,))


def test_a_package_goes_only_with_others_that_nobody_declared() -> None:
    found = plan([one("Package", n, None, {"version": "1"}) for n in ("a", "b")], MANIFEST)
    assert [o["others"] for o in found.orders] == [["a", "b"], ["a", "b"]]


def test_after_an_interrupted_run_nothing_is_taken_away() -> None:
    found = plan([one("User", "eve", None, {"uid": "1000"})], MANIFEST, removes=False)
    assert (found.orders, found.left) == ((), ())


def test_words_are_names_and_no_contents() -> None:
    args = {
        "dest": "{{ folder }}/x",
        "content": "s3cret",
        "stdin": "s3cret",
        "cmd": "cat /etc/nginx/conf.d/*.conf {{ dir }}/y.crt | sha256sum",
        "name": ["nginx", "haproxy"],
        "path": "/etc/app/secrets/{{ item.secret }}",
        "argv": ["/usr/bin/x", "yiyun-app", "--ready-url", "https://h:8000/readyz"],
    }
    words = words_of(args)
    assert {"nginx", "haproxy", "/etc/nginx/conf.d/*.conf", "/etc/app/secrets/*", "yiyun-app"} <= words
    assert not [w for w in words if "s3cret" in w or w in {"*", "/x", "/*"}]


def test_events_become_words_by_host_and_part() -> None:
    events = [
        {"event": "names", "host": "a", "part": "proxy", "words": ["nginx"]},
        {"event": "task", "name": "x"},
        {"event": "names", "host": "a", "part": "proxy", "words": ["/etc/x"]},
    ]
    assert manifests(events) == {"a": {"proxy": frozenset({"nginx", "/etc/x"})}}
