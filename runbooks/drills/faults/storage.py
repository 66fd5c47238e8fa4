"""Object storage that refuses: an endpoint answers 503, does not answer, or cuts connections half-way.

Done in the endpoint's own network namespace, in the provider's place: the store itself goes on and keeps all
it has, and what the lab asks of it from within still reaches it.
"""

from __future__ import annotations

import socket
import ssl
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from infra.drivers.lab import daemons
from infra.drivers.lab.names import qualified
from infra.drivers.lab.netlink import inside
from infra.drivers.lab.objectstore import folder
from infra.errors import YiyunError
from infra.services.catalogue import service_named
from runbooks.drills.faults.tables import absent, install, order_in, present, remove
from runbooks.drills.faults.targets import store_of
from runbooks.drills.faults.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.drivers.lab.daemons import Daemon as DaemonSpec
    from infra.estate.endpoints import Endpoint
    from runbooks.drills.faults.tool import Order, Place
    from runbooks.drills.kinds import StorageRefusing

STAND_IN_PORT = 8503
ASKING_SECONDS = 3.0
LISTENING_SECONDS = 10.0
LOOK_SECONDS = 0.05
REFUSED = 503
ARRIVING = "type filter hook input priority -300; policy accept;"
TURNED = "type nat hook prerouting priority dstnat; policy accept;"


def _order(fault: StorageRefusing, place: Place) -> Order:
    endpoint = store_of(place.estate, fault.store)
    order = order_in(fault.kind, place, endpoint.group, fault.store)
    return {**order, "stand_in": f"drill-{fault.store}-store-{place.mark}"}


def _ready(fault: StorageRefusing, place: Place) -> Callable[[], None]:
    """The stand-in listens before anybody is sent there."""
    order, endpoint = _order(fault, place), store_of(place.estate, fault.store)
    port = endpoint.service.port("s3").number
    if fault.mode != "absent":
        daemons.ensure(place.paths, stand_in(fault, place, endpoint))
        _wait_for(place, str(order["stand_in"]), qualified(place.paths.estate, endpoint.group))
    return partial(install, place, order, chains(fault, port))


def _inject(fault: StorageRefusing, place: Place) -> None:
    _ready(fault, place)()


def _wait_for(place: Place, stand_in: str, namespace: str) -> None:
    """Until it listens in the store's namespace. Raises YiyunError with what it said when it does not."""
    deadline = time.monotonic() + LISTENING_SECONDS
    while daemons.running(place.paths, stand_in) is not None and time.monotonic() < deadline:
        with inside(namespace):
            plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with plain:
            if plain.connect_ex(("127.0.0.1", STAND_IN_PORT)) == 0:
                return
        time.sleep(LOOK_SECONDS)
    log = daemons.run_folder(place.paths) / f"{stand_in}.log"
    said = log.read_text(encoding="utf-8").strip().splitlines()[-1:] if log.exists() else []
    raise YiyunError(f"the stand-in of {namespace} does not listen: {''.join(said)}", hint="yiyun status")


def _bites(fault: StorageRefusing, place: Place) -> bool:
    """Asked as a host of the estate asks: from a caller's network, under the store's own name."""
    endpoint = store_of(place.estate, fault.store)
    answer = _asked(place, endpoint, _caller(place, fault))
    if fault.mode == "half":
        by_stand_in = daemons.running(place.paths, str(_order(fault, place)["stand_in"])) is not None
        return answer is not None and by_stand_in and present(_order(fault, place), place)
    return answer == (REFUSED if fault.mode == "refusing" else None)


def _undo(order: Order, place: Place) -> None:
    remove(order, place)
    name = str(order["stand_in"])
    daemons.end(place.paths, name)
    for ending in ("json", "log"):
        (daemons.run_folder(place.paths) / f"{name}.{ending}").unlink(missing_ok=True)


def _is_undone(order: Order, place: Place) -> bool:
    return absent(order, place) and daemons.running(place.paths, str(order["stand_in"])) is None


STORAGE_REFUSING = Tool(_order, _inject, _bites, _undo, _is_undone, _ready)
"""A region's object storage as its callers know it on a bad day. Its objects are not touched."""


def chains(fault: StorageRefusing, port: int) -> dict[str, list[str]]:
    """Rules in the store's namespace. What comes by its own loopback is the provider's and passes. Pure."""
    arriving = f'iifname != "lo" tcp dport {port} counter'
    if fault.mode == "absent":
        return {ARRIVING: [f"{arriving} drop"]}
    # New connections go to the stand-in; those that stand are ended, or they would not notice.
    return {
        ARRIVING: [f"{arriving} reject with tcp reset"],
        TURNED: [f"{arriving} redirect to :{STAND_IN_PORT}"],
    }


def stand_in(fault: StorageRefusing, place: Place, endpoint: Endpoint) -> DaemonSpec:
    """The process that stands in for a store. Pure."""
    program = ["ip", "netns", "exec", qualified(place.paths.estate, endpoint.group)]
    program += [sys.executable, "-m", "runbooks.drills.faults.refuser"]
    if fault.mode == "refusing":
        program += ["refuse", str(STAND_IN_PORT), str(folder(place.paths, endpoint.region) / "tls.pem")]
    else:
        target = endpoint.service.port("s3").number
        program += ["half", str(STAND_IN_PORT), str(target), str(fault.after_kib)]
    name = f"drill-{fault.store}-store-{place.mark}"
    return daemons.Daemon(name, tuple(program), fault.model_dump_json())


def _caller(place: Place, fault: StorageRefusing) -> str:
    """A host that uses that store: the mount's for the own region, the copy's for the other."""
    service = service_named("object-mount" if fault.store == "own" else "object-copy")
    roles = service.roles if service else ()
    return next(h.name for h in place.estate.hosts if set(roles) & set(h.roles))


def _asked(place: Place, endpoint: Endpoint, host: str) -> int | None:
    """HTTP status of one request without a signature from a host's network; None when nobody answers."""
    context = ssl.create_default_context(cafile=str(folder(place.paths, endpoint.region) / "ca.pem"))
    where = (str(endpoint.address), endpoint.service.port("s3").number)
    try:
        with inside(qualified(place.paths.estate, host)):
            plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with plain:
            plain.settimeout(ASKING_SECONDS)
            plain.connect(where)
            with context.wrap_socket(plain, server_hostname=endpoint.host_name) as secure:
                secure.sendall(f"GET / HTTP/1.1\r\nHost: {endpoint.host_name}\r\n\r\n".encode())
                return status_of(secure.recv(64))
    except OSError:
        return None


def status_of(head: bytes) -> int | None:
    """The status of an HTTP answer's first line; None for what is none. Pure."""
    words = head.split(b" ", 2)
    good = len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit()
    return int(words[1]) if good else None
