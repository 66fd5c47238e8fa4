from __future__ import annotations

import json
import re
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.programs import load_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

FILES = Path(__file__).parents[3] / "playbooks" / "roles" / "lab_hospital" / "files"


def load(name: str) -> ModuleType:
    return load_program(FILES / f"{name}.py")


DATA: Any = load("lab_hospital_data")
LAB: Any = load("lab_hospital")
CONFIG = LAB.Config(host="127.0.0.1", port=1)


class Collector(threading.Thread):
    """Answers each frame as `answer(control id, times it came)` says; b"" closes, None stays silent."""

    def __init__(self, answer: Callable[[str, int], bytes | None]) -> None:
        super().__init__(daemon=True)
        self._answer = answer
        self.frames: list[bytes] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.server.getsockname()[1]
        self.start()

    def run(self) -> None:
        while True:
            try:
                line, _ = self.server.accept()
            except OSError:
                return
            with line:
                self._serve(line)

    def _serve(self, line: socket.socket) -> None:
        buffer = b""
        while data := line.recv(65536):
            buffer += data
            while b"\x1c\r" in buffer:
                frame, _, buffer = buffer.partition(b"\x1c\r")
                assert frame[:1] == b"\x0b"
                self.frames.append(frame[1:])
                answer = self._answer(control_id(frame), self.frames.count(frame[1:]))
                if answer == b"":
                    return
                if answer is not None:
                    line.sendall(answer)

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.join(10)


def control_id(frame: bytes) -> str:
    return frame.split(b"\r")[0].split(b"|")[9].decode()


def ack(code: str, control: str) -> bytes:
    return b"\x0bMSH|^~\\&|||||||ACK|1|P|2.5.1\rMSA|" + f"{code}|{control}|why\r".encode() + b"\x1c\r"


class Memory:
    """An outbox in memory."""

    def __init__(self, count: int) -> None:
        self.rows = {n: (f"HIS-1-{n}", message(n)) for n in range(1, count + 1)}
        self.done: list[int] = []
        self.errors: list[str] = []

    def pending(self, limit: int) -> list[tuple[int, str, bytes]]:
        return [(n, *row) for n, row in self.rows.items() if n not in self.done][:limit]

    def sent(self, identity: int) -> None:
        self.done.append(identity)

    def failed(self, identity: int, reason: str) -> None:
        self.errors.append(f"{identity} {reason}")


def message(order: int) -> bytes:
    panel, values = DATA.make_results(2026, order)
    at = LAB.datetime(2026, 1, 2, 8, 45, tzinfo=LAB.CST)
    return LAB.oru(CONFIG, f"HIS-1-{order}", DATA.make_patient(2026, order), order, panel, values, at)


@pytest.fixture
def collect() -> Iterator[Callable[..., Collector]]:
    made: list[Collector] = []

    def make(answer: Callable[[str, int], bytes | None]) -> Collector:
        made.append(Collector(answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


def deliver(outbox: Memory, port: int, timeout_s: float = 5.0) -> int:
    link = LAB.Link("127.0.0.1", port, timeout_s)
    try:
        return LAB.send_pending(outbox, link, threading.Event())
    finally:
        link.close()


def test_identity_numbers_are_valid_unique_and_of_the_county() -> None:
    people = [DATA.make_patient(2026, n) for n in range(1, 401)]
    assert len({one.id_number for one in people}) == 400
    for one in people:
        total = sum(int(d) * pow(2, 17 - n, 11) for n, d in enumerate(one.id_number[:17]))
        assert "10X98765432"[total % 11] == one.id_number[17]
        assert one.id_number[:6] == "411425"
        assert one.id_number[6:14] == one.birth_date.replace("-", "")
        assert (int(one.id_number[16]) % 2 == 1) == (one.sex == "M")
        assert re.fullmatch(r"[\u4e00-\u9fff]{2,3}", one.name)


def test_the_same_seed_gives_the_same_hospital_and_another_seed_another() -> None:
    assert DATA.make_patient(1, 7) == DATA.make_patient(1, 7) != DATA.make_patient(2, 7)
    assert DATA.make_results(1, 7) == DATA.make_results(1, 7)
    assert [DATA.make_results(1, n) for n in range(9)] != [DATA.make_results(2, n) for n in range(9)]


def test_flags_agree_with_value_and_range() -> None:
    flags = set()
    for order in range(300):
        for one in DATA.make_results(2026, order)[1]:
            if one.value_type == "NM":
                low, high = (float(part) for part in one.reference_range.split("-"))
                expected = "L" if float(one.value) < low else "H" if float(one.value) > high else "N"
            else:
                expected = "N" if one.value == one.reference_range else "A"
            assert one.flag == expected
            flags.add(one.flag)
    assert flags == {"L", "H", "N", "A"}


def test_every_panel_is_made_and_urine_has_eleven_items() -> None:
    assert {DATA.make_results(2026, n)[0] for n in range(100)} == set(DATA.PANELS)
    assert len(DATA.PANELS["URINE11"][1]) == 11
    assert [test.code for test in DATA.PANELS["BLOOD4"][1]] == ["GLU", "TC", "TG", "UA"]


def test_the_message_has_its_fields_where_hl7_has_them() -> None:
    lines = [line.split("|") for line in message(3).decode("utf-8").rstrip("\r").split("\r")]
    head, pid, obr, *obx = lines
    patient = DATA.make_patient(2026, 3)
    assert (head[2], head[3], head[8], head[9], head[11], head[17]) == (
        "LIS",
        "HIS-1",
        "ORU^R01^ORU_R01",
        "HIS-1-3",
        "2.5.1",
        "UNICODE UTF-8",
    )
    assert pid[3] == f"{patient.mrn}^^^HIS-1^MR~{patient.id_number}^^^&2.16.156.10011.1.3&ISO^NI"
    assert (pid[5], pid[8]) == (f"{patient.name[0]}^{patient.name[1:]}", patient.sex)
    assert (obr[7], obr[22], obr[25]) == ("20260102080500+0800", "20260102084500+0800", "F")
    panel, values = DATA.make_results(2026, 3)
    assert obr[4].startswith(panel + "^")
    assert [(row[2], row[3].split("^")[0], row[11], row[14]) for row in obx] == [
        (one.value_type, one.code, "F", "20260102080500+0800") for one in values
    ]


def test_delimiters_in_text_are_escaped() -> None:
    assert LAB.escape("a|b^c&d~e\\f") == r"a\F\b\S\c\T\d\R\e\E\f"


def test_messages_go_in_order_and_are_marked_after_their_acknowledgement(collect: Any) -> None:
    outbox = Memory(5)
    seen: list[list[int]] = []

    def answer(control: str, _times: int) -> bytes:
        seen.append(list(outbox.done))
        return ack("AA", control)

    collector = collect(answer)
    assert deliver(outbox, collector.port) == 5
    assert outbox.done == [1, 2, 3, 4, 5]
    assert seen == [[], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]


@pytest.mark.parametrize("code", ["AE", "AR"])
def test_a_refused_message_stays_and_the_same_bytes_are_sent_again(collect: Any, code: str) -> None:
    outbox = Memory(2)
    collector = collect(lambda control, times: ack(code if times == 1 else "AA", control))
    assert deliver(outbox, collector.port) == 0
    assert outbox.errors == [f"1 UnacknowledgedError: {code} why"]
    outbox.errors.clear()
    assert deliver(outbox, collector.port) == 1
    assert collector.frames[0] == collector.frames[1] == outbox.rows[1][1]


def test_an_answer_for_another_message_is_never_credited(collect: Any) -> None:
    outbox = Memory(1)
    collector = collect(lambda _control, _times: ack("AA", "HIS-1-999"))
    assert deliver(outbox, collector.port, timeout_s=0.3) == 0
    assert outbox.done == []
    assert "TimeoutError" in outbox.errors[0]


def test_a_late_answer_before_the_right_one_is_passed_over(collect: Any) -> None:
    outbox = Memory(1)
    collector = collect(lambda control, _times: ack("AE", "HIS-1-0") + ack("AA", control))
    assert deliver(outbox, collector.port) == 1


def test_a_connection_closed_instead_of_an_answer_marks_nothing(collect: Any) -> None:
    outbox = Memory(1)
    collector = collect(lambda control, times: b"" if times == 1 else ack("AA", control))
    assert deliver(outbox, collector.port) == 0
    assert outbox.done == []
    assert deliver(outbox, collector.port) == 1


def test_nobody_listening_is_a_failed_attempt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    outbox = Memory(3)
    assert deliver(outbox, port) == 0
    assert outbox.errors == ["1 ConnectionRefusedError: [Errno 111] Connection refused"]


def test_a_bad_configuration_is_one_line_and_exit_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lab.json"
    path.write_text(json.dumps({"host": "x", "port": 1, "prot": 2}))
    assert LAB.main(["--config", str(path), "status"]) == 4
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "prot" in error
