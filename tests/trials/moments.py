"""Twenty moments of a running workload, each restored from the far region alone, held against two witnesses.

What belongs to a moment is computed from the server's own log as `mysqlbinlog` reads it; what it must look
like, from what the clients were told. Neither comes from the agent.
"""

from __future__ import annotations

import bisect
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bed_kit import Looked, bedded, look
from server_kit import ACCOUNTS, TOTAL, eventually

from tests.trials.journal import Acknowledged, Journaled, Logged, read_log
from tests.trials.record import provenance, say, write
from yiyun_backup.gtids import GtidSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server_kit import Agent, Bed

TIME, BEFORE = "time", "before"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
REST_SECONDS = 0.02
"""Of each client between two transfers: the log grows, and restores do not become longer and longer."""
LOAD_SECONDS = 20
"""Of load before the first moment is chosen."""
BASES = 3
"""Taken during the run: an early moment needs an early one."""


@dataclass(frozen=True)
class Draw:
    """A moment, asked for by time or as `before` a transaction; `share`: of the time that is covered."""

    number: int
    way: str
    share: float


@dataclass(frozen=True)
class Asked:
    """What was asked for: a time, or a transaction."""

    at: datetime | None = None
    before: str = ""

    @property
    def words(self) -> tuple[str, str]:
        """Of the command."""
        return ("--before", self.before) if self.at is None else ("--at", self.at.isoformat())


def drawn(seed: int, count: int) -> list[Draw]:
    """The moments of a seed. Pure."""
    source = random.Random(seed)  # noqa: S311  a seed that can be repeated
    return [Draw(n, source.choice((TIME, BEFORE)), round(source.random(), 4)) for n in range(1, count + 1)]


def belonging(log: Sequence[Logged], asked: Asked) -> list[str]:
    """The GTIDs before a moment, in the log's order: committed by then, or standing before it. Pure."""
    if asked.at is not None:
        until = (asked.at - EPOCH) // timedelta(microseconds=1)
        return [one.gtid for one in log if one.committed_us <= until]
    names = [one.gtid for one in log]
    return names[: names.index(asked.before)]


def different(
    looked: Looked, wanted: Sequence[str], moves: Sequence[Acknowledged], earlier: int
) -> list[str]:
    """What a restored database is not that it had to be, in sentences. Pure.

    `earlier`: transactions that were there before the first transfer, and are no client's.
    """
    names = set(wanted)
    mine = [move for move in moves if move.gtid in names]
    said: list[str] = []
    if len(names) != len(mine) + earlier:
        said.append(f"{len(names)} transactions, of which clients know {len(mine)}")
    if GtidSet.parse(looked.gtids) != GtidSet.parse(",".join(wanted)):
        said.append(f"it holds other GTIDs: {looked.gtids}")
    rows = {move.move: (move.source, move.target) for move in mine}
    if rows != looked.moves:
        said.append(
            f"rows: {len(rows.keys() - looked.moves.keys())} lacking, "
            f"{len(looked.moves.keys() - rows.keys())} that do not belong there, {len(rows)} wanted"
        )
    money = Counter(dict.fromkeys(range(ACCOUNTS), TOTAL // ACCOUNTS))
    for move in mine:
        money[move.source] -= 1
        money[move.target] += 1
    if dict(money) != looked.accounts:
        said.append("accounts hold other money than these transfers leave")
    if sum(looked.accounts.values()) != TOTAL:
        said.append(f"the total is {sum(looked.accounts.values())}, not {TOTAL}")
    return said


def outside(looked: Looked, at: datetime, moves: Sequence[Acknowledged]) -> list[str]:
    """By the clients' clocks alone: all that ended by then is there, nothing that began afterwards. Pure."""
    moment = at.timestamp()
    must = {move.move for move in moves if move.ended <= moment}
    may = {move.move for move in moves if move.began <= moment}
    lacking, beyond = must - looked.moves.keys(), looked.moves.keys() - may
    return [f"{len(lacking)} acknowledged before it lacking, {len(beyond)} from after it"] * bool(
        lacking or beyond
    )


def run(seed: int, out: Path, count: int) -> bool:
    """Play it. Returns whether every moment was right."""
    with tempfile.TemporaryDirectory(prefix="yiyun-trial-") as name:
        folder = Path(name)
        with bedded(folder, Journaled) as bed, bed.streaming():
            setup = GtidSet.parse(bed.server.executed())
            results, lookeds = _restored(bed, drawn(seed, count))
            log, moves = read_log(bed.server.folder / "data"), bed.transfers.acknowledged
    for result, (asked, looked) in zip(results, lookeds, strict=True):
        wanted = belonging(log, asked)
        result["transactions"], result["rows"] = len(wanted), len(looked.moves)
        result["total"] = sum(looked.accounts.values())
        result["problems"] += different(looked, wanted, moves, len(setup))
        result["problems"] += outside(looked, asked.at, moves) if asked.at else []
    good = sum(not result["problems"] for result in results)
    seconds = sorted(result["seconds"] for result in results)
    told = provenance(f"moments --seed {seed} --count {count}") | {
        "seed": seed,
        "acknowledged": len(moves),
        "in_the_log": len(log),
        "log_out_of_time_order": sum(one.committed_us > two.committed_us for one, two in pairwise(log)),
        "total": TOTAL,
        "good": good,
        "seconds_p50": seconds[len(seconds) // 2],
        "seconds_max": seconds[-1],
        "moments": results,
    }
    write(out, told)
    say(f"{good} of {count} right; {out}")
    return good == count


def _restored(bed: Bed, draws: Sequence[Draw]) -> tuple[list[dict[str, Any]], list[tuple[Asked, Looked]]]:
    """Restore each moment while the workload goes on. What it must hold is known only when that has ended."""
    far = bed.agent.beside(bed.folder / "scratch", {"far": bed.agent.regions["far"]})
    bed.transfers.rest = REST_SECONDS
    results: list[dict[str, Any]] = []
    lookeds: list[tuple[Asked, Looked]] = []
    with bed.transfers.running():
        time.sleep(2)
        bed.take_base()
        since = time.time()
        time.sleep(LOAD_SECONDS)
        for done, draw in enumerate(draws):
            if done * BASES >= len(draws) * len(bed.bases):
                bed.take_base()
            asked = _choose(bed, draw, since)
            result, looked = _restore(far, asked, bed.folder / "restored" / "data")
            results.append(asdict(draw) | result)
            lookeds.append((asked, looked))
            say(f"moment {draw.number}, {' '.join(asked.words)}: {result['seconds']} s")
    return results, lookeds


def _choose(bed: Bed, draw: Draw, since: float) -> Asked:
    """A moment between the first base and what the far region has by now."""
    newest: Acknowledged = bed.transfers.acknowledged[-1]
    eventually(lambda: _is_far(bed, newest.gtid), "the far region lags behind")
    moment = since + draw.share * (newest.began - since)
    if draw.way == TIME:
        return Asked(at=datetime.fromtimestamp(moment, UTC))
    moves = sorted(bed.transfers.acknowledged, key=lambda move: move.began)
    return Asked(before=moves[bisect.bisect_left(moves, moment, key=lambda move: move.began)].gtid)


def _is_far(bed: Bed, gtid: str) -> bool:
    head = json.loads((bed.agent.folder / "state/outbox/head.json").read_text())
    there = bed.status()["regions"]["far"]["stored"] >= head["seq"]
    return there and GtidSet.parse(gtid) <= GtidSet.parse(head["held"])


def _restore(far: Agent, asked: Asked, target: Path) -> tuple[dict[str, Any], Looked]:
    """Restore into an empty folder and read what is there; then it is thrown away."""
    began = time.monotonic()
    done = far.run("restore", "--to", str(target), "--identity", str(far.folder / "identity"), *asked.words)
    seconds = time.monotonic() - began
    assert done.returncode == 0, (done.stdout, done.stderr[-2000:])
    told = json.loads(done.stdout)
    looked = look(target)
    shutil.rmtree(target.parent)
    problems = [] if told["gtids"] == looked.gtids else ["the answer names other GTIDs than the server"]
    return {
        "asked": " ".join(asked.words),
        "base": told["base"][:8],
        "segments": told["segments"],
        "replayed": told["transactions"],
        "gtids": told["gtids"],
        "seconds": round(seconds, 1),
        "phases": {phase["name"]: phase["seconds"] for phase in told["phases"]},
        "warnings": told["warnings"],
        "problems": problems,
    }, looked
