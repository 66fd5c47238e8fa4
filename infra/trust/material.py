"""Everything secret an estate needs, derived from its services' declarations and kept in its store."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519

from infra.estate.addresses import (
    balancer_address,
    elastic_addresses,
    elastic_name_of_balancer,
    elastic_name_of_host,
    host_addresses,
)
from infra.estate.endpoints import endpoints
from infra.services.catalogue import SERVICES, service_named, services_of
from infra.services.model import OPERATORS
from infra.trust.authority import LeafSpec, Pair, make_leaf, make_root, still_good
from infra.trust.store import SecretStore, random_key, random_password, random_psk, write_private

if TYPE_CHECKING:
    from infra.estate.model import Estate, Host
    from infra.paths import EstatePaths

ROOT = "certificate-authority"
OPERATOR_KEY = "operator-ssh-key"
WIREGUARD = "wireguard"
"""The secret of each end of the line; its form is `WireGuardKeys`."""
RAW_KEYS = frozenset({"app-field-key"})
"""Secrets that must be exactly 32 bytes in base64, not a password."""


@dataclass(frozen=True)
class WireGuardKeys:
    """One host's WireGuard keys, base64."""

    private: str
    public: str


class Material:
    """The estate's secrets, certificates and keys; makes what is missing when asked."""

    def __init__(self, estate: Estate, paths: EstatePaths) -> None:
        self.estate = estate
        self.paths = paths
        self.store = SecretStore(paths)

    def passwords(self) -> dict[str, str]:
        """Every declared secret that all hosts share, by name."""
        names = {spec.name: spec for s in SERVICES for spec in s.secrets if not spec.per_host}
        makers = {
            name: (random_key if name in RAW_KEYS else lambda length=spec.length: random_password(length))
            for name, spec in names.items()
        }
        return dict(self.store.ensure_all(makers))

    def root(self) -> Pair:
        """The estate's certificate authority."""
        text = self.store.ensure(ROOT, lambda: _pack(make_root(self.estate.estate)))
        return _unpack(text)

    def leaf(self, name: str, spec: LeafSpec) -> Pair:
        """The leaf of that name: the stored one while it is good, else a new one."""
        root, stored = self.root(), self.store.get(f"leaf:{name}")
        if stored is not None and still_good(_unpack(stored), root, spec):
            return _unpack(stored)
        leaf = make_leaf(root, spec)
        self.store.put(f"leaf:{name}", _pack(leaf))
        return leaf

    def leaves_of(self, host: Host) -> dict[str, Pair]:
        """Leaves of a host's services, by service."""
        return {
            service.name: self.leaf(f"{host.name}/{service.name}", self.leaf_spec(host, service.name))
            for service in services_of(host)
            if service.certificate
        }

    def leaf_spec(self, host: Host, service: str) -> LeafSpec:
        """What a service's leaf on a host says: the host's names and address, and the service's own name.

        The service's name lets a proxy verify several hosts of one service under one name. What operators
        call from outside is also named as they call it.
        """
        domain = self.estate.domain
        names = (host.name, f"{service}.service.{domain}")
        addresses = [str(host_addresses(self.estate)[host.name])]
        if _has_operators_door(service):
            public = elastic_addresses(self.estate).get(elastic_name_of_host(host.name))
            addresses += [str(public)] if public else []
            if self.estate.provider == "lab":
                names, addresses = (*names, "localhost"), [*addresses, "127.0.0.1"]
        return LeafSpec(f"{host.name}.{domain}", names, tuple(addresses))

    def balancer_leaves(self) -> dict[str, Pair]:
        """Leaves of the load balancers, by the name of their elastic IP."""
        public = elastic_addresses(self.estate)
        result: dict[str, Pair] = {}
        for balancer in self.estate.load_balancers:
            elastic = elastic_name_of_balancer(balancer.name)
            names = (*balancer.server_names, *(("localhost",) if self.estate.provider == "lab" else ()))
            addresses = [str(balancer_address(self.estate, balancer))]
            addresses += [str(public[elastic])] if elastic in public else []
            addresses += ["127.0.0.1"] if self.estate.provider == "lab" else []
            spec = LeafSpec(
                names[0] if names else f"{balancer.name}.{self.estate.domain}", names[1:], tuple(addresses)
            )
            result[elastic] = self.leaf(f"balancer/{elastic}", spec)
        return result

    def endpoint_leaves(self) -> dict[str, Pair]:
        """Leaves of the endpoints that the lab runs in the provider's place, by the name of their group."""
        return {
            e.group: self.leaf(
                f"endpoint/{e.group}", LeafSpec(e.host_name, (), (str(e.address), "127.0.0.1"))
            )
            for e in endpoints(self.estate)
            if e.address is not None
        }

    def bucket_keys(self) -> dict[str, str]:
        """Secret key of every account of the object storage, by account."""
        passwords = self.passwords()
        return {g.account: passwords[g.secret] for service in SERVICES for g in service.grants}

    def wireguard(self, host: str) -> WireGuardKeys:
        """A host's WireGuard keys."""
        private = self.store.ensure(f"{WIREGUARD}:{host}", _wireguard_private)
        key = x25519.X25519PrivateKey.from_private_bytes(base64.b64decode(private))
        public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return WireGuardKeys(str(private), base64.b64encode(public).decode())

    def host_secrets(self, host: Host) -> dict[str, str]:
        """A host's own secrets by name, of what its services declare, WireGuard's keys apart."""
        names = {s.name for service in services_of(host) for s in service.secrets if s.per_host}
        names -= {WIREGUARD}
        made = self.store.ensure_all({f"{name}:{host.name}": random_psk for name in sorted(names)})
        return {name.partition(":")[0]: str(value) for name, value in made.items()}

    def operator_key(self) -> str:
        """The operators' public SSH key; the private one is written for `ssh` with mode 0600."""
        text = self.store.ensure(OPERATOR_KEY, _ssh_private)
        key = serialization.load_ssh_private_key(text.encode(), None)
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        if not self.paths.ssh_key.exists() or self.paths.ssh_key.read_text(encoding="ascii") != text:
            write_private(self.paths.ssh_key, text.encode())
        return f"{public.decode()} yiyun-{self.estate.estate}"

    def write_lab_password(self) -> None:
        """Put the lab's operator password where its owner, and nobody else, can read it."""
        text = self.passwords()["app-operator"] + "\n"
        if not self.paths.operator_password.exists():
            write_private(self.paths.operator_password, text.encode())

    def write_lab_certificates(self) -> None:
        """What the lab's load balancers and object stores read: leaves with their keys, and the authority.

        The stores' also hold `accounts.json`: the secret key of each of their accounts.
        """
        balancers, stores = self.paths.lab / "certificates", self.paths.lab / "objectstore" / "trust"
        root = self.root().certificate
        wanted = {
            folder / f"{name}.pem": p.certificate + root + p.key
            for folder, leaves in ((balancers, self.balancer_leaves()), (stores, self.endpoint_leaves()))
            for name, p in leaves.items()
        }
        wanted |= {balancers / "ca.pem": root, stores / "ca.pem": root}
        wanted[stores / "accounts.json"] = json.dumps(self.bucket_keys(), indent=1, sort_keys=True)
        for path, text in wanted.items():
            if not path.exists() or path.read_text(encoding="ascii") != text:
                write_private(path, text.encode())


def _has_operators_door(service: str) -> bool:
    found = service_named(service)
    callers = [c.service for port in (found.listens if found else ()) for c in port.callers]
    return OPERATORS in callers


def _pack(pair: Pair) -> str:
    return json.dumps({"certificate": pair.certificate, "key": pair.key})


def _unpack(text: str) -> Pair:
    return Pair(**json.loads(text))


def _wireguard_private() -> str:
    raw = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    return base64.b64encode(raw).decode()


def _ssh_private() -> str:
    return (
        ed25519.Ed25519PrivateKey.generate()
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        .decode()
    )
