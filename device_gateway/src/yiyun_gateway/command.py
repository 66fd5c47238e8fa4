"""`yiyun-gateway`: serve, status, list, show, replay, unmapped, bench, version.

Exit codes: 0 fine, 1 failed, 3 refused (nothing to replay), 4 bad configuration or usage.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from yiyun_gateway import bench, codes, report, serve, store, worker
from yiyun_gateway import config as configuration
from yiyun_gateway.documents import Composer
from yiyun_gateway.logs import event, setup

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

OK, FAILED, REFUSED, BAD_INPUT = 0, 1, 3, 4


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="yiyun-gateway", description="Stores what is sent before it acknowledges; forwards it once."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def verb(name: str, text: str | None) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=text) if text else verbs.add_parser(name)
        one.add_argument("--config", type=Path, default=configuration.DEFAULT_PATH, metavar="FILE")
        return one

    verb("serve", "listen, store, acknowledge, forward")
    verb("worker", None)
    verb("status", "counts, oldest waiting, last delivered, bytes").add_argument(
        "--json", action="store_true"
    )
    listing = verb("list", "messages, newest first")
    listing.add_argument("--state", choices=store.STATES)
    listing.add_argument("--limit", type=int, default=100)
    listing.add_argument("--json", action="store_true")
    verb("show", "one message: raw text and what it is read as").add_argument("id", type=int)
    again = verb("replay", "parse and deliver parked messages again")
    which = again.add_mutually_exclusive_group(required=True)
    which.add_argument("id", type=int, nargs="?")
    which.add_argument("--all-parked", action="store_true")
    verb("unmapped", "codes without a mapping").add_argument("--json", action="store_true")
    verbs.add_parser("version", help="print the version")
    bench.arguments(
        verbs.add_parser("bench", help="measure durable acknowledgements a second, in a scratch folder")
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.verb == "version":
            print(version("yiyun-gateway"))  # noqa: T201 - the result
            return OK
        if options.verb == "bench":
            return bench.run(options)
        return _with_config(options)
    except (configuration.ConfigError, codes.CodesError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - one line for the person
        return BAD_INPUT
    except store.StoreError as error:
        print(error, file=sys.stderr)  # noqa: T201 - one line for the person
        return FAILED


def _with_config(options: argparse.Namespace) -> int:
    config = configuration.load(options.config)
    mapping = codes.load(config.reading.codes)
    if options.verb == "serve":
        setup(config.log_level)
        asyncio.run(serve.run(config, options.config))
        return OK
    if options.verb == "worker":
        setup(config.log_level)
        try:
            asyncio.run(worker.run(config))
        except ExceptionGroup as group:  # the main process starts a new worker
            event(logging.ERROR, "worker failed", causes=[type(one).__name__ for one in group.exceptions])
            return FAILED
        return OK
    db = store.attach(config.store.path)
    try:
        composer = Composer(config.site, config.reading, mapping)
        return _ask(options, config, db, composer)
    finally:
        db.close()


def _ask(
    options: argparse.Namespace, config: configuration.Config, db: sqlite3.Connection, composer: Composer
) -> int:
    if options.verb == "status":
        found = report.status(db, config)
        _print(found, as_json=options.json)
    elif options.verb == "list":
        _print_rows(report.listing(db, options.state, options.limit), as_json=options.json)
    elif options.verb == "unmapped":
        _print_rows(report.unmapped(db), as_json=options.json)
    elif options.verb == "show":
        message = report.show(db, options.id, config, composer)
        if message is None:
            print(f"no message {options.id}", file=sys.stderr)  # noqa: T201 - one line for the person
            return FAILED
        _print(message, as_json=True)
    elif options.verb == "replay":
        number = store.replay(db, None if options.all_parked else [options.id])
        _print({"replayed": number}, as_json=True)
        return OK if number or options.all_parked else REFUSED
    return OK


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))  # noqa: T201 - the result
        return
    for name, value in found.items():
        if isinstance(value, dict):
            for key, inner in value.items():
                text = ", ".join(f"{k} {v}" for k, v in inner.items()) if isinstance(inner, dict) else inner
                print(f"{name + '.' + str(key):24} {text}")  # noqa: T201 - the result
        else:
            print(f"{name:24} {value}")  # noqa: T201 - the result


def _print_rows(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))  # noqa: T201 - the result
        return
    for row in rows:
        print("  ".join(str(value) for name, value in row.items() if name != "key" and value is not None))  # noqa: T201
