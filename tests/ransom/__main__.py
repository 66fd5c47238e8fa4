"""`python -m tests.ransom --estate FILE`: on a lab that is up, whose far copies are junk afterwards.

Exit code 1 when an attack did what it must not, or what came back is not what was there before.
"""

from __future__ import annotations

import inspect
import json
import random
import time
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.inventory import endpoint_variables
from infra.services.backup import ACCOUNT, BUCKETS, PRUNER, READER, SUCCESSOR
from infra.trust.material import Material
from runbooks.backups.hosts import far_region
from runbooks.drills.provenance import commit, machine, own_versions
from tests.lab.harness import Lab
from tests.on_host import answer_of
from tests.ransom import attacks
from tests.ransom.keys import held, keys_of
from tests.ransom.stored import Owner, standing
from tests.ransom.verdict import problems, table
from tests.trials.record import say
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.ransom.stored import Stored


AUTHORITY = "/etc/yiyun/tls/ca.crt"
SAMPLES = 8
TABLES = (
    "SELECT table_name FROM information_schema.tables"
    " WHERE table_schema = 'yiyun' AND table_type = 'BASE TABLE' ORDER BY table_name"
)
COUNT = "SELECT '{0}', COUNT(*) FROM yiyun.`{0}`"
PLANTED, BEFORE = "attachments/ransom-trial", "before"


class Trial:
    """One attack on one lab, and the way back."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab, self.choose = lab, random.Random(seed)  # noqa: S311  a choice that can be repeated
        self.far = far_region(lab.estate)
        self.buckets = [b.name for b in lab.estate.buckets if b.region == self.far]
        self.owner = Owner(lab, self.far)
        self.keys = keys_of(lab)

    def yiyun(self, *words: str) -> dict[str, Any]:
        """What a verb answered; it must succeed."""
        answer = self.lab.yiyun(*words, seconds=1800)
        assert answer.code == 0, answer.json
        return answer.json

    def counts(self, *words: str) -> dict[str, list[Any]]:
        """Table → how many rows, as the copies have it."""
        names = [row[0] for row in self.yiyun("backup", "query", TABLES, *words)["rows"]]
        asked = " UNION ALL ".join(COUNT.format(name) for name in names)
        return {row[0]: row[1:] for row in self.yiyun("backup", "query", asked, *words)["rows"]}

    def attack(
        self, host: str, account: str, bucket: str, objects: list[Stored], what: str
    ) -> list[dict[str, str]]:
        """Run the attacks on a host with an account's key. The key goes by standard input."""
        there = endpoint_variables(self.lab.estate, self.lab.estate.host(host))[self.far]
        task = {
            "endpoint": f"https://{there['name']}:{there['port']}",
            "region": self.far,
            "account": account,
            "secret": self.keys[account],
            "authority": AUTHORITY,
            "bucket": bucket,
            "objects": [(one.key, one.version) for one in objects],
        }
        found = answer_of(self.lab.paths, host, inspect.getsource(attacks), f"{what}({task!r})", 900)
        return [{**one, "host": host, "account": account, "bucket": bucket} for one in found]

    def sample(self, there: list[Stored]) -> list[Stored]:
        """One object of each kind: catalogues, log, repositories' parts, deposits, attachments."""
        kinds: dict[str, list[Stored]] = {}
        for one in standing(there):
            parts = one.key.split("/")
            kinds.setdefault("/".join(parts[:1] + parts[2:3][: len(parts) > 3]), []).append(one)
        return [self.choose.choice(kinds[kind]) for kind in sorted(kinds)][:SAMPLES]


def compared(
    before: list[Stored], after: list[Stored], kept: dict[str, str], now: dict[str, str]
) -> dict[str, int]:
    """What became of a bucket's versions and of the sample's retention."""
    newest = {one.key: one for one in after if one.newest}
    was = standing(before)
    return {
        "versions": len(before),
        "versions_lost": len({b.version for b in before} - {a.version for a in after}),
        "hidden": sum(one.key not in newest or newest[one.key].marker for one in was),
        "overwritten": sum(
            one.key in newest and not newest[one.key].marker and newest[one.key].version != one.version
            for one in was
        ),
        "retention_read": len(kept),
        "shortened": sum(now[version] < until for version, until in kept.items()),
    }


def prepared(trial: Trial) -> tuple[str, dict[str, list[Any]]]:
    """Put something there and back everything up. Returns a moment, and what the copies have of it."""
    trial.lab.on("app-1", "sh", "-c", f"echo {BEFORE} > /srv/{PLANTED}")
    copies, key = next(b for b in trial.buckets if b.startswith("attachments")), PLANTED.partition("/")[2]
    eventually(lambda: any(key in one.key for one in trial.owner.versions(copies)), seconds=150, every=2)
    say("a backup of everything, read back")
    trial.yiyun("backup", "run")
    assert not trial.yiyun("backup", "verify", "--region", trial.far, "--all")["problems"]
    moment = datetime.now(UTC).isoformat()
    return moment, trial.counts("--at", moment, "--region", trial.far)


def struck(
    trial: Trial, credentials: dict[str, list[str]], samples: dict[str, list[Stored]]
) -> list[dict[str, str]]:
    """Every attack with every key of every host; at the end one of them writes over all backups."""
    findings: list[dict[str, str]] = []
    for host, accounts in credentials.items():
        for account, bucket in product(accounts, trial.buckets):
            say(f"{host} as {account} on {bucket}")
            findings += trial.attack(host, account, bucket, samples[bucket], "play")
    host = next(h for h, accounts in credentials.items() if ACCOUNT in accounts)
    for bucket in (b for b in trial.buckets if b in BUCKETS):
        say(f"{host} writes over all of {bucket}")
        names = [one for one in trial.owner.versions(bucket) if one.newest and not one.marker]
        findings += trial.attack(host, ACCOUNT, bucket, names, "bury")
    return findings


def attacked(trial: Trial, forbidden: set[str]) -> dict[str, Any]:
    """Attack, and what became of each version and of the retention of those that were attacked one by one."""
    there = {bucket: trial.owner.versions(bucket) for bucket in trial.buckets}
    samples = {bucket: trial.sample(found) for bucket, found in there.items()}
    kept = {bucket: trial.owner.kept_until(bucket, those) for bucket, those in samples.items()}
    credentials = held(trial.lab)
    usable = {host: [a for a in accounts if a not in forbidden] for host, accounts in credentials.items()}
    findings = struck(trial, usable, samples)
    return {
        "credentials": credentials,
        "attacks": table(findings),
        "buckets": {
            bucket: compared(
                there[bucket],
                trial.owner.versions(bucket),
                kept[bucket],
                trial.owner.kept_until(bucket, samples[bucket]),
            )
            for bucket in trial.buckets
        },
    }


def brought_back(trial: Trial, moment: str, as_of: str, before: dict[str, list[Any]]) -> dict[str, Any]:
    """Read the copies back, now and as of before; restore database and attachment as of before."""
    lab, read = trial.lab, ("backup", "verify", "--region", trial.far, "--all")
    say("reading back: now, and as of before")
    now, then = lab.yiyun(*read, seconds=1800), lab.yiyun(*read, "--as-of", as_of, seconds=1800)
    say("restoring as of before")
    words = ("--at", moment, "--region", trial.far)
    restored = trial.yiyun("backup", "restore", *words, "--as-of", as_of, "--to", "ransom-trial")
    rows = trial.counts(*words, "--as-of", as_of)
    file = trial.yiyun("backup", "restore", PLANTED, *words, "--to", "ransom-file")
    text = lab.on(file["host"], "cat", file["file"]).strip()
    lab.on(file["host"], "rm", "-r", "/data/restore/ransom-trial", "/data/restore/ransom-file")
    return {
        "seen": bool(now.code != 0 or now.json.get("problems")),
        "read_as_of_before": then.json.get("problems", [str(then.json.get("error"))] if then.code else []),
        "restored": {
            "at": moment,
            "as_of": as_of,
            "gtids": restored["gtids"],
            "phases": restored["phases"],
            "tables": len(rows),
            "rows": sum(int(row[0]) for row in rows.values()),
            "attachment": text,
            "same": rows == before and bool(rows) and text == BEFORE,
        },
    }


def play(trial: Trial) -> dict[str, Any]:
    """The whole trial; returns its figures."""
    owners = set(trial.keys) - set(Material(trial.lab.estate, trial.lab.paths).bucket_keys())
    forbidden = owners | {PRUNER, READER, SUCCESSOR}
    moment, before = prepared(trial)
    as_of = datetime.now(UTC).isoformat()
    time.sleep(1.0)  # a store's times are whole seconds
    figures = {"region": trial.far, **attacked(trial, forbidden)}
    figures |= brought_back(trial, moment, as_of, before)
    return figures | {"problems": problems(figures, forbidden)}


def main(
    estate: Annotated[Path, typer.Option(help="The estate of a lab that is up.")],
    seed: Annotated[
        int, typer.Option(help="The objects that are attacked one by one are drawn from this.")
    ] = 20261129,
    out: Annotated[Path, typer.Option(help="The result file.")] = Path("docs/results/ransom.json"),
) -> None:
    """Attack the far copies with every key on a host, then bring back what was there."""
    began = time.monotonic()
    figures = play(Trial(Lab(estate), seed))
    result = {
        "command": f"python -m tests.ransom --estate FILE --seed {seed}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": own_versions(),
        "seconds": round(time.monotonic() - began, 1),
        **figures,
    }
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    typer.echo(json.dumps(figures["attacks"], indent=1))
    typer.echo("\n".join(figures["problems"]) or "as it must be")
    raise typer.Exit(1 if figures["problems"] else 0)


if __name__ == "__main__":
    typer.run(main)
