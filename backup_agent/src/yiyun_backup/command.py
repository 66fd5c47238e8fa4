"""`yiyun-backup`: stream, base, sum, save, list, restore, query, rehearse, check, keep, hold, prune,
journal, try-to-remove, status, version.

Results on standard output, progress on standard error. Exit codes: 0 fine, 1 failed, 3 refused, 4 bad input.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from yiyun_backup import (
    bases,
    checking,
    holding,
    keeping,
    pruning,
    query,
    recover,
    rehearse,
    saving,
    serve,
    sums,
)
from yiyun_backup.arguments import parser
from yiyun_backup.checked import Share
from yiyun_backup.config import Config, identities
from yiyun_backup.errors import BackupError
from yiyun_backup.journal import read_all
from yiyun_backup.moment import Moment
from yiyun_backup.restore import Way

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

TELL_SECONDS = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    asked = parser().parse_args(argv)
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
    found = read_all(store, config.keys_of)
    every = sorted(found.every(), key=lambda e: e.ended)
    return {
        "region": store.name,
        "entries": [{"id": e.id, **e.model_dump(mode="json", exclude={"prev"})} for e in every],
        "problems": found.problems,
    }


def _restore(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    done = recover.recover(
        config, asked.region, _moment(asked), asked.to, identities(asked.identity), _way(config), asked.base
    )
    return recover.fields_of(done)


def _sum(config: Config, _: argparse.Namespace) -> dict[str, Any]:
    entry, problems = sums.take_sums(config, _progress())
    body = entry.model_dump(mode="json")["body"]
    return _good({"id": entry.id, **body, "problems": problems})


def _query(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    opened_by, way = identities(asked.identity), _way(config)
    return query.ask_then(config, asked.region, _moment(asked), asked.folder, opened_by, way, asked.statement)


def _rehearse(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    done = rehearse.rehearse(config, asked.region, asked.folder, identities(asked.identity), _way(config))
    return _good(rehearse.fields_of(done))


def _moment(asked: argparse.Namespace) -> Moment:
    return Moment(asked.at, asked.gtid, asked.before)


def _way(config: Config) -> Way:
    return Way(config.mysql.program, config.mysql.owner, _progress())


def _check(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    share = Share(1, 1) if asked.all else Share.today()
    return _good(checking.fields_of(checking.check(config, asked.region, share, _progress())))


def _keep(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    return _good(keeping.fields_of(keeping.keep(config, asked.region, _progress())))


def _hold(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    done = holding.hold(config, asked.of, on=asked.on, by=asked.by, reason=asked.reason)
    return _good(holding.fields_of(done))


def _prune(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    with_more = config.as_account(asked.account, asked.secret)
    return _good(pruning.fields_of(pruning.prune(with_more, _progress(), dry_run=asked.dry_run)))


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
    "sum": _sum,
    "save": _save,
    "list": _list,
    "restore": _restore,
    "query": _query,
    "rehearse": _rehearse,
    "check": _check,
    "journal": _journal,
    "try-to-remove": _try_to_remove,
    "keep": _keep,
    "hold": _hold,
    "prune": _prune,
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


if __name__ == "__main__":
    sys.exit(main())
