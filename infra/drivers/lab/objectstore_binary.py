"""The object store's program: versitygw, a real S3 server, built from the Go module proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.engine.golang import build_go_program

if TYPE_CHECKING:
    from pathlib import Path

    from infra.drivers.lab.commands import Progress

VERSION = "v1.8.0"


def ensure_objectstore_binary(progress: Progress) -> Path:
    """The `versitygw` binary, from the cache or built (about a minute). Raises YiyunError."""
    return build_go_program(
        "versitygw",
        version=VERSION,
        requires={"github.com/versity/versitygw": VERSION},
        replaces={},
        package="github.com/versity/versitygw/cmd/versitygw",
        ldflags=f"-s -w -X main.Version={VERSION}",
        progress=progress,
    )
