"""An expired certificate: a leaf of the estate's own authority that ended yesterday, in a service's place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from infra.estate.addresses import host_addresses
from infra.trust.authority import LEAF_DAYS, make_leaf
from infra.trust.material import Material
from runbooks.drills.faults.inside import holds, must, shell, within
from runbooks.drills.faults.targets import RELOADS, leaf_port
from runbooks.drills.faults.tool import Tool

if TYPE_CHECKING:
    from infra.trust.authority import LeafSpec, Pair
    from runbooks.drills.faults.tool import Order, Place
    from runbooks.drills.kinds import CertificateExpired

TLS = "/etc/yiyun/tls"
SAVED = "/var/lib/yiyun/drill-leaf"
"""Where the previous leaf waits, root's alone: its key must not be in a journal."""
ENDED_AGO = timedelta(days=1)
TAKEN_UP_SECONDS = 15


def _order(fault: CertificateExpired, place: Place) -> Order:
    return {
        "kind": fault.kind,
        "host": fault.host,
        "service": fault.service,
        "saved": f"{SAVED}-{fault.service}-{place.mark}",
        "port": leaf_port(place.estate, fault.host, fault.service),
    }


def _inject(fault: CertificateExpired, place: Place) -> None:
    """The previous pair is whole beside it before the first file changes."""
    order, material = _order(fault, place), Material(place.estate, place.paths)
    root = material.root()
    spec = material.leaf_spec(place.estate.host(fault.host), fault.service)
    leaf = expired_leaf(root, spec)
    shell(place, fault.host, save_script(fault.service, str(order["saved"])))
    texts = {"crt": leaf.certificate + root.certificate, "key": leaf.key}
    for ending, text in texts.items():  # by standard input: keys are in no argument
        # Written into the file that is there, whose owner and rights stay.
        must(place, fault.host, ["sh", "-c", f"cat > {TLS}/{fault.service}.{ending}"], stdin=text)
    _reload(place, fault.host, fault.service)


def _bites(fault: CertificateExpired, place: Place) -> bool:
    """The service itself must show it."""
    order = _order(fault, place)
    return within(TAKEN_UP_SECONDS, lambda: _shown(place, order) == "expired")


def _undo(order: Order, place: Place) -> None:
    host, service = str(order["host"]), str(order["service"])
    if holds(place, host, ["test", "-d", str(order["saved"])]):
        shell(place, host, restore_script(service, str(order["saved"])))
        _reload(place, host, service)
        must(place, host, ["rm", "-rf", str(order["saved"])])
    must(place, host, ["rm", "-rf", f"{order['saved']}.new"])


def _is_undone(order: Order, place: Place) -> bool:
    if holds(place, str(order["host"]), ["test", "-e", str(order["saved"])]):
        return False
    return within(TAKEN_UP_SECONDS, lambda: _shown(place, order) == "good")


CERTIFICATE_EXPIRED = Tool(_order, _inject, _bites, _undo, _is_undone)
"""A service shows a certificate that is of the right authority, for the right names, and over."""


def expired_leaf(root: Pair, spec: LeafSpec, now: datetime | None = None) -> Pair:
    """A leaf that says what the service's own says, and ended a day ago. Pure but for its new key."""
    return make_leaf(root, spec, (now or datetime.now(UTC)) - timedelta(days=LEAF_DAYS) - ENDED_AGO)


def save_script(service: str, saved: str, tls: str = TLS) -> str:
    """Script that keeps the pair as it is, whole or not at all; one that is kept already stays. Pure."""
    return (
        f"test -d {saved} && exit 0; rm -rf {saved}.new; mkdir -m 0700 -p {saved}.new; "
        f"cp -p {tls}/{service}.crt {tls}/{service}.key {saved}.new/; sync; mv {saved}.new {saved}"
    )


def restore_script(service: str, saved: str, tls: str = TLS) -> str:
    """Script that puts the kept pair back, with owner and rights. Pure."""
    return f"cp -p {saved}/{service}.key {saved}/{service}.crt {tls}/"


def _reload(place: Place, host: str, service: str) -> None:
    if RELOADS[service]:
        must(place, host, list(RELOADS[service]))


def _shown(place: Place, order: Order) -> str:
    """`good`, `expired`, or empty when the service shows nothing."""
    address = host_addresses(place.estate)[str(order["host"])]
    script = shown_script(f"{address}:{order['port']}")
    return shell(place, str(order["host"]), script).strip()


def shown_script(where: str) -> str:
    """Script that says whether the certificate served at ADDRESS:PORT is over. Pure."""
    return (
        f"pem=$(timeout 5 openssl s_client -connect {where} </dev/null 2>/dev/null "
        "| openssl x509 2>/dev/null) || exit 0; "
        'if echo "$pem" | openssl x509 -noout -checkend 0 >/dev/null; then echo good; else echo expired; fi'
    )
