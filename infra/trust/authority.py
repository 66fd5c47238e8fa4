"""The estate's own certificate authority: one root an estate, short leaves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT_DAYS = 3650
LEAF_DAYS = 90
RENEW_DAYS = 30
"""A leaf is replaced when less than this is left: two thirds of its life are over."""
BACKDATE = timedelta(minutes=5)
"""Clocks of hosts may be this far behind without refusing a new leaf."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str

    @property
    def x509(self) -> x509.Certificate:
        """The certificate, parsed."""
        return x509.load_pem_x509_certificate(self.certificate.encode())

    @property
    def not_after(self) -> datetime:
        """When the certificate ends, UTC."""
        return self.x509.not_valid_after_utc


@dataclass(frozen=True)
class LeafSpec:
    """What a leaf must say: its common name, its names and its addresses."""

    common_name: str
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


def make_root(estate: str, now: datetime | None = None) -> Pair:
    """A new root (P-256), able to sign leaves only. Its name has its date: old and new are told apart."""
    now = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"yiyun {estate} estate authority {now:%Y-%m-%dT%H:%M:%SZ}")
    builder = (
        _builder(name, name, key.public_key(), now, ROOT_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def make_leaf(root: Pair, spec: LeafSpec, now: datetime | None = None) -> Pair:
    """A new leaf for servers and clients (mutual TLS), signed by the root."""
    now = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(root.certificate.encode())
    issuer_key = serialization.load_pem_private_key(root.key.encode(), None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the root's key is not an elliptic-curve key")
    names: list[x509.GeneralName] = [x509.DNSName(n) for n in dict.fromkeys((spec.common_name, *spec.names))]
    names += [x509.IPAddress(IPv4Address(a)) for a in spec.addresses]
    builder = (
        _builder(_name(spec.common_name), issuer.subject, key.public_key(), now, LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(sign_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    return _pair(builder.sign(issuer_key, hashes.SHA256()), key)


def still_good(leaf: Pair, root: Pair, spec: LeafSpec, now: datetime | None = None) -> bool:
    """True when a leaf is of this root, says what it should, and has more than `RENEW_DAYS` left."""
    now = now or datetime.now(UTC)
    certificate = x509.load_pem_x509_certificate(leaf.certificate.encode())
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(root.certificate.encode()))
    except Exception:  # noqa: BLE001  any failure to verify means: issue a new one
        return False
    if certificate.not_valid_after_utc - now < timedelta(days=RENEW_DAYS):
        return False
    said = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    names = set(said.get_values_for_type(x509.DNSName))
    addresses = {str(a) for a in said.get_values_for_type(x509.IPAddress)}
    return names == {spec.common_name, *spec.names} and addresses == set(spec.addresses)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )
