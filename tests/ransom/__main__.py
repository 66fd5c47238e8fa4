"""`python -m tests.ransom --estate FILE`: on a lab that is up, whose far copies are junk afterwards.

Exit code 1 when an attack did what it must not, or what came back is not what was there before.
"""

from __future__ import annotations

import inspect
import json
import random
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.inventory import endpoint_variables
from infra.reach import run_on
from infra.services.backup import PRUNER, READER, SUCCESSOR
from infra.trust.material import Material
from runbooks.drills.provenance import commit, machine, own_versions
from tests.lab.harness import Lab
from tests.ransom import attacks
from tests.ransom.keys import held, keys_of
from tests.ransom.stored import Owner
from tests.ransom.verdict import problems, table
from tests.stream_lag import PYTHON
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
PLANTED = "attachments/ransom-trial"


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
    sys.stderr.flush()


class Trial:
    """One attack on one lab, and the way back."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab, self.choose = lab, random.Random(seed)  # noqa: S311  a choice that can be repeated
        self.stores: list[dict[str, str]] = lab.yiyun("backup", "plan").json["stores"]
        self.far = self.stores[-1]["region"]
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
        run = f"print(json.dumps({what}(json.loads({json.dumps(json.dumps(task))}))))"
        text = f"{inspect.getsource(attacks)}\n{run}\n"
        done = run_on(self.lab.paths, host, ["sh", "-c", PYTHON], stdin=text, seconds=900)
        assert done.returncode == 0, (host, account, done.stderr[-600:])
        return [
            {**one, "host": host, "account": account, "bucket": bucket} for one in json.loads(done.stdout)
        ]

    def sample(self, there: list[Stored]) -> list[Stored]:
        """One object of each kind: catalogues, log, repositories' parts, deposits, attachments."""
        kinds: dict[str, list[Stored]] = {}
        for one in there:
            if one.newest and not one.marker and "/locks/" not in one.key:
                parts = one.key.split("/")
                kinds.setdefault("/".join(parts[:1] + parts[2:3][: len(parts) > 3]), []).append(one)
        return [self.choose.choice(kinds[kind]) for kind in sorted(kinds)][:SAMPLES]


def compared(
    before: list[Stored], after: list[Stored], kept: dict[str, str], now: dict[str, str]
) -> dict[str, int]:
    """What became of a bucket's versions and of the sample's retention."""
    newest = {one.key: one for one in after if one.newest}
    was = [one for one in before if one.newest and not one.marker and "/locks/" not in one.key]
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


def play(trial: Trial) -> dict[str, Any]:
    """The whole trial; returns its figures."""
    lab = trial.lab
    lab.on("app-1", "sh", "-c", "echo before > /srv/attachments/ransom-trial")
    copies = next(b for b in trial.buckets if b.startswith("attachments"))
    eventually(
        lambda: any("ransom-trial" in one.key for one in trial.owner.versions(copies)), seconds=150, every=2
    )
    say("a backup of everything, read back")
    trial.yiyun("backup", "run")
    assert not trial.yiyun("backup", "verify", "--region", trial.far, "--all")["problems"]
    moment = datetime.now(UTC).isoformat()
    say("what the copies give before")
    before_rows = trial.counts("--at", moment, "--region", trial.far)
    began = datetime.now(UTC).isoformat()
    time.sleep(1.0)  # a store's times are whole seconds
    there = {bucket: trial.owner.versions(bucket) for bucket in trial.buckets}
    samples = {bucket: trial.sample(found) for bucket, found in there.items()}
    kept = {b: trial.owner.kept_until(b, [(o.key, o.version) for o in samples[b]]) for b in trial.buckets}
    credentials = held(lab)
    owners = {
        *(set(trial.keys) - set(Material(lab.estate, lab.paths).bucket_keys())),
        PRUNER,
        READER,
        SUCCESSOR,
    }
    findings: list[dict[str, str]] = []
    strongest = ("", "")
    for host, accounts in credentials.items():
        for account in (a for a in accounts if a not in owners):
            for bucket in trial.buckets:
                say(f"{host} as {account} on {bucket}")
                found = trial.attack(host, account, bucket, samples[bucket], "play")
                findings += found
                if account == "backup" and not strongest[0]:
                    strongest = (host, account)
    for bucket in trial.buckets:
        if bucket.startswith("backups"):
            say(f"{strongest[0]} writes over all of {bucket}")
            all_of_it = [one for one in trial.owner.versions(bucket) if one.newest and not one.marker]
            findings += trial.attack(*strongest, bucket, all_of_it, "bury")
    after = {bucket: trial.owner.versions(bucket) for bucket in trial.buckets}
    buckets = {
        b: compared(
            there[b], after[b], kept[b], trial.owner.kept_until(b, [(o.key, o.version) for o in samples[b]])
        )
        for b in trial.buckets
    }
    say("reading back: now, and as of before")
    now = lab.yiyun("backup", "verify", "--region", trial.far, "--all", seconds=1800)
    then = lab.yiyun("backup", "verify", "--region", trial.far, "--all", "--as-of", began, seconds=1800)
    say("restoring as of before")
    words = ("--region", trial.far, "--as-of", began)
    restored = trial.yiyun("backup", "restore", "--at", moment, *words, "--to", "ransom-trial")
    rows = trial.counts("--at", moment, *words)
    file = trial.yiyun(
        "backup", "restore", PLANTED, "--at", moment, "--region", trial.far, "--to", "ransom-file"
    )
    text = lab.on(file["host"], "cat", file["file"]).strip()
    lab.on(file["host"], "rm", "-r", "/data/restore/ransom-trial", "/data/restore/ransom-file")
    figures = {
        "region": trial.far,
        "credentials": credentials,
        "attacks": table(findings),
        "buckets": buckets,
        "seen": bool(now.code != 0 or now.json.get("problems")),
        "read_as_of_before": then.json.get(
            "problems", [str(then.json.get("error", ""))] if then.code else []
        ),
        "restored": {
            "at": moment,
            "as_of": began,
            "gtids": restored["gtids"],
            "phases": restored["phases"],
            "tables": len(before_rows),
            "rows": sum(int(row[0]) for row in before_rows.values()),
            "attachment": text,
            "same": rows == before_rows and bool(rows) and text == "before",
        },
    }
    return figures | {"problems": problems(figures, owners)}


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
