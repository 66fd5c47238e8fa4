"""Estate and trust → Ansible inventory. Values are derived, never typed; secrets pass by stdout only."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from infra.errors import YiyunError
from infra.estate.addresses import (
    balancer_address,
    elastic_addresses,
    elastic_name_of_host,
    elsewhere_addresses,
    host_addresses,
    line_addresses,
    tunnel_addresses,
)
from infra.estate.backups import AGENT_WAYS, items_of, stores_of, upload_kib
from infra.estate.capacity import memory_mib
from infra.estate.endpoints import Endpoint, endpoints
from infra.estate.flows import flows, same_network
from infra.estate.limits import EDGE, TLS12_CIPHERS
from infra.estate.loading import load_estate
from infra.estate.recovery import attachments_bucket
from infra.estate.wall import wall_of
from infra.paths import EstatePaths
from infra.services.backup import ACCOUNT, BACKUP, IDENTITY, READER, SUCCESSOR
from infra.services.base import SSHD
from infra.services.catalogue import KNOWN_ROLES, SERVICES, services_of
from infra.services.platform import LINE_GATEWAY
from infra.services.storage import MOUNT
from infra.trust.material import Material

if TYPE_CHECKING:
    from infra.estate.model import Estate, Host

Variables = dict[str, Any]


def inventory(estate: Estate, material: Material, public: dict[str, str] | None = None) -> Variables:
    """The inventory as Ansible's dynamic inventory programs print it: groups are roles.

    `public`: addresses of elastic IPs by name, where the provider chose them.
    """
    public = public or {name: str(a) for name, a in elastic_addresses(estate).items()}
    groups: Variables = {
        role: {"hosts": [h.name for h in estate.hosts_with(role)]} for role in sorted(KNOWN_ROLES)
    }
    return {
        **groups,
        "cloud": {"hosts": [h.name for h in estate.cloud_hosts]},
        "all": {"vars": shared_variables(estate)},
        "_meta": {"hostvars": {h.name: host_variables(estate, h, material, public) for h in estate.hosts}},
    }


def shared_variables(estate: Estate) -> Variables:
    """What every host's roles know: names, ports, the range of the VPC."""
    return {
        "ansible_user": "root",
        "ansible_python_interpreter": "/usr/bin/python3",
        "yiyun_estate": estate.estate,
        "yiyun_environment": estate.environment,
        "yiyun_domain": estate.domain,
        "yiyun_county_code": estate.county_code,
        "yiyun_vpc_cidr": str(estate.vpc.cidr),
        "yiyun_shared_kernel": estate.provider == "lab",
        "yiyun_buckets": [b.model_dump(include={"name", "region", "copy_of"}) for b in estate.buckets],
        "yiyun_attachments": attachments_variables(estate),
        "yiyun_database": estate.database.model_dump(),
        "yiyun_isolated": estate.isolated,
        "yiyun_edge": EDGE.as_variables(),
        "yiyun_tls12_ciphers": TLS12_CIPHERS,
        "yiyun_balancer_addresses": [str(balancer_address(estate, b)) for b in estate.load_balancers],
        "yiyun_line_sources": line_sources(estate),
        "yiyun_ports": {f"{s.name}.{p.name}": p.number for s in SERVICES for p in s.listens},
    }


def attachments_variables(estate: Estate) -> Variables:
    """The bucket of attachments and who calls it: a rehearsal reads the copy, with an account that reads."""
    return {
        "bucket": attachments_bucket(estate),
        "account": READER if estate.isolated else SUCCESSOR if estate.recovers else MOUNT.account,
        "read_only": estate.isolated,
    }


def recovery_secrets(estate: Estate, host: Host) -> set[str]:
    """What a host of a recovery has besides: the key that reads; the first member what opens the log."""
    if not estate.recovers:
        return set()
    first = [h.name for h in estate.hosts_with("db")][:1]
    own = f"object-{READER if estate.isolated else SUCCESSOR}"
    return {own, *([IDENTITY] if host.name in first else [])}


def recovery_variables(estate: Estate, host: Host) -> Variables:
    """Where the first member of a recovery brings its data from; the others are copied from it."""
    first = [h.name for h in estate.hosts_with("db")][:1]
    return {"region": estate.region.name} if estate.recovers and host.name in first else {}


def line_sources(estate: Estate) -> list[str]:
    """Addresses from which cloud hosts see what comes over the line: the gateways' line addresses, and the
    peer's own in each tunnel where the gateway itself is called.
    """
    peers = [str(peer) for _, peer in tunnel_addresses(estate).values()]
    return [*(str(a) for a in line_addresses(estate).values()), *peers]


def host_variables(estate: Estate, host: Host, material: Material, public: dict[str, str]) -> Variables:
    """What one host's roles know, and no secret of a service it does not run."""
    addresses = host_addresses(estate)
    accepted = material.accepted()
    wanted = {spec.name for s in services_of(host) for spec in s.secrets if not spec.per_host}
    wanted |= recovery_secrets(estate, host)
    variables: Variables = {
        "yiyun_address": str(addresses[host.name]),
        "yiyun_memory_mib": memory_mib(estate, host),
        "yiyun_addresses": {name: str(addresses[name]) for name in _known_hosts(estate, host)},
        "yiyun_certificates": {
            service: {"crt": pair.certificate + material.root().certificate, "key": pair.key}
            for service, pair in material.leaves_of(host).items()
        },
        "yiyun_endpoints": endpoint_variables(estate, host),
        "yiyun_ca": material.trusted(),
        "yiyun_secrets": {name: accepted[name][0] for name in sorted(wanted)},
        "yiyun_secrets_accepted": {name: accepted[name] for name in sorted(wanted)},
        "yiyun_host_secrets": material.host_secrets(host),
        "yiyun_wall": wall_of(estate, host).as_variables(),
        "yiyun_owned_files": sorted({path for s in services_of(host) for path in s.owned_files}),
        "yiyun_sign_in_users": list(host.sign_in_users),
        "yiyun_jump_targets": jump_targets(estate, host),
    }
    if recovering := recovery_variables(estate, host):
        variables["yiyun_restore"] = recovering
    if BACKUP in services_of(host):
        variables["yiyun_backup"] = backup_variables(estate, host, material)
    if host.exists:
        variables["yiyun_data_claims"] = [d.mount for d in host.disks]
    if estate.line and host.name in estate.line.gateways:
        variables |= gateway_variables(estate, host, material)
    if estate.line and host.name == estate.line.peer:
        variables |= peer_variables(estate, host, material, public)
    return variables


def backup_variables(estate: Estate, host: Host, material: Material) -> Variables:
    """What a host's backup agent is told: stores, whom to encrypt to, whom to trust, what to save."""
    return {
        "estate": estate.origin,
        "account": READER if estate.isolated else ACCOUNT,
        "stores": [
            {"region": region, "bucket": bucket, "upload_kib": upload_kib(estate) if far else 0}
            for far, (region, bucket) in enumerate(stores_of(estate))
        ],
        "buckets": copied_buckets(estate, host),
        "recipients": material.backup_recipients(),
        "signers": material.backup_signers(),
        "items": [
            {"service": i.service, "way": i.save.way, "paths": list(i.save.paths)}
            | {"command": list(i.save.command), "optional": i.save.optional}
            for i in items_of(host)
            if i.save.way in AGENT_WAYS
        ],
    }


def copied_buckets(estate: Estate, host: Host) -> list[Variables]:
    """Buckets with a copy, and the copies, that a host may read: account and region of each."""
    account = next((g.account for s in services_of(host) for g in s.grants if g.of_copies), "")
    copied = {b.copy_of for b in estate.buckets if b.copy_of}
    return [
        {"name": b.name, "region": b.region, "copy_of": b.copy_of, "account": account}
        for b in estate.buckets
        if account and (b.copy_of or b.name in copied)
    ]


def endpoint_variables(estate: Estate, host: Host) -> dict[str, Variables]:
    """Endpoints of the provider that this host may call, by region; the address only where it is ours."""
    called = {f.destination for f in flows(estate) if f.source == host.name and f.path == "managed"}
    return {e.region: _endpoint(e) for e in endpoints(estate) if e.name in called}


def _endpoint(endpoint: Endpoint) -> Variables:
    return {
        "name": endpoint.host_name,
        "port": endpoint.service.port("s3").number,
        "address": str(endpoint.address or ""),
    }


def jump_targets(estate: Estate, host: Host) -> list[str]:
    """`ADDRESS:PORT` of every SSH server a bastion may pass an operator on to; none for another host."""
    addresses = host_addresses(estate)
    return sorted(
        f"{addresses[f.destination]}:{f.port.number}"
        for f in flows(estate)
        if (f.service, f.source) == (SSHD.name, host.name)
    )


def gateway_variables(estate: Estate, host: Host, material: Material) -> Variables:
    """The cloud end of the line: its keys, its peer, and the only flows it lets through."""
    if estate.line is None:
        return {}
    addresses, (own, peer) = host_addresses(estate), tunnel_addresses(estate)[host.name]
    permitted = {
        (str(addresses[f.destination]), f.port.protocol, f.port.number)
        for f in flows(estate)
        if f.path == "line"
    }
    return {
        "yiyun_line_address": str(line_addresses(estate)[host.name]),
        "yiyun_line_flows": [
            {"address": address, "protocol": protocol, "port": port}
            for address, protocol, port in sorted(permitted)
        ],
        "yiyun_wireguard": {
            "private_key": material.gateway_keys(host.name).private,
            "listen_port": LINE_GATEWAY.port("wireguard").number,
            "address": f"{own}/30",
            "peer_address": str(peer),
            "peer_public_key": material.peer_keys(estate.line.peer, host.name).public,
        },
    }


def peer_variables(estate: Estate, host: Host, material: Material, public: dict[str, str]) -> Variables:
    """The premises end of the line: one tunnel a gateway, in order of preference."""
    if estate.line is None:
        return {}
    port = LINE_GATEWAY.port("wireguard").number
    tunnels: list[Variables] = []
    for index, gateway in enumerate(estate.line.gateways):
        own, peer = tunnel_addresses(estate)[gateway]
        tunnels.append(
            {
                "interface": f"wg{index}",
                "gateway": gateway,
                "address": f"{peer}/30",
                "gateway_address": str(own),
                "endpoint": f"{public.get(elastic_name_of_host(gateway), '')}:{port}",
                "elsewhere": [
                    f"{a}:{port}"
                    for name, a in elsewhere_addresses(estate).items()
                    if name == elastic_name_of_host(gateway)
                ],
                "private_key": material.peer_keys(host.name, gateway).private,
                "public_key": material.gateway_keys(gateway).public,
            }
        )
    return {"yiyun_wireguard": {"tunnels": tunnels}}


def _known_hosts(estate: Estate, host: Host) -> list[str]:
    peer = estate.line.peer if estate.line else ""
    return [
        other.name
        for other in estate.hosts
        if other.name == host.name
        or same_network(host, other)
        or (host.name == peer and other.subnet is not None)
    ]


def main() -> None:
    """Print the inventory of the estate in `YIYUN_ESTATE` (a name or a file). Called by Ansible."""
    try:
        estate = load_estate(os.environ.get("YIYUN_ESTATE", "lab"))
        public = json.loads(os.environ.get("YIYUN_PUBLIC_ADDRESSES", "{}"))
        result = inventory(estate, Material(estate, EstatePaths(estate.estate)), public)
    except YiyunError as error:
        sys.exit(f"{error.message} ({error.hint})")
    sys.stdout.write(json.dumps(result))
