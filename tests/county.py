"""A county's residents in a lab's database, synthetic, and some attachments through its page.

`python -m tests.county --estate FILE --residents 1200000 --attachments 40`. Names are drawn from common
characters, numbers have the county's code; a run goes on where an earlier one ended.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path  # noqa: TC003  typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

from infra.drivers.lab.hosts import run_in_host
from infra.errors import YiyunError
from infra.status import collect
from monitoring.look import monitoring_status
from runbooks.drills.evidence.members import MYSQL, asked
from runbooks.drills.workloads.elements import key_of
from runbooks.drills.workloads.platform import browser, content_of, sign_in
from runbooks.recovery.pages import settings_for
from tests.lab.harness import ESTATE_FILE, Lab

if TYPE_CHECKING:
    from infra.estate.model import Estate
    from infra.paths import EstatePaths

BATCH = 20_000
A_VILLAGE = 2_000
FAMILY = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
GIVEN = "伟芳娜秀敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂英华玉梅鑫"
SQL = """
SET SESSION cte_max_recursion_depth = {batch};
INSERT INTO yiyun.resident (record_number, name, pinyin_initials, birth_date, gender, created_at, changed_at)
WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {last})
SELECT CONCAT('{county}', LPAD(1 + i DIV {village} DIV 30, 3, '0'),
              LPAD(200 + i DIV {village} MOD 30, 3, '0'), LPAD(1 + i MOD {village}, 5, '0')),
       CONCAT(SUBSTRING('{family}', 1 + i * 7 MOD CHAR_LENGTH('{family}'), 1),
              SUBSTRING('{given}', 1 + i * 11 MOD CHAR_LENGTH('{given}'), 1),
              IF(i MOD 3, SUBSTRING('{given}', 1 + i * 13 MOD CHAR_LENGTH('{given}'), 1), '')),
       '', DATE_SUB('2026-01-01', INTERVAL 1 + (i * 7919) MOD 32000 DAY), IF(i MOD 2, 'male', 'female'),
       UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) FROM n
"""


def main(
    estate: Annotated[Path, typer.Option(help="The lab estate.")] = ESTATE_FILE,
    residents: Annotated[int, typer.Option(help="How many residents there shall be in all.")] = 1_200_000,
    attachments: Annotated[int, typer.Option(help="Files that are stored through the page.")] = 40,
) -> None:
    """Load, and say how long it took."""
    lab, began = Lab(estate), time.monotonic()
    writer = str(collect(lab.estate, lab.paths, lambda _: None, monitoring_status).fields["mysql"]["writer"])
    there = load(lab.estate, lab.paths, writer, residents)
    stored = store(lab.estate, lab.paths, writer, attachments)
    typer.echo(f"{there} residents, {stored} attachments more, {time.monotonic() - began:.0f} s")


def load(estate: Estate, paths: EstatePaths, writer: str, wanted: int) -> int:
    """Fill the table up to that many residents of the county. Returns how many there are."""
    mine = f"SELECT JSON_ARRAY(COUNT(*)) FROM yiyun.resident WHERE record_number LIKE '{estate.county_code}%'"  # noqa: S608
    there = int(asked(paths, writer, mine)[0])
    for first in range(there, wanted, BATCH):
        last = min(first + BATCH, wanted)
        statement = SQL.format(
            batch=BATCH,
            first=first,
            last=last,
            county=estate.county_code,
            village=A_VILLAGE,
            family=FAMILY,
            given=GIVEN,
        )
        done = run_in_host(paths, writer, [*MYSQL, statement])
        if done.returncode != 0:
            raise YiyunError(f"{writer}: {done.stderr.strip()}")
        typer.echo(f"{last} residents", err=True)
    return max(there, wanted)


def store(estate: Estate, paths: EstatePaths, writer: str, count: int) -> int:
    """Store files for the first residents, two each, as a person does."""
    first = f"SELECT record_number FROM yiyun.resident ORDER BY 1 LIMIT {max(1, count // 2)}"  # noqa: S608
    numbers = list(asked(paths, writer, f"SELECT JSON_ARRAYAGG(record_number) FROM ({first}) AS them"))  # noqa: S608
    signed = sign_in(settings := settings_for(estate, paths, numbers[:1]))
    run = secrets.token_hex(8)
    with browser(settings, signed.cookies) as visitor:
        for number in range(count):
            key = key_of(run, number)
            answer = visitor.post(
                f"/residents/{numbers[number % len(numbers)]}/attachments",
                headers={"Idempotency-Key": key},
                data={"form_token": signed.form_token, "idempotency_key": key},
                files={"file": (f"{number}.pdf", content_of(run, number), "application/pdf")},
            )
            assert answer.status_code == 303, (answer.status_code, answer.text[-900:])
    return count


if __name__ == "__main__":
    typer.run(main)
