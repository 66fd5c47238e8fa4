"""The fabric on a small lab of its own: what it lets through, what it drops, and that it says so."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from infra.drivers.lab import balancer, objectstore, s3
from infra.drivers.lab.hosts import containers
from infra.drivers.lab.locate import netns_of, run_in_host
from infra.drivers.lab.names import qualified
from infra.drivers.lab.realise import leftovers, remove
from infra.errors import RefusedError
from tests.lab import fabric_bed
from tests.lab.fabric_bed import ESTATE, GROUPS, MBPS, PUBLIC_A, A, B, Bed, rule, serving
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.lab, pytest.mark.root]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Generator[Bed]:
    bed = Bed(tmp_path_factory.mktemp("fabric"))
    bed.record()
    try:
        bed.realise()
        yield bed
    finally:
        remove(bed.paths, bed.said.append)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("YIYUN_STATE", str(bed.paths.root.parent))
            assert leftovers(ESTATE) == ()


@pytest.fixture(autouse=True)
def recorded_rules(bed: Bed) -> Iterator[None]:
    yield
    for name, rules in GROUPS.items():
        bed.group(name, rules)


def _processor_seconds() -> float:
    """Of this process and its finished children: other work on the machine does not count."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def test_a_second_realise_changes_nothing_for_little_work(bed: Bed) -> None:
    bed.realise()
    began = _processor_seconds()
    assert bed.realise() == ()
    assert _processor_seconds() - began < 2


def test_a_permitted_port_is_open_and_its_rules_count(bed: Bed) -> None:
    before = bed.packets(f"sg:a:out:tcp:8080:{B}/32"), bed.packets(f"sg:b:in:tcp:8080:{A}/32")
    with bed.listener("b", 8080):
        assert bed.connects("a", B, 8080)
    assert bed.packets(f"sg:a:out:tcp:8080:{B}/32") == before[0] + 1
    assert bed.packets(f"sg:b:in:tcp:8080:{A}/32") == before[1] + 1


@pytest.mark.parametrize(
    ("port", "dropped_by"),
    [(8081, "sg:b:in:drop"), (8082, "sg:a:out:drop"), (9999, "sg:a:out:drop")],
    ids=["receiver's group", "sender's group", "neither permits"],
)
def test_what_one_group_does_not_permit_is_dropped_by_the_fabric(
    bed: Bed, port: int, dropped_by: str
) -> None:
    before = bed.packets(dropped_by)
    with bed.listener("b", port):
        assert not bed.connects("a", B, port)
    assert bed.packets(dropped_by) > before


def test_a_spoofed_source_is_dropped_even_where_its_owner_would_be_let_in(bed: Bed) -> None:
    bed.group("b", [rule("in", 6000, "10.30.1.77/32", "udp")])
    bed.realise()
    enter = ["ip", "-n", netns_of(ESTATE, "a"), "address"]
    subprocess.run([*enter, "add", "10.30.1.77/32", "dev", "eth0"], check=True)
    before = bed.packets("fabric:spoofed")
    try:
        with bed.socket("a", socket.SOCK_DGRAM) as sender, bed.socket("b", socket.SOCK_DGRAM) as receiver:
            receiver.bind(("", 6000))
            receiver.settimeout(0.5)
            sender.bind(("10.30.1.77", 0))
            sender.sendto(b"x", (B, 6000))
            eventually(lambda: bed.packets("fabric:spoofed") > before)
            with pytest.raises(TimeoutError):
                receiver.recv(10)
    finally:
        subprocess.run([*enter, "del", "10.30.1.77/32", "dev", "eth0"], check=True)
        bed.group("b", GROUPS["b"])
        bed.realise()


def test_an_established_connection_survives_a_rules_update(bed: Bed) -> None:
    with bed.listener("b", 8080) as server, bed.socket("a") as client:
        client.connect((B, 8080))
        accepted, _ = server.accept()
        with accepted:
            bed.group("b", [rule("in", 443, f"{fabric_bed.BALANCER}/32")])
            assert bed.realise() == ("vpc: rules",)
            client.sendall(b"still here")
            assert accepted.recv(100) == b"still here"
            assert not bed.connects("a", B, 8080), "a new connection needs a rule"
        bed.group("b", GROUPS["b"])
        assert bed.realise() == ("vpc: rules",)
        assert bed.connects("a", B, 8080)


def test_a_rule_removed_behind_our_back_returns(bed: Bed) -> None:
    enter = ["ip", "netns", "exec", netns_of(ESTATE, "vpc"), "nft"]
    subprocess.run([*enter, "flush", "chain", "inet", "yiyun", "sg-b-in"], check=True)
    assert bed.realise() == ("vpc: rules",)
    with bed.listener("b", 8080):
        assert bed.connects("a", B, 8080)


def test_an_elastic_ip_leads_to_its_host_from_the_operators_address_only(bed: Bed) -> None:
    assert bed.connects("inet", PUBLIC_A, 22)
    before = bed.packets("sg:a:in:drop")
    assert not bed.connects("inet", PUBLIC_A, 23)
    assert bed.packets("sg:a:in:drop") > before


def test_a_site_calls_from_its_one_public_address(bed: Bed) -> None:
    with bed.socket("a", socket.SOCK_DGRAM) as server, bed.socket("e", socket.SOCK_DGRAM) as client:
        server.bind(("", 5000))
        client.sendto(b"hello", (PUBLIC_A, 5000))
        text, sender = server.recvfrom(100)
        assert (text, sender[0]) == (b"hello", fabric_bed.SITE)
        server.sendto(b"welcome", sender)
        assert client.recvfrom(100) == (b"welcome", (PUBLIC_A, 5000))


def test_a_host_without_an_elastic_ip_does_not_reach_the_internet(bed: Bed) -> None:
    bed.group("b", [rule("out", 80, "0.0.0.0/0")])
    bed.realise()
    before = bed.packets("fabric:no-elastic-ip")
    with bed.listener("inet", 80):
        assert not bed.connects("b", fabric_bed.OPERATOR, 80)
    assert bed.packets("fabric:no-elastic-ip") > before
    bed.group("b", GROUPS["b"])
    bed.realise()


def test_the_bandwidth_package_holds_outbound_traffic_to_its_rate(bed: Bed) -> None:
    octets = 5_000_000
    bed.group("a", [*GROUPS["a"], rule("out", 8000, "0.0.0.0/0")])
    bed.realise()
    with bed.listener("inet", 8000) as server, bed.socket("a") as client:
        client.connect((fabric_bed.OPERATOR, 8000))
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(5)
            sender = threading.Thread(target=client.sendall, args=(bytes(octets),))
            began, received = time.monotonic(), 0
            sender.start()
            while received < octets:
                received += len(accepted.recv(1 << 20))
            rate = octets * 8 / (time.monotonic() - began) / 1e6
            sender.join()
    bed.group("a", GROUPS["a"])
    bed.realise()
    assert 0.5 * MBPS < rate < 1.15 * MBPS


def test_buckets_are_as_recorded_and_reachable_only_by_their_clients(bed: Bed) -> None:
    near = objectstore.store_access(bed.paths, "r-one")
    far = objectstore.store_access(bed.paths, "r-two")
    found = containers(ESTATE)
    pid_far = found[qualified(ESTATE, "s3-r-two")].pid
    assert s3.s3_call(far, pid_far, "GET", "/far-locked?object-lock=") == 200
    pid_near = found[qualified(ESTATE, "s3-r-one")].pid
    assert s3.s3_call(near, pid_near, "HEAD", "/near") == 200
    assert s3.s3_call(near, pid_near, "GET", "/near?object-lock=") == 404
    assert bed.connects("a", "100.64.1.10", 443)
    assert bed.connects("a", "100.64.2.10", 443)
    assert not bed.connects("b", "100.64.1.10", 443), "no record lets b call the store"
    assert not bed.connects("b", "100.64.2.10", 443)
    wrong = replace(near, server_name="s3.r-two.fabtest.yiyun.internal")
    assert s3.s3_call(wrong, pid_near, "HEAD", "/near") == 0, "the store proves which one it is"
    reader = replace(near, access_key="reader", secret_key="a-key-of-the-test")
    assert s3.s3_call(reader, pid_near, "GET", "/near?list-type=2") == 200
    assert s3.s3_call(reader, pid_near, "PUT", "/near/x", "x") == 403
    assert s3.s3_call(reader, pid_near, "PUT", "/another") == 403
    note = bed.paths.lab / "objectstore" / "r-one.json"
    assert note.stat().st_mode & 0o777 == 0o600


def _answer(bed: Bed, context: ssl.SSLContext, seen: list[dict[str, str]]) -> object:
    def handle(raw: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            stream = context.wrap_socket(raw, server_side=True)
            text = b""
            while b"\r\n\r\n" not in text:
                chunk = stream.recv(65536)
                if not chunk:
                    return
                text += chunk
            first, *lines = text.decode().split("\r\n\r\n")[0].split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
            if "/healthz" not in first:
                seen.append({"request": first, **headers})
            if "/drop" not in first or len([s for s in seen if "/drop" in s["request"]]) > 1:
                stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            stream.close()

    return handle


def _backend(
    bed: Bed, folder: Path, seen: list[dict[str, str]], name: str
) -> contextlib.AbstractContextManager[None]:
    leaf = bed.leaf(name, B)
    pem = folder / f"{name}.pem"
    pem.write_text(leaf.certificate + leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return serving(bed.listener("b", 443), _answer(bed, context, seen))  # pyright: ignore[reportArgumentType]


def _ask(bed: Bed, method: str, path: str, headers: dict[str, str] | None = None) -> int:
    context = ssl.create_default_context(cadata=bed.root.certificate)
    client = http.client.HTTPSConnection("127.0.0.1", fabric_bed.WEB_DOOR, context=context, timeout=10)
    try:
        client.request(method, path, body=b"x" if method == "POST" else None, headers=headers or {})
        return client.getresponse().status
    finally:
        client.close()


def _up(bed: Bed) -> bool:
    return [s.up for s in balancer.balancer_state(bed.paths)] == [True]


def test_the_balancer_checks_retries_only_what_may_be_sent_twice_and_tells_who_called(
    bed: Bed, tmp_path: Path
) -> None:
    seen: list[dict[str, str]] = []
    with _backend(bed, tmp_path, seen, f"b.{fabric_bed.DOMAIN}"):
        eventually(lambda: _up(bed))
        assert _ask(bed, "GET", "/", {"X-Forwarded-For": "6.6.6.6"}) == 200
        assert seen[-1]["x-forwarded-for"] == fabric_bed.OPERATOR
        assert _ask(bed, "GET", "/drop") == 200
        assert [s["request"] for s in seen if "/drop" in s["request"]] == ["GET /drop HTTP/1.1"] * 2
        seen.clear()
        assert _ask(bed, "POST", "/drop") == 502
        assert len(seen) == 1
        seen.clear()
        assert _ask(bed, "POST", "/drop", {"Idempotency-Key": "k"}) == 200
        assert len(seen) == 2
    eventually(lambda: not _up(bed))
    assert _ask(bed, "GET", "/") == 503


def test_the_balancer_refuses_a_backend_with_another_hosts_certificate(bed: Bed, tmp_path: Path) -> None:
    with _backend(bed, tmp_path, [], f"a.{fabric_bed.DOMAIN}"):
        eventually(lambda: [s.check for s in balancer.balancer_state(bed.paths)] == ["L6RSP"])
        assert not _up(bed)


def test_a_changed_certificate_is_loaded_without_a_new_balancer(bed: Bed) -> None:
    before = containers(ESTATE)[qualified(ESTATE, "lb-web")].pid
    pem = bed.paths.lab / "certificates" / "lb-web.pem"
    old = pem.read_text()
    leaf = bed.leaf("renewed.fabtest", "127.0.0.1")
    pem.write_text(leaf.certificate + leaf.key)
    assert bed.realise() == ("lb-web: reloaded",)
    context = ssl.create_default_context(cadata=bed.root.certificate)
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", fabric_bed.WEB_DOOR), 5) as raw,
        context.wrap_socket(raw) as tls,
    ):
        certificate = tls.getpeercert()
    assert "renewed.fabtest" in json.dumps(certificate)
    assert containers(ESTATE)[qualified(ESTATE, "lb-web")].pid == before
    pem.write_text(old)
    assert bed.realise() == ("lb-web: reloaded",)


def test_hosts_set_their_own_network_but_not_the_machines_kernel(bed: Bed) -> None:
    assert run_in_host(bed.paths, "a", ["sysctl", "-w", "net.ipv4.ip_forward=1"]).returncode == 0
    assert run_in_host(bed.paths, "b", ["sysctl", "-n", "net.ipv4.ip_forward"]).stdout.strip() == "0"
    assert run_in_host(bed.paths, "a", ["sysctl", "-w", "vm.swappiness=60"]).returncode != 0


def test_another_lab_of_the_same_name_is_refused(bed: Bed, tmp_path: Path) -> None:
    other = Bed(tmp_path)
    other.record(with_balancer=False)
    fabric_bed.write_settings(other.paths, fabric_bed.LabSettings())
    with pytest.raises(RefusedError, match="belongs to another lab"):
        other.realise()
    assert not (other.paths.lab / "hosts").exists()
