"""`yiyun-backup`: stream, base, sum, save, deposit, fetch, list, restore, query, table, object, files,
rehearse, check, copy, care, keep, hold, prune, journal, try-to-remove, status, version.

Results on standard output, progress on standard error. Exit codes: 0 fine, 1 failed, 3 refused, 4 bad input.
"""

from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from yiyun_backup import (
    bases,
    bringing,
    care,
    checking,
    copying,
    deposits,
    holding,
    keeping,
    listing,
    objects,
    pruning,
    query,
    recover,
    rehearse,
    saving,
    serve,
    sums,
    table,
)
from yiyun_backup.arguments import parser
from yiyun_backup.checked import Share
from yiyun_backup.config import Config, brought, identities
from yiyun_backup.errors import BackupError
from yiyun_backup.files import write_whole
from yiyun_backup.moment import Moment
from yiyun_backup.progress import Lines
from yiyun_backup.restore import Way

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    asked = parser().parse_args(argv)
    if asked.verb == "version":
        sys.stdout.write(f"{version('yiyun-backup')}\n")
        return 0
    try:
        config = Config.read(asked.config).rewound(getattr(asked, "as_of", None))
        result = VERBS[asked.verb](config, asked)
    except BackupError as error:
        return _failed(error)
    except OSError as error:  # a disk that is full, a file that may not be read
        return _failed(BackupError(str(error), "see what is said of that file or device"))
    if result is None:
        return 0
    told = {"ok": True, **result}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0 if told["ok"] else 1


def _failed(error: BackupError) -> int:
    told = {"code": error.code, "message": error.message, "hint": error.hint}
    sys.stdout.write(json.dumps({"ok": False, "error": told}) + "\n")
    sys.stderr.write(f"yiyun-backup: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
    return error.exit_code


def _stream(config: Config, _: argparse.Namespace) -> None:
    serve.serve(config)


def _base(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    hours = asked.unless_newer_than
    if hours and (there := bases.newest_within(config, hours)):
        return {"id": there.id, "taken": False}
    return {"taken": True} | bases.fields_of(bases.take_base(config, Lines()))


def _save(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    return _good(saving.fields_of(*saving.save_items(config, Lines(), asked.service)))


def _list(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    return listing.listing(config, asked.region)


def _deposit(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    data = sys.stdin.buffer.read(deposits.MOST_BYTES + 1)
    return _good(deposits.deposit(config, asked.name, data))


def _fetch(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    entry, data = deposits.fetch(config, asked.region, asked.name)
    told = {"id": entry.id, "ended": entry.ended.isoformat(), "bytes": len(data)}
    if asked.to is None:
        return told | {"data": base64.b64encode(data).decode()}
    write_whole(asked.to, data)
    return told


def _restore(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    with brought(config, asked.identity) as identity:
        opened_by = identities(identity)
    done = recover.recover(
        config, asked.region, _moment(asked), asked.to, opened_by, _way(config), asked.base
    )
    return recover.fields_of(done)


def _sum(config: Config, _: argparse.Namespace) -> dict[str, Any]:
    entry, problems = sums.take_sums(config, Lines())
    body = entry.model_dump(mode="json")["body"]
    return _good({"id": entry.id, **body, "problems": problems})


def _compare(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    return _good(sums.compared(config, asked.region, str(asked.gtid), Lines()))


def _query(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    opened_by, way = identities(asked.identity), _way(config)
    return query.ask_then(config, asked.region, _moment(asked), asked.folder, opened_by, way, asked.statement)


def _table(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    opened_by, way = identities(asked.identity), _way(config)
    return table.dump_then(
        config, asked.region, _moment(asked), asked.folder, opened_by, way, asked.table, asked.to
    )


def _object(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    return objects.bring_back(config, asked.bucket, asked.key, asked.at, asked.to)


def _files(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    with brought(config, asked.password) as password:
        return bringing.bring_files(
            config, asked.region, asked.host, asked.service, password, asked.to, Lines()
        )


def _rehearse(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    done = rehearse.rehearse(config, asked.region, asked.folder, identities(asked.identity), _way(config))
    return _good(rehearse.fields_of(done))


def _moment(asked: argparse.Namespace) -> Moment:
    return Moment(asked.at, asked.gtid, asked.before)


def _way(config: Config) -> Way:
    mysql = config.mysql
    return Way(mysql.program, mysql.owner, Lines(), mysql.buffer_pool_mib)


def _check(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    share, began = Share(1, 1) if asked.all else Share.today(), datetime.now(UTC)
    checked = checking.check(config, asked.region, share, Lines(), own=asked.own)
    if asked.note:
        checked.problems += checking.note(config, share, checked, began)
    return _good(checking.fields_of(checked))


def _copy(config: Config, _: argparse.Namespace) -> dict[str, Any]:
    return _good(copying.fields_of(copying.copy_missing(config, Lines())))


def _care(config: Config, _: argparse.Namespace) -> dict[str, Any]:
    return _good(care.care(config, Lines()))


def _keep(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    return _good(keeping.fields_of(keeping.keep(config, asked.region, Lines())))


def _hold(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    done = holding.hold(config, asked.of, on=asked.on, by=asked.by, reason=asked.reason)
    return _good(holding.fields_of(done))


def _prune(config: Config, asked: argparse.Namespace) -> dict[str, Any]:
    with brought(config, asked.secret) as secret:
        with_more = config.as_account(asked.account, secret)
        return _good(pruning.fields_of(pruning.prune(with_more, Lines(), dry_run=asked.dry_run)))


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
    "compare": _compare,
    "save": _save,
    "deposit": _deposit,
    "fetch": _fetch,
    "list": _list,
    "restore": _restore,
    "query": _query,
    "table": _table,
    "object": _object,
    "files": _files,
    "rehearse": _rehearse,
    "check": _check,
    "copy": _copy,
    "care": _care,
    "journal": _journal,
    "try-to-remove": _try_to_remove,
    "keep": _keep,
    "hold": _hold,
    "prune": _prune,
    "status": _status,
}


if __name__ == "__main__":
    sys.exit(main())
