"""The words of the command line."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from yiyun_backup.config import DEFAULT
from yiyun_backup.gtids import GtidError, GtidSet, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    Verb = Callable[[str, str], argparse.ArgumentParser]

BAD_INPUT = 4


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        told = {"code": "bad_input", "message": message, "hint": f"{self.prog} --help"}
        sys.stdout.write(json.dumps({"ok": False, "error": told}) + "\n")
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = _Parser(prog="yiyun-backup", description="Copies of this host's data, and the way back.")
    verbs = whole.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=text)
        one.add_argument("--config", type=Path, default=DEFAULT, metavar="FILE")
        return one

    _taking(verb)
    _restoring(verb)
    _keeping(verb)
    verb("journal", "what this host wrote into its catalogue, and what each region has of it")
    verb("try-to-remove", "show that this host's credentials remove nothing")
    verb("status", "how far the stream of this host is")
    verbs.add_parser("version", help="print the version")
    return whole


def _taking(verb: Verb) -> None:
    verb("stream", "bring the member's log to the stores as it grows, until stopped")
    taking = verb("base", "take a physical copy of the member, and store it")
    taking.add_argument("--unless-newer-than", type=float, default=0.0, metavar="HOURS")
    verb("save", "save what the services of this host have").add_argument("--service", default="")
    bringing = verb("deposit", "keep what comes on standard input, as it comes")
    bringing.add_argument("--name", required=True)
    listing = verb("list", "what a region's catalogue has")
    listing.add_argument("--region", default="")
    listing.add_argument("--as-of", type=_time, metavar="TIME", help="read the store as it was then")
    verb("sum", "read every table of the member, for restores to be compared with")
    comparing = verb("compare", "the member beside what its source held at a set")
    comparing.add_argument("--gtid", type=_set, required=True, metavar="SET")
    comparing.add_argument("--from", dest="region", default="", metavar="REGION")


def _restoring(verb: Verb) -> None:
    restoring = verb("restore", "the database at a moment, into an empty folder")
    restoring.add_argument("--to", type=Path, required=True, metavar="FOLDER")
    restoring.add_argument("--base", default="", metavar="ID")
    asking = verb("query", "ask the database as it was at a moment; nothing of it stays")
    asking.add_argument("statement", metavar="STATEMENT", help="one that reads")
    dumping = verb("table", "one table as it was at a moment, as statements in a file")
    dumping.add_argument("--table", required=True, metavar="SCHEMA.TABLE")
    dumping.add_argument("--to", type=Path, required=True, metavar="FILE")
    rehearsal = verb("rehearse", "restore what was summed last, compare it, and throw it away")
    for one in (restoring, asking, dumping, rehearsal):
        one.add_argument("--as-of", type=_time, metavar="TIME", help="read the store as it was then")
        one.add_argument("--from", dest="region", default="", metavar="REGION")
        one.add_argument("--identity", type=Path, required=True, metavar="FILE", help="what opens the log")
    for one in (asking, dumping, rehearsal):
        one.add_argument("--in", dest="folder", type=Path, required=True, metavar="FOLDER")
    for one in (restoring, asking, dumping):
        which = one.add_mutually_exclusive_group()
        which.add_argument("--at", type=_time, metavar="TIME", help="RFC 3339, with its offset")
        which.add_argument("--gtid", type=_set, metavar="SET")
        which.add_argument("--before", type=_one, metavar="GTID")
    bringing = verb("object", "one object of a bucket as it was at a time")
    bringing.add_argument("--bucket", required=True)
    bringing.add_argument("--key", required=True)
    bringing.add_argument("--at", type=_time, metavar="TIME", help="else the newest")
    bringing.add_argument("--to", type=Path, required=True, metavar="FILE")
    filing = verb("files", "what was saved of a service on a host, into an empty folder")
    filing.add_argument("--host", required=True)
    filing.add_argument("--service", required=True)
    filing.add_argument("--from", dest="region", default="", metavar="REGION")
    filing.add_argument("--to", type=Path, required=True, metavar="FOLDER")
    filing.add_argument(
        "--password",
        type=Path,
        required=True,
        metavar="FILE",
        help="of the host's repository; -: standard input",
    )
    fetching = verb("fetch", "the newest deposit of a name")
    fetching.add_argument("--name", required=True)
    fetching.add_argument("--from", dest="region", default="", metavar="REGION")
    fetching.add_argument("--as-of", type=_time, metavar="TIME", help="read the store as it was then")
    fetching.add_argument("--to", type=Path, metavar="FILE", help="else it is in the answer, in base64")


def _keeping(verb: Verb) -> None:
    checker = verb("check", "whether a region has what was stored there")
    checker.add_argument("--region", default="")
    checker.add_argument("--as-of", type=_time, metavar="TIME", help="read the store as it was then")
    checker.add_argument("--own", action="store_true", help="the catalogue and this host's files alone")
    checker.add_argument("--note", action="store_true", help="write into the catalogue what was looked at")
    checker.add_argument("--all", action="store_true", help="read every byte, not today's seventh")
    verb("copy", "bring what this host saved to every region that lacks it")
    verb("care", "copy, keep and check, as each host does once a day")
    verb("keep", "extend the retention of what is still needed").add_argument("--region", default="")
    holding = verb("hold", "keep a base or a snapshot, and the log from it on, until the hold is taken off")
    holding.add_argument("--of", required=True, metavar="ID")
    on_or_off = holding.add_mutually_exclusive_group(required=True)
    on_or_off.add_argument("--on", action="store_true")
    on_or_off.add_argument("--off", dest="on", action="store_false")
    holding.add_argument("--by", required=True, metavar="NAME")
    holding.add_argument("--reason", required=True, metavar="TEXT")
    removing = verb("prune", "remove what is over and not held, with an account that may")
    removing.add_argument("--account", required=True, metavar="NAME")
    removing.add_argument("--secret", type=Path, required=True, metavar="FILE", help="-: standard input")
    removing.add_argument("--dry-run", action="store_true", help="list it only")


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
