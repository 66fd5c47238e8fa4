"""Whether what came back is what was there: every row by checksums at the same set, or every byte."""

from __future__ import annotations

import filecmp
from typing import TYPE_CHECKING, Any

from yiyun_backup.catalogue import TableSum
from yiyun_backup.compare import differences, tables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


def sums(connect: Callable[[], Any]) -> list[TableSum]:
    """Of every table of a server, in one snapshot."""
    return list(tables(connect, lambda _: None))


def summed(answer: dict[str, Any]) -> list[TableSum]:
    """Those that the agent's `sum` wrote into the catalogue."""
    return [TableSum.model_validate(one) for one in answer["tables"]]


def changed(before: Sequence[TableSum], seen: Sequence[TableSum]) -> list[TableSum]:
    """The same, but for the schemas that were read anew. Pure."""
    schemas = {one.schema_name for one in seen}
    return [*(one for one in before if one.schema_name not in schemas), *seen]


def rows(source: Sequence[TableSum], connect: Callable[[], Any]) -> dict[str, Any]:
    """How a server's tables compare with the source's. Raises AssertionError when they differ."""
    found = differences(source, sums(connect))
    assert not found, found
    return {
        "tables": len(source),
        "rows": sum(one.rows for one in source),
        "compared": "every row, by checksums",
    }


def files(source: Path, target: Path) -> dict[str, Any]:
    """How a folder compares with the source's. Raises AssertionError, naming a file that differs."""
    names = sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())
    there = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert names == there, set(names) ^ set(there)
    _, other, failed = filecmp.cmpfiles(source, target, names, shallow=False)
    assert not other + failed, other + failed
    return {"files": len(names), "compared": "every byte"}
