"""The table of damage, each row on its own copy of a region: what is required, and what happened."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bed_kit import two_bases
from damage_play import aged_needs, damaged, judged, played
from damage_table import ROWS

from runbooks.drills.provenance import commit
from tests.trials.record import provenance, say, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damage_play import Outcome, Row

LONGEST = 300
"""Of a message, in characters."""
FOLDER = "yiyun-trial-"
PLACE = re.compile(rf"/[^\s\"]*{FOLDER}[^/\s\"]*(/tmp[^/\s\"]*)?")


def run(out: Path) -> bool:
    """Play every row that an earlier run has not shown as required. Returns whether all was as required."""
    known = earlier(out)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix=FOLDER) as name:
        folder = Path(name)
        with two_bases(folder / "bed") as bed:
            needs = aged_needs(bed)
            for number, row in enumerate(ROWS):
                if row.name in known:
                    results.append(known[row.name])
                    continue
                # Each copy goes as soon as it was played.
                with (
                    tempfile.TemporaryDirectory(dir=folder) as copy,
                    damaged(bed, row, needs, Path(copy)) as play,
                ):
                    outcome = played(row, play)
                results.append(told(row, outcome) | {"commit": commit()})
                say(f"{number + 1} of {len(ROWS)}, {row.name}: {results[-1]['verdict']}")
    good = sum(not result["not_as_required"] for result in results)
    document = provenance("damage") | {
        "rows": len(results),
        "as_required": good,
        "restores_that_succeeded": sum(result["restore"]["exit"] == 0 for result in results),
        "silent_wrong_restores": sum(result["wrong"] for result in results),
        "results": results,
    }
    write(out, document)
    out.with_suffix(".md").write_text(rendered(document), encoding="utf-8")
    say(f"{good} of {len(results)} as required; {out}")
    return good == len(results)


def earlier(out: Path) -> dict[str, dict[str, Any]]:
    """Rows of an earlier result that were as required, by name; each says at which commit."""
    if not out.exists():
        return {}
    document = json.loads(PLACE.sub("…", out.read_text(encoding="utf-8")))
    rows = ({"commit": document["commit"]} | row for row in document["results"])
    return {f"{r['number']} {r['damage']}".strip(): r for r in rows if not r["not_as_required"]}


def told(row: Row, outcome: Outcome) -> dict[str, Any]:
    """A row of the result. Pure."""
    lacking = judged(row, outcome)
    restore: dict[str, Any] = {"exit": outcome.restore_code}
    if outcome.restore_code == 0:
        restore |= {"warnings": shortened(outcome.warnings), "differences": outcome.differences}
    else:
        restore |= {
            "code": outcome.error["code"],
            "message": shortened([outcome.error["message"]])[0],
            "target": outcome.left,
        }
    return {
        "number": row.number,
        "damage": row.name.removeprefix(f"{row.number} "),
        "required": row.required,
        "check": {
            "exit": outcome.check_code,
            "problems": shortened(outcome.problems),
            "notes": outcome.notes,
        },
        "restore": restore,
        "wrong": outcome.is_wrong,
        "not_as_required": lacking,
        "verdict": "NOT as required: " + "; ".join(lacking) if lacking else "as required",
    }


def shortened(messages: Sequence[str]) -> list[str]:
    """Messages without what fills a screen, or is of this one run's folder. Pure."""
    texts = [PLACE.sub("…", text) for text in messages]
    return [text if len(text) <= LONGEST else f"{text[:LONGEST]}…" for text in texts]


def rendered(document: dict[str, Any]) -> str:
    """The result as a table in Markdown. Pure."""
    figures = (
        f"{document['rows']} kinds of damage, {document['as_required']} met as required; "
        f"{document['restores_that_succeeded']} restores succeeded, each compared with the source, "
        f"{document['silent_wrong_restores']} of them wrong."
    )
    lines = [
        "# Damage, and what came of it",
        "",
        f"`{document['command']}` at {document['commit']}; every message: [the result](backup-damage.json).",
        f"{figures} Numbers: of the table that was there before the agent; what has none is of our own.",
        "",
        "| | damage | required of a restore | check | restore | verdict |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in document["results"]:
        cells = (row["number"], row["damage"], row["required"], _check(row), _restore(row), row["verdict"])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _check(row: dict[str, Any]) -> str:
    found = len(row["check"]["problems"])
    said = f"{found} problem{'s' if found > 1 else ''}" if found else "clean"
    return f"{said}, a note" if row["check"]["notes"] else said


def _restore(row: dict[str, Any]) -> str:
    restore = row["restore"]
    if restore["exit"]:
        return f"exit {restore['exit']}, `{restore['code']}`; target: {restore['target']}"
    equal = "equal to the source" if not restore["differences"] else "WRONG"
    return f"exit 0, {equal}" + (f"; {len(restore['warnings'])} warning(s)" if restore["warnings"] else "")
