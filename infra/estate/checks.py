"""What makes an estate inconsistent, beyond the shape of its file. Pure: (estate) → problems."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from infra.estate.addresses import subnet_of
from infra.estate.capacity import instance_types, total
from infra.services.base import SSHD
from infra.services.catalogue import KNOWN_ROLES, service_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Network

    from infra.estate.model import Estate, Host

Finding = tuple[tuple[str | int, ...], str, str]
"""Key in the document, what is wrong, what to do."""

SSH_PORT = SSHD.port("ssh").number
PLACEHOLDERS = ("changeme", "change_me", "example", "placeholder", "todo", "xxx")


def find_problems(estate: Estate) -> list[Finding]:
    """Everything wrong with an estate whose shape is right."""
    return [
        *_repeated_names(estate),
        *_networks(estate),
        *_hosts(estate),
        *_addresses(estate),
        *_capacity(estate),
        *_line(estate),
        *_load_balancers(estate),
        *_storage(estate),
        *_lab(estate),
        *_placeholders(estate),
    ]


def _repeated_names(estate: Estate) -> Iterator[Finding]:
    groups: dict[str, Iterable[str]] = {
        "hosts": [h.name for h in estate.hosts],
        "sites": [s.name for s in estate.sites],
        "buckets": [b.name for b in estate.buckets],
        "load_balancers": [b.name for b in estate.load_balancers],
    }
    for group, names in groups.items():
        counts = Counter(names)
        for index, name in enumerate(names):
            if counts[name] > 1:
                yield (
                    (group, index),
                    f"{name} is declared {counts[name]} times",
                    "give each a name of its own",
                )


def _networks(estate: Estate) -> Iterator[Finding]:
    subnets = estate.vpc.subnets
    for index, subnet in enumerate(subnets):
        if not subnet.cidr.subnet_of(estate.vpc.cidr):
            yield (
                ("vpc", "subnets", index),
                f"subnet {subnet.name} {subnet.cidr} is not inside the VPC {estate.vpc.cidr}",
                "choose a part of the VPC's range",
            )
        for other in subnets[:index]:
            if subnet.cidr.overlaps(other.cidr):
                yield (
                    ("vpc", "subnets", index),
                    f"subnet {subnet.name} {subnet.cidr} overlaps {other.name} {other.cidr}",
                    "choose ranges that do not overlap",
                )
    others: list[tuple[tuple[str | int, ...], str, IPv4Network]] = [
        (("sites", i), s.name, s.cidr) for i, s in enumerate(estate.sites)
    ]
    if estate.line:
        others.append((("line", "cidr"), "the line", estate.line.cidr))
    for index, (key, name, cidr) in enumerate(others):
        for other, other_cidr in [("the VPC", estate.vpc.cidr), *((n, c) for _, n, c in others[:index])]:
            if cidr.overlaps(other_cidr):
                yield (
                    key,
                    f"{name} {cidr} overlaps {other} {other_cidr}",
                    "the line could not route between them",
                )


def _hosts(estate: Estate) -> Iterator[Finding]:
    subnets = {s.name for s in estate.vpc.subnets}
    sites = {s.name for s in estate.sites}
    for index, host in enumerate(estate.hosts):
        key = ("hosts", index)
        if (host.subnet is None) == (host.site is None):
            yield key, f"{host.name} needs either a subnet or a site", "name one of them"
        if host.subnet is not None and host.subnet not in subnets:
            yield (
                (*key, "subnet"),
                f"{host.name}: no subnet {host.subnet}",
                f"one of {', '.join(sorted(subnets))}",
            )
        if host.site is not None and host.site not in sites:
            yield (
                (*key, "site"),
                f"{host.name}: no site {host.site}",
                f"one of {', '.join(sorted(sites)) or '(none)'}",
            )
        for role in host.roles:
            if role not in KNOWN_ROLES:
                yield (
                    (*key, "roles"),
                    f"{host.name}: no role {role}",
                    f"one of {', '.join(sorted(KNOWN_ROLES))}",
                )
        yield from _existing(key, host)
        if len({d.mount for d in host.disks}) != len(host.disks):
            yield key, f"{host.name}: two disks at one mount", "give each disk a mount of its own"


def _existing(key: tuple[str | int, ...], host: Host) -> Iterator[Finding]:
    """Of a machine that exists already: what must be given, and what only a provider could do."""
    if not host.exists:
        if host.ssh is not None:
            yield (
                (*key, "ssh"),
                f"{host.name}: ssh is of hosts that exist already",
                "remove it, or add provider: existing",
            )
        return
    if host.address is None:
        yield key, f"{host.name} exists already, so its address must be given", "add address: A.B.C.D"
    if host.type:
        yield (*key, "type"), f"{host.name} exists already and is no instance", "remove its type"
    if host.access.port != SSH_PORT and not host.access.host:
        yield (
            (*key, "ssh"),
            f"{host.name}: through its bastion SSH is at port {SSH_PORT}",
            "name ssh.host to connect directly, or remove the port",
        )
    for role in sorted({"ops", "gateway"} & set(host.roles) if host.subnet else ()):
        yield (
            (*key, "roles"),
            f"{host.name}: {role} needs a public address, which the provider gives only to hosts it makes",
            "give the role to another host",
        )


def _addresses(estate: Estate) -> Iterator[Finding]:
    given = [(i, h.name, h.address) for i, h in enumerate(estate.hosts) if h.address]
    counts = Counter(address for _, _, address in given)
    for index, name, address in given:
        if counts[address] > 1:
            yield (
                ("hosts", index, "address"),
                f"{name}: address {address} is given twice",
                "give each host its own",
            )
        network = subnet_of(estate, estate.hosts[index])
        if network is not None and address not in network:
            yield (
                ("hosts", index, "address"),
                f"{name}: {address} is not in {network}",
                "choose an address of that range",
            )


def _capacity(estate: Estate) -> Iterator[Finding]:
    types = instance_types()
    unknown = False
    for index, host in enumerate(estate.hosts):
        if host.subnet is not None and not host.exists and host.type not in types:
            unknown = True
            yield (
                ("hosts", index),
                f"{host.name}: no instance type {host.type!r}",
                f"one of {', '.join(types)}",
            )
    if unknown:
        return
    have, expect = total(estate), estate.expect
    if (have.vcpu, have.memory_gib) != (expect.vcpu, expect.memory_gib):
        found = f"the cloud hosts add up to {have.vcpu} vCPU / {have.memory_gib} GiB"
        wanted = f"{expect.vcpu} vCPU / {expect.memory_gib} GiB"
        yield ("expect",), f"{found}, expected {wanted}", "change a host's type, or what is expected"


def _line(estate: Estate) -> Iterator[Finding]:
    if estate.line is None:
        return
    names = {h.name: h for h in estate.hosts}
    for index, gateway in enumerate(estate.line.gateways):
        host = names.get(gateway)
        if host is None or host.subnet is None or "gateway" not in host.roles:
            yield (
                ("line", "gateways", index),
                f"{gateway} is not a cloud host with the role gateway",
                "name one, or give it the role",
            )
    peer = names.get(estate.line.peer)
    if peer is None or peer.site is None:
        yield (
            ("line", "peer"),
            f"{estate.line.peer} is not a host on the premises",
            "name a host that has a site",
        )
    if estate.line.cidr.num_addresses < 4 * len(estate.line.gateways):
        yield (
            ("line", "cidr"),
            f"{estate.line.cidr} is too small",
            "four addresses are needed for each gateway",
        )


def _load_balancers(estate: Estate) -> Iterator[Finding]:
    for index, balancer in enumerate(estate.load_balancers):
        key = ("load_balancers", index)
        if balancer.subnet not in {s.name for s in estate.vpc.subnets}:
            yield key, f"{balancer.name}: no subnet {balancer.subnet}", "name a subnet of the VPC"
        service = service_named(balancer.service)
        if service is None or balancer.service_port not in {p.name for p in service.listens}:
            yield (
                key,
                f"{balancer.name}: no service port {balancer.service}.{balancer.service_port}",
                "name a service and one of its ports",
            )


def _storage(estate: Estate) -> Iterator[Finding]:
    regions = {estate.region.name, estate.remote_region.name}
    if len(regions) < 2:
        yield ("remote_region",), "the remote region is the region itself", "choose another region"
    for index, bucket in enumerate(estate.buckets):
        if bucket.region not in regions:
            yield ("buckets", index), f"{bucket.name}: no region {bucket.region}", f"one of {sorted(regions)}"
        if bucket.object_lock_days and not bucket.versioned:
            yield ("buckets", index), f"{bucket.name}: object lock needs versions", "set versioned: true"
        yield from _copy(estate, index)


def _copy(estate: Estate, index: int) -> Iterator[Finding]:
    bucket = estate.buckets[index]
    if not bucket.copy_of:
        return
    key = ("buckets", index, "copy_of")
    source = next((b for b in estate.buckets if b.name == bucket.copy_of), None)
    if source is None or source.copy_of:
        known = ", ".join(b.name for b in estate.buckets if not b.copy_of and b.name != bucket.name)
        yield key, f"{bucket.name}: no bucket {bucket.copy_of} to copy", f"one of {known}"
    elif source.region == bucket.region:
        yield key, f"{bucket.name}: a copy in its source's own region", "choose the other region"
    if not bucket.versioned:
        yield key, f"{bucket.name}: a copy without versions can be overwritten", "set versioned: true"


def _lab(estate: Estate) -> Iterator[Finding]:
    if estate.provider != "lab":
        return
    if estate.internet.pool is None:
        yield ("internet",), "a lab needs a pool of public addresses", "add pool: 203.0.113.0/24"
    for index, site in enumerate(estate.sites):
        if site.internet_address is None:
            yield ("sites", index), f"{site.name}: a lab site needs an internet_address", "add 198.51.100.10"
    published = estate.lab.published.model_dump()
    if len(set(published.values())) != len(published):
        yield ("lab", "published"), "one port of 127.0.0.1 is published twice", "give each its own"


def _placeholders(estate: Estate) -> Iterator[Finding]:
    if estate.environment == "lab":
        return
    for key in ("domain", "secrets_from"):
        value = str(getattr(estate, key)).lower()
        if any(word in value for word in PLACEHOLDERS):
            yield (key,), f"{key} {value!r} is a placeholder", "put the real value before production"
