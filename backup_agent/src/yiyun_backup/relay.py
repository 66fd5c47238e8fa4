"""Relay logs made from segments: what the server's own applier is given, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from yiyun_backup import binlog
from yiyun_backup.binlog import Transaction
from yiyun_backup.errors import DamageError
from yiyun_backup.files import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from yiyun_backup.gtids import GtidSet
    from yiyun_backup.segments import Segment

NAME = "relay"


def compose(folder: Path, logs: Iterable[tuple[Segment, bytes]], gtids: GtidSet) -> list[Path]:
    """Write the transactions of `gtids`, in the order of the segments, as relay logs with their index.

    A file begins where the source's did, since places of dependence count from there; its format description
    goes with it. Returns the files. Raises DamageError when a head is missing.
    """
    files: list[Path] = []
    out: BinaryIO | None = None
    try:
        for segment, log in logs:
            for piece in binlog.pieces(lambda at, n, log=log: log[at : at + n], 0, len(log)):
                data = log[piece.offset : piece.end]
                if isinstance(piece, Transaction):
                    if (piece.source, piece.number) not in gtids:
                        continue
                    if out is None:
                        raise DamageError("chain", f"segment {segment.seq}: the head of its file is missing")
                    out.write(data)
                elif piece.type == binlog.FORMAT_DESCRIPTION:
                    out = _another(folder, files, out)
                    out.write(data)
                elif piece.type == binlog.PREVIOUS_GTIDS and out is not None:
                    out.write(data)  # without it the server calls the file corrupted (1866)
    finally:
        if out is not None:
            out.close()
    index = "".join(f"./{path.name}\n" for path in files)
    (folder / f"{NAME}.index").write_text(index, encoding="ascii")
    sync_folder(folder)
    return files


def _another(folder: Path, files: list[Path], out: BinaryIO | None) -> BinaryIO:
    if out is not None:
        out.close()
    files.append(folder / f"{NAME}.{len(files) + 1:06d}")
    opened = files[-1].open("wb")
    opened.write(binlog.MAGIC)
    return opened
