"""`yiyun-backup`: stream, base, save, list, restore, check, keep, journal,
try-to-remove, status, version.

Results on standard output, progress on standard error. Exit codes: 0 fine, 1 failed, 3 refused, 4 bad input.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from yiyun_backup import bases, checking, keeping, recover, saving, serve
from yiyun_backup.config import DEFAULT, Config, identities
from yiyun_backup.errors import BackupError
from yiyun_backup.gtids import GtidError, GtidSet, Source
from yiyun_backup.journal import read_all
from yiyun_backup.moment import Moment
from yiyun_backup.restore import Way

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BAD_INPUT = 4
TELL_SECONDS = 1.0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="yiyun-backup", description="Copies of this host's data, and the way back.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=text)
        one.add_argument("--config", type=Path, default=DEFAULT, metavar="FILE")
        return one

    verb("stream", "bring the member's log to the stores as it grows, until stopped")
    taking = verb("base", "take a physical copy of the member, and store it")
    taking.add_argument("--unless-newer-than", type=float, default=0.0, metavar="HOURS")
    verb("save", "save what the services of this host have").add_argument("--service", default="")
    listing = verb("list", "what a region's catalogue has")
    listing.add_argument("--region", default="")
    restoring = verb("restore", "the database at a moment, into an empty folder")
    restoring.add_argument("--to", type=Path, required=True, metavar="FOLDER")
    restoring.add_argument("--from", dest="region", default="", metavar="REGION")
    restoring.add_argument("--base", default="", metavar="ID")
    restoring.add_argument("--identity", type=Path, required=True, metavar="FILE", help="what opens the log")
    which = restoring.add_mutually_exclusive_group()
    which.add_argument("--at", type=_time, metavar="TIME", help="RFC 3339, with its offset")
    which.add_argument("--gtid", type=_set, metavar="SET")
    which.add_argument("--before", type=_one, metavar="GTID")
    checker = verb("check", "whether a region has what was stored there")
    checker.add_argument("--region", default="")
    checker.add_argument("--all", action="store_true", help="read every byte, not today's seventh")
    verb("keep", "extend the retention of what is still needed").add_argument("--region", default="")
    verb("journal", "what this host wrote into its catalogue, and what each region has of it")
    verb("try-to-remove", "show that this host's credentials remove nothing")
    verb("status", "how far the stream of this host is")
    verbs.add_parser("version", help="print the version")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    asked = _parser().parse_args(argv)
    if asked.verb == "version":
        sys.stdout.write(f"{version('yiyun-backup')}\n")
        return 0
    try:
        result = VERBS[asked.verb](Config.read(asked.config), asked)
    except BackupError as error:
        told = {"code": error.code, "message": error.message, "hint": error.hint}
        sys.stdout.write(json.dumps({"ok": False, "error": told}) + "\n")
        sys.stderr.write(f"yiyun-backup: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        return error.exit_code
    if result is None:
        return 0
    told = {"ok": True, **result}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0 if told["ok"] else 1


def _stream(config: Config, _: argparse.Namespace) -> None:
    serve.serve(config)


def _base(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    hours = asked.unless_newer_than
    if hours and (there := bases.newest_within(config, hours)):
        return {"id": there.id, "taken": False}
    return {"taken": True} | bases.fields_of(bases.take_base(config, _progress()))


def _save(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    return _good(saving.fields_of(*saving.save_items(config, _progress(), asked.service)))


def _list(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    store = config.store(asked.region)
    entries, _, problems = read_all(store, config.keys)
    every = sorted((e for them in entries.values() for e in them), key=lambda e: e.ended)
    return {
        "region": store.name,
        "entries": [{"id": e.id, **e.model_dump(mode="json", exclude={"prev"})} for e in every],
        "problems": problems,
    }


def _restore(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    moment = Moment(asked.at, asked.gtid, asked.before)
    way = Way(config.mysql.program, config.mysql.owner, _progress())
    opened_by = identities(asked.identity)
    done = recover.recover(config, asked.region, moment, asked.to, opened_by, way, asked.base)
    return recover.fields_of(done)


def _check(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    share = checking.Share(1, 1) if asked.all else checking.Share.today()
    return _good(checking.fields_of(checking.check(config, asked.region, share, _progress())))


def _keep(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    return _good(keeping.fields_of(keeping.keep(config, asked.region, _progress())))


def _journal(config: Config, _: argparse.Namespace) -> dict[str, Any]:
    entries = config.journal.entries()
    own = f"catalogue/{config.host}/"
    return {
        "entries": len(entries),
        "newest": {e.body.kind: e.ended.isoformat() for e in entries},
        "regions": {r.name: len(list(config.store(r.name).list(own))) for r in config.regions},
    }


def _try_to_remove(config: Config, _: argparse.Namespace) -> dict[str, Any]:
    """On its own newest entry in each region, which is sent again should it ever succeed."""
    return keeping.try_to_remove(config)


def _good(fields: dict[str, Any]) -> dict[str, Any]:
    """Not ok when there are problems."""
    return {**fields, "ok": not fields["problems"]}


def _status(config: Config, _: argparse.Namespace) -> dict[str, Any]:
    path = config.run / "stream.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise BackupError(
            "the stream of this host tells nothing", "systemctl status yiyun-backup-stream"
        ) from error


VERBS: dict[str, Callable[[Config, argparse.Namespace], dict[str, Any] | None]] = {
    "stream": _stream,
    "base": _base,
    "save": _save,
    "list": _list,
    "restore": _restore,
    "check": _check,
    "journal": _journal,
    "try-to-remove": _try_to_remove,
    "keep": _keep,
    "status": _status,
}


def _progress() -> Callable[[str, float], None]:
    """A line whenever the step changes, and each second what share of it is done."""
    last, told = "", 0.0

    def progress(step: str, share: float) -> None:
        nonlocal last, told
        now = time.monotonic()
        if step != last or now - told >= TELL_SECONDS:
            last, told = step, now
            sys.stderr.write(f"{step} {share:.0%}\n")
            sys.stderr.flush()

    return progress


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no time: {text}") from error
    if found.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} has no offset: write 2026-11-28T12:00:00+08:00")
    return found


def _set(text: str) -> GtidSet:
    try:
        return GtidSet.parse(text)
    except GtidError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _one(text: str) -> tuple[Source, int]:
    found = _set(text)
    if len(found) != 1:
        raise argparse.ArgumentTypeError(f"not one transaction: {text}")
    (source, ((number, _),)) = next(iter(found.intervals.items()))
    return source, number


if __name__ == "__main__":
    sys.exit(main())
