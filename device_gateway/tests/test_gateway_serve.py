"""A real `serve` process: acknowledgements, kill -9, cuts, a full store, restart, commands beside it."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from gateway_kit import Gateway, Platform, Sender, eventually, free_port, oru

from yiyun_gateway.mllp import wrap

if TYPE_CHECKING:
    from pathlib import Path


def msa(answer: bytes) -> list[str]:
    return next(line for line in answer.decode().split("\r") if line.startswith("MSA")).split("|")


def test_a_result_is_acknowledged_and_delivered_once(
    gateway: Gateway, sender: Sender, platform: Platform
) -> None:
    gateway.start()
    assert msa(sender.exchange(oru("A1")))[1:3] == ["AA", "A1"]
    assert msa(sender.exchange(oru("A1")))[1:3] == ["AA", "A1"]
    eventually(lambda: platform.control_ids() == ["A1"])
    eventually(lambda: gateway.counts() == {"delivered": 1})
    status = gateway.status()
    assert (status["repeats"], status["accepting"], status["senders"]["LIS|HIS-1"]["delivered"]) == (
        1,
        True,
        1,
    )
    gateway.stop()
    assert "王" not in (gateway.folder / "log").read_text()
    assert gateway.logs()[-1]["event"] == "stopped"


def test_pipelined_messages_with_noise_are_each_acknowledged_in_order(gateway: Gateway) -> None:
    gateway.start()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as line:
        line.sendall(
            b"noise\r\n" + b"".join(wrap(oru(f"N{n}")) + b"\n" for n in range(5)) + wrap(oru("N5"))[:20]
        )
        data = b""
        while data.count(b"\x1c\r") < 5:
            data += line.recv(4096)
        line.sendall(wrap(oru("N5"))[20:])
        while data.count(b"\x1c\r") < 6:
            data += line.recv(4096)
    answers = [msa(part)[1:3] for part in data.split(b"\x1c\r") if part]
    assert answers == [["AA", f"N{n}"] for n in range(6)]


def test_what_is_not_hl7_is_answered_ar_and_kept_parked(gateway: Gateway, sender: Sender) -> None:
    gateway.start()
    assert msa(sender.exchange(b"GET / HTTP/1.1"))[1] == "AR"
    rows = json.loads(gateway.run("list", "--state", "parked", "--json").stdout)
    assert [row["reason"] for row in rows] == ["not HL7: no MSH segment"]


def test_a_frame_past_the_limit_is_answered_ar_and_the_connection_closed(
    gateway: Gateway, sender: Sender
) -> None:
    gateway.listen = "max_frame_bytes = 2048"
    gateway.start()
    assert msa(sender.exchange(oru("BIG") + b"Z" * 4000))[1:3] == ["AR", "BIG"]
    with pytest.raises(OSError):
        sender.exchange(oru("next"))


def test_a_silent_connection_is_closed_and_a_stranger_refused(
    gateway: Gateway, sender: Sender, platform: Platform
) -> None:
    gateway.listen = "idle_s = 0.2"
    gateway.start()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as line:
        line.sendall(b"\x0bMSH|half")
        assert line.recv(1) == b""
    gateway.stop()
    gateway.listen = 'allow = ["192.0.2.0/24"]'
    gateway.start()
    with pytest.raises(OSError):
        sender.exchange(oru("X"))
    assert not platform.taken


def test_unreadable_and_unhandled_messages_are_kept_shown_and_replayable(
    gateway: Gateway, sender: Sender, platform: Platform
) -> None:
    gateway.start()
    adt = oru("T1").replace(b"ORU^R01^ORU_R01", b"ADT^A01")
    bad = oru("T2").replace(b"|NM|", b"|ED|")
    assert msa(sender.exchange(adt))[1:3] == ["AA", "T1"]
    assert msa(sender.exchange(bad))[1:3] == ["AA", "T2"]
    eventually(lambda: gateway.counts() == {"parked": 2})
    rows = json.loads(gateway.run("list", "--state", "parked", "--json").stdout)
    reasons = {row["control_id"]: row["reason"] for row in rows}
    assert reasons["T1"] == "not handled yet: ADT^A01"
    assert "value type ED" in reasons["T2"]
    shown = json.loads(gateway.run("show", str(rows[0]["id"])).stdout)
    assert "王^小东" in shown["raw"]
    assert shown["unreadable"] == shown["reason"]
    assert json.loads(gateway.run("replay", "--all-parked").stdout) == {"replayed": 2}
    eventually(lambda: gateway.counts() == {"parked": 2})
    assert not platform.taken


def test_a_refusal_by_the_platform_parks_with_its_answer_and_replay_delivers(
    gateway: Gateway, sender: Sender, platform: Platform
) -> None:
    platform.faults = lambda _n, document: "422" if document["message_control_id"] == "R1" else ""
    gateway.start()
    sender.exchange(oru("R1"))
    sender.exchange(oru("R2"))
    eventually(lambda: platform.control_ids() == ["R2"])
    eventually(lambda: gateway.counts() == {"delivered": 1, "parked": 1})
    (row,) = json.loads(gateway.run("list", "--state", "parked", "--json").stdout)
    assert row["reason"] == 'platform answered 422: {"detail": "as scripted"}'
    platform.faults = lambda _n, _document: ""
    assert gateway.run("replay", str(row["id"])).returncode == 0
    eventually(lambda: platform.control_ids() == ["R2", "R1"])
    eventually(gateway.drained)
    assert gateway.run("replay", str(row["id"])).returncode == 3


def test_unmapped_codes_are_delivered_under_their_own_system_and_listed(
    gateway: Gateway, sender: Sender, platform: Platform
) -> None:
    gateway.start()
    sender.exchange(oru("U1", code="NEW"))
    eventually(lambda: len(platform.taken) == 1)
    (document,) = platform.taken.values()
    assert document["orders"][0]["results"][0]["code"]["system"] == "urn:yiyun:code:HIS-1"
    (row,) = json.loads(gateway.run("unmapped", "--json").stdout)
    assert (row["facility"], row["code"], row["seen"]) == ("HIS-1", "NEW", 1)


def test_a_full_store_answers_ae_and_accepts_again_when_the_line_is_back(
    gateway: Gateway, sender: Sender, platform: Platform
) -> None:
    platform.cut = True
    gateway.store = "max_bytes = 131072"
    gateway.start()
    answers: list[str] = []
    while "AE" not in answers:
        answers.append(msa(sender.exchange(oru(f"F{len(answers)}")))[1])
        assert len(answers) < 1000
    accepted = answers.count("AA")
    status = gateway.status()
    assert sum(status["counts"].values()) == accepted > 20
    assert status["bytes"] <= status["max_bytes"]
    platform.cut = False
    sender.insist(oru("after"), "after", time.monotonic() + 60)
    eventually(lambda: len(platform.taken) == accepted + 1)
    assert sorted(platform.control_ids()) == sorted([*(f"F{n}" for n in range(accepted)), "after"])


def test_a_line_cut_loses_and_doubles_nothing_and_recovery_is_fast(
    gateway: Gateway, sender: Sender, platform: Platform
) -> None:
    gateway.start()
    sender.exchange(oru("L0"))
    eventually(lambda: len(platform.taken) == 1)
    platform.cut = True
    for n in range(1, 101):
        assert msa(sender.exchange(oru(f"L{n}", patient=f"P{n % 7}")))[1] == "AA"
    assert gateway.status()["waiting"] == 100
    platform.cut = False
    begun = time.monotonic()
    eventually(lambda: len(platform.taken) == 101)
    assert time.monotonic() - begun < 10
    assert sorted(platform.control_ids()) == sorted(f"L{n}" for n in range(101))
    assert not platform.conflicts


def test_order_is_kept_for_each_patient_through_faults(
    gateway: Gateway, sender: Sender, platform: Platform
) -> None:
    chance = random.Random(4)  # noqa: S311 - test data
    platform.faults = lambda _n, _d: chance.choice(["", "", "drop", "forget", "half", "503"])
    gateway.start()
    for n in range(36):
        sender.exchange(oru(f"{n % 3}-{n}", patient=f"P{n % 3}"))
    eventually(gateway.drained, 90)
    assert len(platform.taken) == 36
    for patient in "012":
        mine = [int(one.split("-")[1]) for one in platform.control_ids() if one.startswith(patient)]
        assert mine == sorted(mine)


def test_restart_delivers_what_was_stored_while_the_platform_was_away(
    tmp_path: Path, certificates: Path, gateway: Gateway, sender: Sender, platform: Platform
) -> None:
    gateway.urls = [f"https://127.0.0.1:{free_port()}"]
    gateway.start()
    for n in range(20):
        sender.exchange(oru(f"W{n}"))
    gateway.stop()
    gateway.urls = [platform.url]
    gateway.start()
    eventually(lambda: platform.control_ids() == [f"W{n}" for n in range(20)])


def test_a_second_serve_on_the_same_store_is_refused(gateway: Gateway) -> None:
    gateway.start()
    second = gateway.run("serve")
    assert second.returncode == 4
    assert "another yiyun-gateway serves this store" in second.stderr


class Load(threading.Thread):
    """Sends its messages, insisting on each; then rests."""

    def __init__(self, port: int, name: str, count: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self.messages = {f"{name}-{n}": oru(f"{name}-{n}", patient=f"{name}{n % 5}") for n in range(count)}
        self.acknowledged: list[str] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with Sender(self._port) as sender:
                for control_id, raw in self.messages.items():
                    sender.insist(raw, control_id, time.monotonic() + 60)
                    self.acknowledged.append(control_id)
        except BaseException as error:  # noqa: BLE001 - reported by the test
            self.failure = error


@pytest.mark.timeout(300)
def test_kill_9_under_load_loses_nothing_and_doubles_nothing(gateway: Gateway, platform: Platform) -> None:
    chance = random.Random(9)  # noqa: S311 - test data
    platform.faults = lambda _n, _d: chance.choice(["", "", "", "", "drop", "forget", "half", "503", "page"])
    gateway.start()
    loads = [Load(gateway.port, f"S{n}", 150) for n in range(6)]
    for load in loads:
        load.start()

    def acknowledged() -> int:
        return sum(len(load.acknowledged) for load in loads)

    kills = 8
    for kill in range(kills):
        goal = (kill + 1) * 900 // (kills + 1)
        eventually(lambda goal=goal: acknowledged() >= goal, 60)
        gateway.kill(group=kill % 2 == 0)
        gateway.start()
    for load in loads:
        load.join(120)
    assert [load.failure for load in loads] == [None] * 6
    platform.faults = lambda _n, _d: ""
    eventually(gateway.drained, 120)
    sent = sorted(control_id for load in loads for control_id in load.messages)
    assert sorted(platform.control_ids()) == sent
    assert not platform.conflicts
    status: dict[str, Any] = gateway.status()
    assert (status["counts"]["delivered"], status["counts"]["parked"]) == (900, 0)
    gateway.stop()
