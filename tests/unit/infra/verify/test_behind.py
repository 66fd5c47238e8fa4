from __future__ import annotations

from infra.drivers.lab.inject import checksum, first_packet
from infra.estate.loading import load_estate
from infra.estate.matrix import expected_matrix
from infra.verify.behind import let_in, past_the_fabric
from infra.verify.probe import Behind, summary
from infra.verify.verdicts import Tap

LAB = load_estate("lab")
MATRIX = expected_matrix(LAB)
WANTED = past_the_fabric(LAB, MATRIX.checks)


def test_every_denied_leg_but_the_tunnels_is_tried_at_the_host_itself() -> None:
    tried = {check for keys in WANTED.values() for check in keys.values()}
    ours = {h.name for h in LAB.hosts}
    denied = {c for c in MATRIX.checks if not c.permitted and c.route != "line"}
    assert tried == {c for c in denied if c.destination in ours}
    assert set(WANTED) >= {("vpc", "db-1"), ("hospital", "edge-1"), ("hospital", "his-1")}


def test_what_the_host_let_in_is_a_difference_and_what_never_arrived_proves_nothing() -> None:
    place = ("vpc", "db-1")
    keys = dict(WANTED[place])
    (leak, lost), rest = list(keys)[:2], frozenset(list(keys)[2:])
    taps = {"db-1": Tap(rest | {leak}, frozenset({leak}))}
    passed, missing = let_in({place: keys}, taps)
    assert (passed, missing) == ([keys[leak]], [keys[lost]])
    verdicts = {c: "open" if c.permitted else "dropped by the fabric" for c in MATRIX.checks}
    behind = Behind(len(keys), tuple(passed), tuple(missing))
    found = summary(LAB, MATRIX, verdicts, "fabric", "ops-1", 1.0, behind)  # type: ignore[arg-type]
    assert not found.ok
    assert [d.verdict for d in found.unexpected_let_in] == ["let in by the host"]
    assert len(found.undecided) == 1
    assert found.walls == len(keys)


def test_packets_are_whole() -> None:
    for protocol, length in (("tcp", 40), ("udp", 36)):
        packet = first_packet(("10.20.1.10", "10.20.2.10", protocol, 3306), 40000)
        assert len(packet) == length
        assert checksum(packet[:20]) == 0
        head = packet[12:20] + bytes([0, {"tcp": 6, "udp": 17}[protocol]])
        assert checksum(head + (length - 20).to_bytes(2, "big") + packet[20:]) == 0
        assert int.from_bytes(packet[22:24], "big") == 3306
