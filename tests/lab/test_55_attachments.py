"""Attachments end to end: through the mount, the restart and the absence of the store, to the remote copy."""

from __future__ import annotations

import hashlib
import re
import ssl
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from infra.drivers.lab.fabric import in_router
from infra.drivers.lab.hosts import containers
from infra.drivers.lab.names import qualified
from infra.drivers.lab.objectstore import store_access
from infra.drivers.lab.s3 import s3_answer
from infra.estate.addresses import host_addresses
from infra.estate.endpoints import endpoint_named
from infra.trust.material import Material
from infra.verify.probe import probe
from infra.verify.why import explain
from tests.lab.hospital import arrive, client, new_results, signed_in
from tests.lab.test_20_probe import remove_rule, restore_fabric
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Generator

    from infra.estate.matrix import Check
    from tests.lab.harness import Lab

FOLDER = "/srv/attachments"
ERROR_WITHIN_S = 15.0
"""A call of a store that is away ends with an error within this time (decision 0015)."""
UPLOAD_ERROR_WITHIN_S = 8.0
NEAR = "object-storage:cn-north-1"
NOT_NEEDED = 5432
"""A port that no host needs of the store."""
PDF = b"%PDF-1.7\n" + bytes(range(256)) * 600


def store_container(lab: Lab, region: str) -> str:
    endpoint = endpoint_named(lab.estate, f"object-storage:{region}")
    assert endpoint is not None
    return qualified(lab.paths.estate, endpoint.group)


def podman(*words: str) -> None:
    """A verb of podman; a start may meet what a stop has not finished yet."""
    argv = ["podman", *words]
    eventually(lambda: subprocess.run(argv, check=False, capture_output=True).returncode == 0, seconds=10)


@contextmanager
def store_away(lab: Lab, how: str) -> Generator[None]:
    """The near store is stopped (it refuses) or frozen (it is silent)."""
    container = store_container(lab, lab.estate.region.name)
    away, back = {"stopped": (["stop", "--time=1"], "start"), "frozen": (["pause"], "unpause")}[how]
    podman(*away, container)
    try:
        yield
    finally:
        podman(back, container)


def in_bucket(lab: Lab, bucket: str, prefix: str) -> list[str]:
    """Keys with every version, newest first, as the store itself lists them."""
    region = next(b.region for b in lab.estate.buckets if b.name == bucket)
    pid = containers(lab.paths.estate)[store_container(lab, region)].pid
    access = store_access(lab.paths, region)
    status, body = s3_answer(access, pid, "GET", f"/{bucket}?prefix={prefix}&versions=")
    assert status == 200, body
    return re.findall(r"<Version>.*?<Key>(.*?)</Key>.*?</Version>", body)


def try_on(lab: Lab, host: str, command: str) -> tuple[bool, float]:
    """Whether a shell command succeeds on a host, and how long it took there (seconds)."""
    timed = f"a=$(date +%s%N); ({command}) >/dev/null 2>&1; r=$?; echo $r $(($(date +%s%N) - a))"
    code, nanoseconds = lab.on(host, "sh", "-c", timed, seconds=120).split()
    return code == "0", int(nanoseconds) / 1e9


def test_what_is_written_through_the_mount_outlives_a_restart_of_the_store(lab: Lab) -> None:
    name = f"test-{time.time_ns()}"
    lab.on("app-1", "sh", "-c", f"echo before > {FOLDER}/{name}-a")
    assert in_bucket(lab, "attachments", f"{name}-a") == [f"{name}-a"], "closed means stored, once"
    with store_away(lab, "stopped"):
        pass
    eventually(lambda: try_on(lab, "app-1", f"cat {FOLDER}/{name}-a")[0], seconds=20)
    assert lab.on("app-2", "cat", f"{FOLDER}/{name}-a") == "before\n"
    lab.on("app-1", "sh", "-c", f"echo after > {FOLDER}/{name}-b")
    eventually(lambda: try_on(lab, "app-2", f"cat {FOLDER}/{name}-b")[0], seconds=10)


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_a_store_that_is_away_gives_errors_in_time_and_recovers_by_itself(lab: Lab, how: str) -> None:
    name = f"test-{time.time_ns()}"
    lab.on("app-1", "sh", "-c", f"echo one > {FOLDER}/{name}-a")
    with store_away(lab, how):
        for command in (f"echo two > {FOLDER}/{name}-b", f"cat {FOLDER}/{name}-a", f"ls {FOLDER}/{name}"):
            done, seconds = try_on(lab, "app-1", command)
            assert not done, command
            assert seconds < ERROR_WITHIN_S, f"{command}: {seconds:.1f} s"
        problems = lab.yiyun("status").json["problems"]
        assert any("attachments does not answer" in p for p in problems), problems
    eventually(lambda: try_on(lab, "app-1", f"echo three > {FOLDER}/{name}-c")[0], seconds=20)
    assert in_bucket(lab, "attachments", f"{name}-b") == []


def test_a_killed_mount_comes_back_and_hides_nothing(lab: Lab) -> None:
    lab.on("app-2", "systemctl", "kill", "--signal=SIGKILL", "yiyun-attachments")
    eventually(lambda: try_on(lab, "app-2", f"mountpoint -q {FOLDER} && ls {FOLDER}")[0], seconds=20)
    as_platform = "nsenter --mount --target $(systemctl show --property=MainPID --value yiyun-app)"
    assert try_on(lab, "app-2", f"{as_platform} ls {FOLDER}")[0], "the platform sees the mount that came back"


def upload(lab: Lab, record: str, content: bytes, name: str) -> httpx.Response:
    """Send a file by the form on the resident's page, as a browser would."""
    context = ssl.create_default_context(cadata=Material(lab.estate, lab.paths).root().certificate)
    with httpx.Client(base_url=lab.page, verify=context, timeout=30, cookies=signed_in(lab)) as platform:
        page = platform.get(f"/residents/{record}").text
        form = dict(re.findall(r'name="(form_token|idempotency_key)" value="([0-9a-f]{64})"', page))
        path = f"/residents/{record}/attachments"
        return platform.post(path, data=form, files={"file": (name, content, "application/pdf")})


def a_record(lab: Lab) -> str:
    """Record number of a resident who has results."""
    (order,) = new_results(lab, 1)
    arrive(lab, [order])
    with client(lab) as platform:
        number = f"urn:oid:2.16.156.10011.1.3|{order['patient']['id_number']}"
        found = platform.get("/fhir/Patient", params={"identifier": number}).json()
    return str(found["entry"][0]["resource"]["id"])


def test_an_attachment_is_read_on_the_other_host_and_copied_to_the_other_region(lab: Lab) -> None:
    record = a_record(lab)
    assert upload(lab, record, PDF, "心电图.pdf").status_code == 303
    with client(lab) as platform:
        listed = platform.get("/fhir/DocumentReference", params={"patient": f"Patient/{record}"}).json()
        (entry,) = listed["entry"]
        attached = entry["resource"]["content"][0]["attachment"]
        assert attached["title"] == "心电图.pdf"
        assert attached["extension"][0]["valueString"] == hashlib.sha256(PDF).hexdigest()
    name, password = lab.operator
    for host in ("app-1", "app-2"):
        full = f"{host}.{lab.estate.domain}"
        config = f'user = "{name}:{password}"\nurl = "https://{full}:8000/fhir/{attached["url"]}"\n'
        command = (
            f"printf %s '{config}' | curl -sS --fail --cacert /etc/yiyun/tls/ca.crt --config - | sha256sum"
        )
        assert lab.on(host, "sh", "-c", command).split()[0] == hashlib.sha256(PDF).hexdigest(), host
    keys = [k for k in in_bucket(lab, "attachments", "") if len(k) == 42]
    assert keys, "the object is in the bucket, under its generated key"
    eventually(lambda: set(keys) <= set(in_bucket(lab, "attachments-remote", "")), seconds=150, every=2)
    status = {b["name"]: b for b in lab.yiyun("status").json["object_storage"]}
    assert status["attachments-remote"]["age_s"] < 150


def test_a_deletion_at_the_source_does_not_reach_the_copy(lab: Lab) -> None:
    name = f"test-{time.time_ns()}"
    lab.on("app-1", "sh", "-c", f"echo keep > {FOLDER}/{name}")
    lab.on("ops-1", "systemctl", "start", "yiyun-object-copy.service", seconds=120)
    assert in_bucket(lab, "attachments-remote", name) == [name]
    access = store_access(lab.paths, lab.estate.region.name)
    pid = containers(lab.paths.estate)[store_container(lab, lab.estate.region.name)].pid
    assert s3_answer(access, pid, "DELETE", f"/attachments/{name}")[0] == 204
    lab.on("ops-1", "systemctl", "start", "yiyun-object-copy.service", seconds=120)
    assert in_bucket(lab, "attachments-remote", name) == [name]
    assert in_bucket(lab, "attachments", name) == [name], "the older version is still at the source"


def test_while_the_store_is_away_an_upload_is_refused_and_pages_are_served(lab: Lab) -> None:
    record = a_record(lab)
    with store_away(lab, "frozen"):
        began = time.monotonic()
        refused = upload(lab, record, PDF, "x.pdf")
        seconds = time.monotonic() - began
        assert refused.status_code == 503, refused.text
        assert "附件存储暂时不可用" in refused.text
        assert seconds < UPLOAD_ERROR_WITHIN_S + 3, f"{seconds:.1f} s, 3 of them for signing in"
        with client(lab) as platform:
            assert platform.get(f"/fhir/Patient/{record}").status_code == 200
    eventually(lambda: upload(lab, record, PDF, "y.pdf").status_code == 303, seconds=30, every=1)


def towards_the_store(check: Check) -> bool:
    return check.destination.startswith("object-storage:") and check.source in {"db-1", "app-1", "ops-1"}


def test_a_planted_and_a_removed_rule_towards_the_store_are_seen(lab: Lab) -> None:
    endpoint = endpoint_named(lab.estate, NEAR)
    assert endpoint is not None
    assert endpoint.address is not None
    addresses, router = host_addresses(lab.estate), lab.estate.vpc.name
    clean = probe(lab.estate, lab.paths, only=towards_the_store)
    assert clean.ok, (clean.unexpected_open, clean.unexpected_closed)
    planted = {
        "sg-db-1-out": f"ip daddr {endpoint.address} tcp dport {NOT_NEEDED} counter return",
        f"sg-{endpoint.group}-in": f"ip saddr {addresses['db-1']} tcp dport {NOT_NEEDED} counter return",
    }
    try:
        for chain, rule in planted.items():
            in_router(
                lab.paths.estate, router, ["nft", "insert", "rule", "inet", "yiyun", chain, *rule.split()]
            )
        needed = f"sg:{endpoint.group}:in:tcp:443:{addresses['app-1']}/32"
        remove_rule(lab, f"sg-{endpoint.group}-in", needed)
        bent = probe(lab.estate, lab.paths, only=towards_the_store)
        assert [(u.source, u.destination, u.port) for u in bent.unexpected_open] == [
            ("db-1", NEAR, NOT_NEEDED)
        ]
        assert [(u.source, u.destination, u.port) for u in bent.unexpected_closed] == [("app-1", NEAR, 443)]
        chain = explain(lab.estate, str(lab.source), lab.paths, "app-1", NEAR, 443)
        assert [r.installed for r in chain.rules] == [True, False]
        assert "NOT in the fabric" in "\n".join(chain.as_text())
    finally:
        restore_fabric(lab)


def test_no_key_of_the_store_stands_in_a_command_line_or_a_log(lab: Lab) -> None:
    keys = Material(lab.estate, lab.paths).bucket_keys()
    for host in ("app-1", "app-2", "ops-1"):
        seen = lab.on(host, "sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null; journalctl --no-pager | cat")
        for account, key in keys.items():
            assert key not in seen, f"{account}'s key on {host}"
