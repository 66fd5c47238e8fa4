"""Everything secret an estate needs, derived from its services' declarations and kept in its store."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyrage
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
from infra.services.backup import IDENTITY, SIGNING
from infra.services.catalogue import SERVICES, service_named, services_of
from infra.services.model import OPERATORS
from infra.trust.authority import LeafSpec, Pair, make_leaf, make_root, still_good
from infra.trust.store import SecretStore, random_key, random_password, random_psk, write_private

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.estate.model import Estate, Host
    from infra.paths import EstatePaths

ROOT = "certificate-authority"
OPERATOR_KEY = "operator-ssh-key"
WIREGUARD = "wireguard"
"""The secret of each end of the line; its form is `WireGuardKeys`."""
MAKERS: dict[str, Callable[[], str]] = {IDENTITY: lambda: str(pyrage.x25519.Identity.generate())}
"""Secrets with a form of their own."""
RAW_KEYS = frozenset({"app-field-key"})
"""Secrets that must be exactly 32 bytes in base64, not a password."""


@dataclass(frozen=True)
class WireGuardKeys:
    """One host's WireGuard keys, base64."""

    private: str
    public: str


def shared_makers() -> dict[str, Callable[[], str]]:
    """How to make each declared secret that all hosts share, by name."""
    specs = {spec.name: spec for s in SERVICES for spec in s.secrets if not spec.per_host}
    return {
        name: (random_key if name in RAW_KEYS else lambda length=spec.length: random_password(length))
        for name, spec in specs.items()
    } | MAKERS


class Material:
    """The estate's secrets, certificates and keys; makes what is missing when asked."""

    def __init__(self, estate: Estate, paths: EstatePaths) -> None:
        self.estate = estate
        self.paths = paths
        self.store = SecretStore(paths)

    def passwords(self) -> dict[str, str]:
        """Every declared secret that all hosts share, by name."""
        return dict(self.store.ensure_all(shared_makers()))

    def accepted(self) -> dict[str, list[str]]:
        """Each shared secret, and after it what is accepted beside it while it is being rotated."""
        return {name: [str(v) for v in self.store.accepted(name)] for name in self.passwords()}

    def root(self) -> Pair:
        """The estate's certificate authority, which signs new leaves."""
        text = self.store.ensure(ROOT, lambda: pack(make_root(self.estate.estate)))
        return unpack(text)

    def trusted(self) -> str:
        """Certificates (PEM) of every root that is trusted now: two while the authority is replaced."""
        self.root()
        return "".join(unpack(text).certificate for text in self.store.accepted(ROOT))

    def leaf(self, name: str, spec: LeafSpec) -> Pair:
        """The leaf of that name: the stored one while it is good, else a new one."""
        root, stored = self.root(), self.store.get(f"leaf:{name}")
        if stored is not None and still_good(unpack(stored), root, spec):
            return unpack(stored)
        leaf = make_leaf(root, spec)
        self.store.put(f"leaf:{name}", pack(leaf))
        return leaf

    def leaves_of(self, host: Host) -> dict[str, Pair]:
        """Leaves of a host's services, by service."""
        specs = self.host_leaf_specs(host)
        return {service: self.leaf(f"{host.name}/{service}", spec) for service, spec in specs.items()}

    def host_leaf_specs(self, host: Host) -> dict[str, LeafSpec]:
        """What the leaves of a host's services say, by service."""
        return {s.name: self.leaf_spec(host, s.name) for s in services_of(host) if s.certificate}

    def leaf_specs(self) -> dict[str, LeafSpec]:
        """What every leaf of the estate says, by its name in the store."""
        found = {f"leaf:balancer/{name}": spec for name, spec in self.balancer_leaf_specs().items()}
        found |= {f"leaf:endpoint/{name}": spec for name, spec in self.endpoint_leaf_specs().items()}
        for host in self.estate.hosts:
            found |= {f"leaf:{host.name}/{s}": spec for s, spec in self.host_leaf_specs(host).items()}
        return found

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
        return {name: self.leaf(f"balancer/{name}", s) for name, s in self.balancer_leaf_specs().items()}

    def balancer_leaf_specs(self) -> dict[str, LeafSpec]:
        """What the load balancers' leaves say, by the name of their elastic IP."""
        public = elastic_addresses(self.estate)
        result: dict[str, LeafSpec] = {}
        for balancer in self.estate.load_balancers:
            elastic = elastic_name_of_balancer(balancer.name)
            names = (*balancer.server_names, *(("localhost",) if self.estate.provider == "lab" else ()))
            addresses = [str(balancer_address(self.estate, balancer))]
            addresses += [str(public[elastic])] if elastic in public else []
            addresses += ["127.0.0.1"] if self.estate.provider == "lab" else []
            result[elastic] = LeafSpec(
                names[0] if names else f"{balancer.name}.{self.estate.domain}", names[1:], tuple(addresses)
            )
        return result

    def endpoint_leaves(self) -> dict[str, Pair]:
        """Leaves of the endpoints that the lab runs in the provider's place, by the name of their group."""
        return {name: self.leaf(f"endpoint/{name}", s) for name, s in self.endpoint_leaf_specs().items()}

    def endpoint_leaf_specs(self) -> dict[str, LeafSpec]:
        """What those endpoints' leaves say, by the name of their group."""
        return {
            e.group: LeafSpec(e.host_name, (), (str(e.address), "127.0.0.1"))
            for e in endpoints(self.estate)
            if e.address is not None
        }

    def bucket_keys(self) -> dict[str, str]:
        """Secret key of every account of the object storage, by account."""
        passwords = self.passwords()
        return {g.account: passwords[g.secret] for service in SERVICES for g in service.grants}

    def gateway_keys(self, gateway: str) -> WireGuardKeys:
        """The cloud end's WireGuard keys of the path over a gateway."""
        return self._wireguard(gateway_key_name(gateway), wireguard_private)

    def peer_keys(self, peer: str, gateway: str) -> WireGuardKeys:
        """The premises end's WireGuard keys of the path over a gateway; each path has its own.

        An estate made before that had one key for all paths: it stays theirs until they are rotated.
        """
        older = self.store.get(f"{WIREGUARD}:{peer}")
        return self._wireguard(peer_key_name(peer, gateway), lambda: older or wireguard_private())

    def _wireguard(self, name: str, make: Callable[[], str]) -> WireGuardKeys:
        private = self.store.ensure(name, make)
        key = x25519.X25519PrivateKey.from_private_bytes(base64.b64decode(private))
        public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return WireGuardKeys(str(private), base64.b64encode(public).decode())

    def backup_recipients(self) -> list[str]:
        """Whom backups are encrypted to: the public half of what opens them (age)."""
        identity = pyrage.x25519.Identity.from_str(self.passwords()[IDENTITY])
        return [str(identity.to_public())]

    def backup_signers(self) -> dict[str, str]:
        """Host → public key, in hexadecimal, of what it signs its catalogue and its log with.

        A recovery has fewer hosts than the estate whose backups it reads: all who have a key count there.
        """
        seeds = {host.name: self.host_secrets(host).get(SIGNING) for host in self.estate.hosts}
        if self.estate.recovers:
            prefix = f"{SIGNING}:"
            known = [name for name in self.store.names() if name.startswith(prefix)]
            seeds |= {name.removeprefix(prefix): self.store.get(name) for name in known}
        return {
            host: ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
            .public_key()
            .public_bytes_raw()
            .hex()
            for host, seed in sorted(seeds.items())
            if seed
        }

    def host_secrets(self, host: Host) -> dict[str, str]:
        """A host's own secrets by name, of what its services declare, WireGuard's keys apart."""
        names = {s.name for service in services_of(host) for s in service.secrets if s.per_host}
        names -= {WIREGUARD}
        made = self.store.ensure_all({f"{name}:{host.name}": random_psk for name in sorted(names)})
        return {name.partition(":")[0]: str(value) for name, value in made.items()}

    def operator_key(self) -> str:
        """The operators' authorised public SSH keys, one a line: two while the key is being replaced.

        The private one is written for `ssh` with mode 0600.
        """
        text = self.store.ensure(OPERATOR_KEY, ssh_private)
        if not self.paths.ssh_key.exists() or self.paths.ssh_key.read_text(encoding="ascii") != text:
            write_private(self.paths.ssh_key, text.encode())
        authorised = [ssh_public(private) for private in self.store.accepted(OPERATOR_KEY)]
        return "\n".join(f"{public} yiyun-{self.estate.estate}" for public in authorised)

    def write_lab_password(self) -> None:
        """Put the lab's operator password where its owner, and nobody else, can read it."""
        text, path = self.passwords()["app-operator"] + "\n", self.paths.operator_password
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_private(path, text.encode())

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
        trusted = self.trusted()
        wanted |= {balancers / "ca.pem": trusted, stores / "ca.pem": trusted}
        wanted[stores / "accounts.json"] = json.dumps(self.bucket_keys(), indent=1, sort_keys=True)
        for path, text in wanted.items():
            if not path.exists() or path.read_text(encoding="ascii") != text:
                write_private(path, text.encode())


def _has_operators_door(service: str) -> bool:
    found = service_named(service)
    callers = [c.service for port in (found.listens if found else ()) for c in port.callers]
    return OPERATORS in callers


def pack(pair: Pair) -> str:
    """A pair as the store keeps it."""
    return json.dumps({"certificate": pair.certificate, "key": pair.key})


def unpack(text: str) -> Pair:
    """A pair from the store's text."""
    return Pair(**json.loads(text))


def gateway_key_name(gateway: str) -> str:
    """Name in the store of the cloud end's key of a path."""
    return f"{WIREGUARD}:{gateway}"


def peer_key_name(peer: str, gateway: str) -> str:
    """Name in the store of the premises end's key of a path."""
    return f"{WIREGUARD}:{peer}/{gateway}"


def wireguard_private() -> str:
    """A new WireGuard private key, base64."""
    raw = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    return base64.b64encode(raw).decode()


def ssh_private() -> str:
    """A new Ed25519 key in OpenSSH's format."""
    return (
        ed25519.Ed25519PrivateKey.generate()
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        .decode()
    )


def ssh_public(private: str) -> str:
    """The public half of an SSH key, `TYPE BASE64`."""
    key = serialization.load_ssh_private_key(private.encode(), None)
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        .decode()
    )
