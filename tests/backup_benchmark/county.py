"""Rows of a county's platform from a seed: residents, results in the order in which they came, who read them.

What is encrypted or hashed in the platform is random here, of the same length, and so as hard to compress.
The rest repeats as it does in messages of laboratories: few orders, few senders, many numbers.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

from yiyun_app.names import pinyin_initials

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COUNTY = "411425"
RESIDENTS_PER_GIB = 120_000
"""1.2 M residents have 10 GiB: some nine results each."""
MESSAGES_PER_CHUNK = 20_000
SECONDS_PER_MESSAGE = 25
BEGINS = datetime(2024, 1, 1, tzinfo=UTC)
REPORT_SHARE, ACCESS_SHARE, REPLACED_SHARE, PHONE_SHARE = 0.12, 0.6, 0.03, 0.7
LOINC = "http://loinc.org"
SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
GIVEN = "伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂文辉玲建国华红梅玉春海燕志新云飞小东雪晨宇浩子轩梓涵"
FACILITIES = tuple(f"HIS-{number}" for number in range(1, 25))
STAFF = tuple(f"doctor{number:03d}" for number in range(1, 181))
REPORTS = (
    ("ECG", "心电图", "11524-6", "心电图报告"),
    ("CXR", "胸部正侧位", "36643-5", "胸部X线报告"),
    ("AUS", "腹部超声", "24558-9", "腹部超声报告"),
)
PHRASES = (
    "窦性心律，心率{}次/分，P-R间期{}ms，QRS时限{}ms。",
    "胸廓对称，气管居中，双肺纹理清晰，未见明确实质性病变。",
    "肝脏形态大小正常，右叶最大斜径{}mm，包膜光整，实质回声均匀。",
    "胆囊大小约{}mm×{}mm，壁光滑，腔内未见明显异常回声。",
    "心影大小形态在正常范围，主动脉迂曲，双侧膈面光整，肋膈角锐利。",
    "双肾形态正常，左肾{}mm×{}mm，右肾{}mm×{}mm，集合系统未见分离。",
    "ST-T段轻度改变，请结合临床；与{}年前片比较无明显变化。",
    "胰腺、脾脏未见明显异常，门静脉内径{}mm。",
    "建议{}个月后复查，低盐低脂饮食，按时服药，血压控制在{}/{}mmHg以下。",
    "右肺上叶见一直径约{}mm小结节影，边界清，建议随访。",
)
TABLES: Mapping[str, str] = {
    "resident": "record_number name pinyin_initials birth_date gender id_card_encrypted! id_card_index!"
    " phone_encrypted! created_at changed_at",
    "resident_identifier": "system value record_number",
    "observation": "id! natural_key! record_number version facility site application placer filler order_code"
    " order_display set_id code_system code code_display value_type value comparator unit reference_range"
    " abnormal_flag status observed_at received_at message_control_id raw_sha256! changed_at",
    "observation_version": "observation_id! sequence disposition content stored_at",
    "idempotency_key": "client key! body_sha256! answer created_at",
    "record_access": "id! at username address action record_number",
    "attachment": "id! record_number storage_key file_name media_type size sha256! uploaded_by uploaded_at",
}
"""Table → columns; with `!`: bytes, in hexadecimal."""
NULL = "\\N"


@dataclass(frozen=True)
class Item:
    """One result of an order, and how its values are spread."""

    code: str
    display: str
    unit: str
    low: float
    high: float
    decimals: int

    def drawn(self, random: Random) -> tuple[str, str]:
        """A value and its flag: two of three residents within the range, as it goes among the old."""
        value = max(0.0, random.gauss((self.low + self.high) / 2, (self.high - self.low) / 2))
        flag = "H" if value > self.high else "L" if value < self.low else ""
        return f"{value:.{self.decimals}f}", flag


def panels() -> dict[tuple[str, str], list[Item]]:
    """Orders with their items."""
    found: defaultdict[tuple[str, str], list[Item]] = defaultdict(list)
    with Path(__file__).with_name("panels.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            item = Item(
                row["code"], row["display"], row["unit"],
                float(row["low"]), float(row["high"]), int(row["decimals"]),
            )  # fmt: skip
            found[row["order"], row["order_display"]].append(item)
    return dict(found)


PANELS = tuple(panels().items())


def record_number(index: int) -> str:
    """Of the resident with that number: 20 townships of 40 villages."""
    serial, village = divmod(index, 800)
    return f"{COUNTY}{village // 40 + 1:03d}{village % 40 + 1:03d}{serial + 1:05d}"


def residents(seed: int, first: int, count: int) -> dict[str, list[str]]:
    """Residents and the numbers that hospitals have for them."""
    random = Random(f"{seed} residents {first}")  # noqa: S311  for repeating it
    rows: dict[str, list[str]] = {"resident": [], "resident_identifier": []}
    for index in range(first, first + count):
        number = record_number(index)
        name = random.choice(SURNAMES) + "".join(random.choices(GIVEN, k=random.choice((1, 2, 2, 2))))
        born = datetime(1930, 1, 1, tzinfo=UTC) + timedelta(days=int(random.triangular(0, 34_000, 15_000)))
        made = _time(BEGINS - timedelta(seconds=random.randrange(10**8)))
        phone = _sealed(random, 11) if random.random() < PHONE_SHARE else NULL
        rows["resident"].append(
            f"{number}\t{name}\t{pinyin_initials(name)}\t{born:%Y-%m-%d}\t{random.choice(('male', 'female'))}"
            f"\t{_sealed(random, 18)}\t{random.randbytes(32).hex()}\t{phone}\t{made}\t{made}\n"
        )
        for facility in random.sample(FACILITIES, k=random.choice((1, 1, 2))):
            rows["resident_identifier"].append(f"urn:yiyun:mrn:{facility}\tM{index:08d}\t{number}\n")
    return rows


def _sealed(random: Random, length: int) -> str:
    """As long as an encrypted field of so many characters: version, key's name, nonce, text, tag."""
    return f"02a1b2c3d4{random.randbytes(12 + length + 16).hex()}"


def messages(seed: int, chunk: int, people: int, count: int = MESSAGES_PER_CHUNK) -> dict[str, list[str]]:
    """One chunk of messages: what they say, the answers that they got, and who looked at it since."""
    random = Random(f"{seed} messages {chunk}")  # noqa: S311  for repeating it
    rows: dict[str, list[str]] = {name: [] for name in TABLES if not name.startswith("resident")}
    for number in range(chunk * count, (chunk + 1) * count):
        record = record_number(random.randrange(people))
        message = _Message(random, number, record)
        identifiers = [message.store(rows, n, *line) for n, line in enumerate(message.lines(), 1)]
        answer = json.dumps({"resident": record, "observations": identifiers, "warnings": []})
        rows["idempotency_key"].append(
            f"gateway-edge-1\t{random.randbytes(32).hex()}\t{message.raw}\t{answer}\t{message.stored}\n"
        )
        if random.random() < ACCESS_SHARE:
            at = message.at + timedelta(seconds=random.randrange(60, 90_000))
            rows["record_access"].append(
                f"{_uuid(random, at)}\t{_time(at)}\t{random.choice(STAFF)}\t10.20.{random.randrange(8)}."
                f"{random.randrange(2, 250)}\tread\t{record}\n"
            )
    return rows


class _Message:
    """What the lines of one message share."""

    def __init__(self, random: Random, number: int, record: str) -> None:
        self._random, self._record = random, record
        self.at = BEGINS + timedelta(seconds=number * SECONDS_PER_MESSAGE + random.random() * 20)
        self._observed = _time(self.at - timedelta(seconds=random.randrange(600, 7200)))
        self._received, self.stored = _time(self.at), _time(self.at + timedelta(seconds=random.random()))
        self.raw = random.randbytes(32).hex()
        facility = random.choices(FACILITIES, weights=range(len(FACILITIES), 0, -1))[0]
        self._sender = f"{facility}\t{facility.lower()}\tLIS\tP{number:09d}\tF{number:09d}"
        self._control = f"{facility}-{number:010d}"

    def lines(self) -> Iterator[tuple[str, str, str]]:
        """(order, code to unit and range, flag and status) of each result."""
        random = self._random
        if random.random() < REPORT_SHARE:
            order, order_display, code, display = random.choice(REPORTS)
            yield f"{order}\t{order_display}", f"{code}\t{display}\tTX\t{report(random)}\t\t\t", "\tfinal"
            return
        (order, order_display), items = random.choice(PANELS)
        for item in items:
            value, flag = item.drawn(random)
            told = f"{item.code}\t{item.display}\tNM\t{value}\t\t{item.unit}\t{item.low:g}-{item.high:g}"
            yield f"{order}\t{order_display}", told, f"{flag}\tfinal"

    def store(self, rows: Mapping[str, list[str]], place: int, order: str, told: str, ends: str) -> str:
        """Add one result; with what it said before, or the file that belongs to it. Returns its UUID."""
        random, identifier = self._random, _uuid(self._random, self.at)
        rows["observation"].append(
            f"{identifier}\t{random.randbytes(32).hex()}\t{self._record}\t1\t{self._sender}\t{order}\t{place}"
            f"\t{LOINC}\t{told}\t{ends}\t{self._observed}\t{self._received}\t{self._control}\t{self.raw}"
            f"\t{self.stored}\n"
        )
        if random.random() < REPLACED_SHARE:
            rows["observation_version"].append(
                f"{identifier}\t1\treplaced\t{self._before(told)}\t{self.stored}\n"
            )
        if "\tTX\t" in told:
            rows["attachment"].append(
                f"{_uuid(random, self.at)}\t{self._record}\t{random.randbytes(32).hex()}\t{self._control}.dcm"
                f"\tapplication/dicom\t{random.randrange(10**5, 10**7)}\t{random.randbytes(32).hex()}"
                f"\t{random.choice(STAFF)}\t{self.stored}\n"
            )
        return str(UUID(identifier))

    def _before(self, told: str) -> str:
        names = ("code", "code_display", "value_type", "value", "comparator", "unit", "reference_range")
        content = dict(zip(names, told.split("\t"), strict=True))
        more = {"version": 1, "status": "preliminary", "observed_at": self._observed, "raw_sha256": self.raw}
        return json.dumps(content | more, ensure_ascii=False)


def report(random: Random) -> str:
    """What somebody wrote about a picture."""
    sentences = random.sample(PHRASES, k=random.randrange(2, 6))
    return "".join(s.format(*(random.randrange(3, 130) for _ in range(s.count("{}")))) for s in sentences)


def _uuid(random: Random, at: datetime) -> str:
    """Of version 7, in hexadecimal: rows come in the order of their keys."""
    return f"{int(at.timestamp() * 1000):012x}7{random.getrandbits(12):03x}8{random.getrandbits(60):015x}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S.%f}"


def columns(table: str) -> tuple[str, str]:
    """What `LOAD DATA` is told of a table: its columns, and how those with bytes are made. Pure."""
    names: Sequence[str] = TABLES[table].split()
    listed = ", ".join(f"@{n[:-1]}" if n.endswith("!") else f"`{n}`" for n in names)
    made = ", ".join(f"`{n[:-1]}` = UNHEX(@{n[:-1]})" for n in names if n.endswith("!"))
    return listed, made
