"""A small lab for the fabric's own tests: one VPC, one site, three hosts, a balancer, two object stores."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from infra import resources as kinds
from infra.drivers.lab.fabric import fabric_counters
from infra.drivers.lab.locate import netns_of
from infra.drivers.lab.netlink import inside
from infra.drivers.lab.realise import realise
from infra.drivers.lab.records import Records
from infra.drivers.lab.settings import Door, LabSettings, write_settings
from infra.paths import EstatePaths
from infra.trust.authority import LeafSpec, Pair, make_leaf, make_root

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

ESTATE = "fabtest"
A, A_LINE, B, BALANCER, E = "10.30.1.10", "10.30.1.200", "10.30.1.11", "10.30.1.5", "192.168.77.10"
PUBLIC_A, PUBLIC_WEB, SITE = "203.0.113.51", "203.0.113.50", "198.51.100.77"
OPERATOR = "198.51.100.100"
SSH_DOOR, WEB_DOOR = 21022, 21443
MBPS = 40
DOMAIN = "fabtest.yiyun.internal"


def rule(direction: str, port: int, peer: str, protocol: str = "tcp") -> kinds.Rule:
    return kinds.Rule.model_validate(
        {"direction": direction, "protocol": protocol, "port": port, "peer": peer, "why": "test"}
    )


GROUPS = {
    "a": [
        rule("in", 22, f"{OPERATOR}/32"),
        rule("in", 5000, f"{SITE}/32", "udp"),
        rule("out", 8080, f"{B}/32"),
        rule("out", 8081, f"{B}/32"),
        rule("out", 443, "100.64.1.10/32"),
        rule("out", 443, "100.64.2.10/32"),
    ],
    "b": [rule("in", 8080, f"{A}/32"), rule("in", 8082, f"{A}/32"), rule("in", 443, f"{BALANCER}/32")],
    "e": [rule("out", 5000, f"{PUBLIC_A}/32", "udp")],
}


class Bed:
    """The lab and the tools to try it with: sockets of this process that live in its namespaces."""

    def __init__(self, state: Path) -> None:
        self.paths = EstatePaths(ESTATE, state).ensure()
        self.records = Records(self.paths.records)
        self.said: list[str] = []
        self.root = make_root(ESTATE)

    def realise(self) -> tuple[str, ...]:
        return realise(self.paths, self.said.append).changed

    def record(self, *, with_balancer: bool = True) -> None:
        for kind, inputs in _records(with_balancer=with_balancer):
            self.records.write(kind, inputs)
        write_settings(
            self.paths,
            LabSettings(
                operator=OPERATOR,
                doors=(
                    Door(
                        name="bastion",
                        listen=SSH_DOOR,
                        namespace="inet",
                        source=OPERATOR,
                        address=PUBLIC_A,
                        port=22,
                    ),
                    Door(
                        name="web",
                        listen=WEB_DOOR,
                        namespace="inet",
                        source=OPERATOR,
                        address=PUBLIC_WEB,
                        port=443,
                    ),
                ),
            ),
        )
        folder = self.paths.lab / "certificates"
        folder.mkdir(parents=True, exist_ok=True)
        leaf = self.leaf("web.fabtest", "127.0.0.1")
        (folder / "lb-web.pem").write_text(leaf.certificate + self.root.certificate + leaf.key)
        (folder / "ca.pem").write_text(self.root.certificate)
        trust = self.paths.lab / "objectstore" / "trust"
        trust.mkdir(parents=True, exist_ok=True)
        for name, region in (("s3-r-one", "r-one"), ("s3-r-two", "r-two")):
            leaf = self.leaf(f"s3.{region}.{DOMAIN}", "127.0.0.1")
            (trust / f"{name}.pem").write_text(leaf.certificate + self.root.certificate + leaf.key)
        (trust / "ca.pem").write_text(self.root.certificate)
        (trust / "accounts.json").write_text('{"reader": "a-key-of-the-test"}')

    def leaf(self, name: str, address: str) -> Pair:
        return make_leaf(self.root, LeafSpec(name, (), (address,)))

    def group(self, name: str, rules: list[kinds.Rule]) -> None:
        network = "clinic" if name == "e" else "vpc"
        self.records.write("SecurityGroup", kinds.SecurityGroup(name=name, network=network, rules=rules))

    def socket(self, thing: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        with inside(netns_of(ESTATE, thing)):
            made = socket.socket(socket.AF_INET, kind)
        made.settimeout(5)
        return made

    def listener(self, thing: str, port: int) -> socket.socket:
        made = self.socket(thing)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("", port))
        made.listen(16)
        return made

    def connects(self, thing: str, address: str, port: int, seconds: float = 0.7) -> bool:
        """True when a connection opens, False when nobody answers. Refusal is an error: it is neither."""
        with self.socket(thing) as client:
            client.settimeout(seconds)
            try:
                client.connect((address, port))
            except TimeoutError:
                return False
            return True

    def packets(self, comment: str) -> int:
        """Live counter of all rules with that comment."""
        found = [c.packets for c in fabric_counters(self.paths) if c.comment == comment]
        assert found, f"no rule {comment}"
        return sum(found)


@contextlib.contextmanager
def serving(listener: socket.socket, handle: Callable[[socket.socket], None]) -> Generator[None]:
    """Serve connections in threads until the block ends."""

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=handle, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def _host(
    name: str, network: str, address: str, extra: list[str], disks: list[kinds.AttachedDisk]
) -> kinds.Host:
    return kinds.Host(
        name=name,
        type="",
        vcpu=0,
        memory_mib=256,
        image="debian-13",
        network=network,
        subnet="s" if network == "vpc" else "",
        zone="",
        address=address,
        extra_addresses=extra,
        security_group=name,
        disks=disks,
        capabilities=["tun"] if name == "a" else [],
        authorized_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFKZNAszWe/pP6Wk+Ex2luHoEYXgE4pvkKB9lDJHSsZo t",
        domain=DOMAIN,
    )


def _store(region: str, address: str, rules: list[kinds.Rule]) -> kinds.ObjectStore:
    return kinds.ObjectStore(
        name=f"s3-{region}",
        region=region,
        address=address,
        port=443,
        server_name=f"s3.{region}.{DOMAIN}",
        certificate=f"s3-{region}",
        rules=rules,
    )


def _records(*, with_balancer: bool) -> list[tuple[str, kinds.Inputs]]:
    data = kinds.AttachedDisk(disk="b-data", mount="/data")
    found: list[tuple[str, kinds.Inputs]] = [
        ("Vpc", kinds.Vpc(name="vpc", region="r-one", cidr="10.30.0.0/16")),
        ("Subnet", kinds.Subnet(name="s", vpc="vpc", cidr="10.30.1.0/24")),
        ("Site", kinds.Site(name="clinic", cidr="192.168.77.0/24", internet_address=SITE)),
        ("Disk", kinds.Disk(name="b-data", size_gib=1, size_mib=64, zone="")),
        ("Host", _host("a", "vpc", A, [A_LINE], [])),
        ("Host", _host("b", "vpc", B, [], [data])),
        ("Host", _host("e", "clinic", E, [], [])),
        ("BandwidthPackage", kinds.BandwidthPackage(name="shared", mbps=MBPS)),
        ("ElasticIp", kinds.ElasticIp(name="host-a", address=PUBLIC_A, package="shared", target=A)),
        ("ObjectStore", _store("r-one", "100.64.1.10", [rule("in", 443, f"{A}/32")])),
        ("ObjectStore", _store("r-two", "100.64.2.10", [rule("in", 443, "100.64.1.1/32")])),
        (
            "Bucket",
            kinds.Bucket(
                name="near",
                region="r-one",
                versioned=True,
                object_lock_days=0,
                access=[kinds.BucketAccess(account="reader", access="read")],
            ),
        ),
        ("Bucket", kinds.Bucket(name="far-locked", region="r-two", versioned=True, object_lock_days=1)),
    ]
    for name, rules in GROUPS.items():
        network = "clinic" if name == "e" else "vpc"
        found.append(("SecurityGroup", kinds.SecurityGroup(name=name, network=network, rules=rules)))
    if with_balancer:
        backend = kinds.Backend(host="b", address=B, port=443)
        found += [
            (
                "ElasticIp",
                kinds.ElasticIp(name="lb-web", address=PUBLIC_WEB, package="shared", target=BALANCER),
            ),
            (
                "LoadBalancer",
                kinds.LoadBalancer(name="web", vpc="vpc", subnet="s", address=BALANCER, elastic_ip="lb-web"),
            ),
            (
                "Listener",
                kinds.Listener(
                    name="web-443",
                    load_balancer="web",
                    port=443,
                    server_names=["web.fabtest"],
                    certificate="lb-web",
                    health=kinds.HealthCheck(interval_ms=200),
                    backends=[backend],
                ),
            ),
        ]
    return found
