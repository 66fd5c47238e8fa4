"""What the lab's hospital measures and in whom: invented people, valid identity numbers, plausible values."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

COUNTY = "411425"
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙马朱胡郭何林高罗郑梁谢宋唐许邓冯韩曹曾彭萧蔡潘田董袁于余叶蒋杜苏魏程吕丁沈任"
)
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀英华慧巧美玉兰红梅建国志文平刚桂香云凤林生春雪东海山金福贵"


class Test(NamedTuple):
    """One test of a panel: `low`/`high` is its reference range, `choices` are words instead."""

    code: str
    name: str
    unit: str = ""
    low: float = 0.0
    high: float = 0.0
    digits: int = 1
    choices: tuple[str, ...] = ()


_NEGATIVE = ("阴性", "阴性", "阴性", "阴性", "±", "1+", "2+")
PANELS: dict[str, tuple[str, tuple[Test, ...]]] = {
    "FPG": ("空腹血糖", (Test("GLU", "葡萄糖", "mmol/L", 3.9, 6.1, 2),)),
    "BLOOD4": (
        "血4项",
        (
            Test("GLU", "葡萄糖", "mmol/L", 3.9, 6.1, 2),
            Test("TC", "总胆固醇", "mmol/L", 2.8, 5.2, 2),
            Test("TG", "甘油三酯", "mmol/L", 0.4, 1.7, 2),
            Test("UA", "尿酸", "umol/L", 150, 420, 0),
        ),
    ),
    "LIPID": (
        "血脂四项",
        (
            Test("TC", "总胆固醇", "mmol/L", 2.8, 5.2, 2),
            Test("TG", "甘油三酯", "mmol/L", 0.4, 1.7, 2),
            Test("HDL-C", "高密度脂蛋白胆固醇", "mmol/L", 1.0, 2.0, 2),
            Test("LDL-C", "低密度脂蛋白胆固醇", "mmol/L", 1.5, 3.4, 2),
        ),
    ),
    "CBC": (
        "血常规",
        (
            Test("WBC", "白细胞", "10*9/L", 3.5, 9.5, 2),
            Test("RBC", "红细胞", "10*12/L", 3.8, 5.8, 2),
            Test("HGB", "血红蛋白", "g/L", 115, 175, 0),
            Test("HCT", "红细胞压积", "%", 35, 50, 1),
            Test("PLT", "血小板", "10*9/L", 125, 350, 0),
        ),
    ),
    "URINE11": (
        "尿11项",
        (
            Test("U-LEU", "白细胞酯酶", choices=_NEGATIVE),
            Test("U-NIT", "亚硝酸盐", choices=("阴性", "阴性", "阴性", "阳性")),
            Test("U-URO", "尿胆原", choices=("正常", "正常", "正常", "1+")),
            Test("U-PRO", "蛋白质", choices=_NEGATIVE),
            Test("U-PH", "酸碱度", "", 5.0, 8.0, 1),
            Test("U-BLD", "隐血", choices=_NEGATIVE),
            Test("U-SG", "比重", "", 1.005, 1.03, 3),
            Test("U-KET", "酮体", choices=_NEGATIVE),
            Test("U-BIL", "胆红素", choices=("阴性", "阴性", "阴性", "1+")),
            Test("U-GLU", "葡萄糖", choices=_NEGATIVE),
            Test("U-VC", "维生素C", choices=("阴性", "阴性", "1+")),
        ),
    ),
}


@dataclass(frozen=True)
class Patient:
    """An invented resident. `sex` is M or F, `birth_date` ISO."""

    mrn: str
    id_number: str
    name: str
    sex: str
    birth_date: str


@dataclass(frozen=True)
class Value:
    """One measured value as the laboratory keeps it."""

    code: str
    name: str
    value_type: str
    value: str
    unit: str
    reference_range: str
    flag: str


def id_number(birth: date, serial: int) -> str:
    """Return an 18-character identity number of the county (GB 11643); an odd `serial` (0-999) is male."""
    body = f"{COUNTY}{birth:%Y%m%d}{serial:03d}"
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, body, strict=True))
    return body + "10X98765432"[total % 11]


def make_patient(seed: int, number: int) -> Patient:
    """Return patient `number` (from 1) of the population `seed`: always the same one."""
    chance = random.Random(f"patient:{seed}:{number}")  # noqa: S311 - invented people, not secrets
    birth = date(1930, 1, 1) + timedelta(days=chance.randrange(34_000))
    serial = number % 1000
    name = chance.choice(_SURNAMES) + "".join(chance.choice(_GIVEN) for _ in range(chance.choice((1, 2, 2))))
    return Patient(
        f"H{number:08d}", id_number(birth, serial), name, "M" if serial % 2 else "F", birth.isoformat()
    )


def measure(test: Test, chance: random.Random) -> Value:
    """Return a plausible value: mostly inside the reference range, sometimes outside and flagged."""
    if test.choices:
        word = chance.choice(test.choices)
        normal = word == test.choices[0]
        return Value(test.code, test.name, "ST", word, "", test.choices[0], "N" if normal else "A")
    width = test.high - test.low
    number = round(
        min(max(chance.gauss((test.low + test.high) / 2, width * 0.3), test.low * 0.6), test.high * 1.6), 4
    )
    text = f"{number:.{test.digits}f}"
    flag = "L" if float(text) < test.low else "H" if float(text) > test.high else "N"
    return Value(test.code, test.name, "NM", text, test.unit, f"{test.low:g}-{test.high:g}", flag)


def make_results(seed: int, order: int) -> tuple[str, list[Value]]:
    """Return the panel and values of order number `order`: always the same ones."""
    chance = random.Random(f"order:{seed}:{order}")  # noqa: S311 - invented results, not secrets
    panel = chance.choice(sorted(PANELS))
    return panel, [measure(test, chance) for test in PANELS[panel][1]]
