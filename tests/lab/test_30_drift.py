"""Thirteen hand changes, their targets chosen by a seed: `drift` names each, `up` mends it, `drift` is clean.

The targets are printed; `YIYUN_TEST_SEED` repeats a run.
"""

from __future__ import annotations

import os
import random
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from infra.bundle.build import build_bundle
from infra.converge import ConvergeRequest, converge
from infra.drivers.lab import hosts
from infra.drivers.lab.desired import read_desired
from infra.drivers.lab.fabric import in_router
from infra.drivers.lab.names import qualified
from infra.drivers.lab.objectstore import store_access
from infra.drivers.lab.s3 import s3_answer
from infra.estate.addresses import host_addresses
from monitoring.access import opened
from tests.lab.long import LONG

if TYPE_CHECKING:
    from tests.lab.harness import Lab

pytestmark = pytest.mark.lab

SEED = int(os.environ.get("YIYUN_TEST_SEED") or random.SystemRandom().randrange(10**6))
SELF_SIGNED = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=by-hand"
)
OUT_OF_GROUP = "MySQL 成员不在组内"
BUDGET_DRIFT_S = 15
BUDGET_SECOND_UP_S = 20


@dataclass(frozen=True)
class HandChange:
    """One change somebody made by hand, and what `drift` must call it."""

    what: str
    where: str
    """The host, or the thing in the cloud."""
    commands: tuple[str, ...]
    named: tuple[str, str]
    """Resource and property."""
    by_role: bool = False
    """A role puts it right, so `ansible-playbook --check` must see it, too."""


def on_hosts(choose: random.Random) -> list[HandChange]:
    """The changes on hosts, each on a host of its own where two could get in each other's way."""
    apps, dbs = ["app-1", "app-2"], ["db-1", "db-2", "db-3"]
    with_chrony = [*apps, *dbs, "ora-1", "ora-2", "edge-1"]
    removed, stopped, masked = choose.sample([h for h in with_chrony if h != "edge-1"], 3)
    edited = choose.choice([("ora-1", "/etc/hosts"), ("edge-1", "/etc/chrony/chrony.conf")])
    opened = choose.choice(
        [("app-1", "/etc/yiyun-app/secrets/mysql-app"), ("db-2", "/etc/yiyun/mysql-health.password")]
    )
    setting = choose.choice(["net.ipv4.conf.all.accept_redirects", "net.ipv4.tcp_syncookies"])
    added, listening, user, tuned = (choose.choice(with_chrony) for _ in range(4))
    extra = "python3-pymysql" if added not in dbs else "haproxy"
    port = choose.randrange(9000, 9100)
    certificate = choose.choice(apps)
    tls = "/etc/yiyun/tls/proxy"
    return [
        HandChange(
            "package removed",
            removed,
            ("DEBIAN_FRONTEND=noninteractive apt-get -yqq remove chrony",),
            (f"{removed}:Package:chrony", "version"),
            by_role=True,
        ),
        HandChange(
            "package added",
            added,
            (f"DEBIAN_FRONTEND=noninteractive apt-get -yqq --no-install-recommends install {extra}",),
            (f"{added}:Package:{extra}", "version"),
        ),
        HandChange(
            "file edited",
            edited[0],
            (f"echo '# by hand' >> {edited[1]}",),
            (f"{edited[0]}:File:{edited[1]}", "sha256"),
            by_role=True,
        ),
        HandChange(
            "mode changed",
            opened[0],
            (f"chmod 0666 {opened[1]}",),
            (f"{opened[0]}:File:{opened[1]}", "mode"),
            by_role=True,
        ),
        HandChange(
            "unit stopped",
            stopped,
            ("systemctl stop chrony",),
            (f"{stopped}:Unit:chrony.service", "active"),
            by_role=True,
        ),
        HandChange(
            "unit masked",
            masked,
            ("systemctl mask --now chrony",),
            (f"{masked}:Unit:chrony.service", "enabled"),
            by_role=True,
        ),
        HandChange(
            "new listener",
            listening,
            (f"setsid python3 -m http.server {port} >/dev/null 2>&1 </dev/null &",),
            (f"{listening}:Listener:tcp 0.0.0.0:{port}", "unit"),
        ),
        HandChange(
            "user added",
            user,
            ("useradd --create-home mallory", "echo 'mallory ALL=(ALL) ALL' > /etc/sudoers.d/mallory"),
            (f"{user}:User:mallory", "uid"),
        ),
        HandChange(
            "kernel setting",
            tuned,
            (f"sysctl -qw {setting}=$((1 - $(sysctl -n {setting})))",),
            (f"{tuned}:KernelSetting:{setting}", "value"),
        ),
        HandChange(
            "certificate swapped",
            certificate,
            (f"{SELF_SIGNED} -keyout {tls}.key -out {tls}.crt 2>/dev/null",),
            (f"{certificate}:File:{tls}.crt", "sha256"),
            by_role=True,
        ),
    ]


def bend_fabric(lab: Lab, choose: random.Random) -> tuple[str, str]:
    """One rule more, without the comment that tells of its origin. Returns what it must be called."""
    target = choose.choice(["db-1", "db-2", "db-3", "ora-1"])
    address = host_addresses(lab.estate)["app-1"]
    rule = f"ip saddr {address} tcp dport {choose.randrange(5000, 6000)} counter return"
    chain = f"sg-{target}-in"
    in_router(
        lab.paths.estate,
        lab.estate.vpc.name,
        ["nft", "insert", "rule", "inet", "yiyun", chain, *rule.split()],
    )
    print(f"fabric rule: {chain}: {rule}")  # noqa: T201  the run's choices
    return f"securitygroup-{target}", f"{chain}.rules"


def bend_bucket(lab: Lab, choose: random.Random) -> tuple[str, str]:
    """A bucket open to the world, or without versions. Returns what it must be called."""
    desired = read_desired(lab.paths)
    bucket = choose.choice([b for b in desired.buckets if not b.object_lock_days] or list(desired.buckets))
    access = store_access(lab.paths, bucket.region)
    pid = hosts.containers(lab.paths.estate)[qualified(lab.paths.estate, access.name)].pid
    if bucket.versioned and not bucket.object_lock_days and choose.random() < 0.5:
        body = (
            '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            "<Status>Suspended</Status></VersioningConfiguration>"
        )
        wanted = ("versioning", s3_answer(access, pid, "PUT", f"/{bucket.name}?versioning=", body))
    else:
        body = (
            '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",'
            f'"Resource":"arn:aws:s3:::{bucket.name}/*"}}]}}'
        )
        wanted = ("policy", s3_answer(access, pid, "PUT", f"/{bucket.name}?policy=", body))
    name, (status, said) = wanted
    assert status in {200, 204}, said
    print(f"bucket: {bucket.name}: {name}")  # noqa: T201  the run's choices
    return f"bucket-{bucket.name}", name


def bend_alert(lab: Lab, choose: random.Random) -> tuple[str, str]:
    """An alert switched off in Zabbix's pages. Returns what it must be called."""
    member = choose.choice(["db-1", "db-2", "db-3"])
    zabbix = opened(lab.estate, lab.paths)
    question = {"output": ["triggerid"], "filter": {"description": OUT_OF_GROUP}, "host": member}
    (trigger,) = zabbix.call("trigger.get", question)
    zabbix.call("trigger.update", {"triggerid": trigger["triggerid"], "status": 1})
    print(f"alert switched off: {member}: {OUT_OF_GROUP}")  # noqa: T201  the run's choices
    return f"{member}/{OUT_OF_GROUP}", "enabled"


def plant(lab: Lab, change: HandChange) -> None:
    """Do it as a person would, by SSH."""
    print(f"{change.what}: {change.where}: {'; '.join(change.commands)}")  # noqa: T201  the run's choices
    for command in change.commands:
        lab.on(change.where, "sh", "-c", command)


def drift(lab: Lab) -> dict[str, Any]:
    """`yiyun drift` within its budget, its exit code in step with what it says."""
    answer = lab.yiyun("drift", "--exit-code")
    assert answer.code == (2 if answer.json["changes"] else 0), answer.json
    assert answer.json["seconds"] <= BUDGET_DRIFT_S
    return answer.json


def named(result: dict[str, Any]) -> set[tuple[str, str]]:
    """(resource, property) of everything that drifted."""
    return {(c["resource"], p["name"]) for c in result["changes"] for p in c["properties"]}


def checked(lab: Lab, limit: tuple[str, ...] = ()) -> set[tuple[str, str]]:
    """Host and task of what `ansible-playbook --check --diff` over all roles would change."""
    bundle = build_bundle(lambda _: None)
    request = ConvergeRequest(check=True, limit=limit, extra={"yiyun_bundle": str(bundle.path)})
    return converge(lab.paths, str(lab.source), request, lambda _: None).changes


def test_a_clean_estate_has_no_drift(lab: Lab) -> None:
    assert drift(lab)["changes"] == []


def test_a_second_up_is_quick_and_says_what_it_did_not_repeat(lab: Lab) -> None:
    lab.yiyun("up", "--yes")
    answer = lab.yiyun("up", "--yes")
    assert (answer.code, answer.json["changed"]) == (0, 0), answer.json
    assert answer.json["proof"]["whole"] is False
    assert answer.json["seconds"] <= BUDGET_SECOND_UP_S, answer.json["steps"]


def test_hand_changes_are_named_mended_and_gone(lab: Lab) -> None:
    print(f"seed {SEED}")  # noqa: T201  repeats the run
    choose = random.Random(SEED)  # noqa: S311  a choice that can be repeated
    changes = on_hosts(choose)
    for change in changes:
        plant(lab, change)
    wanted = [c.named for c in changes]
    wanted += [bend_fabric(lab, choose), bend_bucket(lab, choose), bend_alert(lab, choose)]
    found = drift(lab)
    assert [w for w in wanted if w not in named(found)] == []
    assert all(c["remedy"] for c in found["changes"])
    secrets = list(_secrets(lab))
    assert not [s for s in secrets if s in str(found)]

    hosts_by_role = {c.where for c in changes if c.by_role}
    assert hosts_by_role <= {host for host, _ in checked(lab, tuple(sorted(hosts_by_role)))}

    answer = lab.yiyun("up", "--yes", seconds=1200)
    assert answer.code == 0, answer.json
    assert answer.json["changed"] > 0
    assert answer.json["left"] == []
    assert [m for m in answer.json["mended"] if not m["ok"]] == []
    removed = {(m["host"], m["what"]) for m in answer.json["mended"]}
    listener = next(c for c in changes if c.what == "new listener")
    assert (listener.where, f"end listener {listener.named[0].split(':', 2)[2]}") in removed
    user = next(c for c in changes if c.what == "user added")
    assert (user.where, "remove user mallory") in removed
    assert drift(lab)["changes"] == []
    assert lab.on(user.where, "ls", "-d", "/home/mallory").strip() == "/home/mallory", "data is never touched"
    lab.on(user.where, "rm", "-rf", "/home/mallory")
    everywhere = () if LONG else tuple(sorted(hosts_by_role))
    assert checked(lab, everywhere) == set(), "every role agrees that nothing differs"


def test_a_hand_change_can_be_taken_over(lab: Lab) -> None:
    path = "/etc/yiyun-note"
    lab.on("ora-2", "sh", "-c", f"echo kept > {shlex.quote(path)}")
    resource = f"ora-2:File:{path}"
    try:
        assert (resource, "sha256") in named(drift(lab))
        assert lab.yiyun("up", "--yes", "--keep", resource).code == 0
        assert drift(lab)["changes"] == []
        assert lab.on("ora-2", "cat", path).strip() == "kept"
    finally:
        lab.on("ora-2", "rm", path)
        lab.yiyun("up", "--yes", "--keep", resource)


def _secrets(lab: Lab) -> list[str]:
    from infra.trust.material import Material

    return [str(s) for s in Material(lab.estate, lab.paths).passwords().values()]
