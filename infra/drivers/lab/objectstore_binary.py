"""The object store's program: versitygw, a real S3 server, built from the Go module proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.engine.golang import GoProgram, build

if TYPE_CHECKING:
    from pathlib import Path

    from infra.drivers.lab.commands import Progress

VERSION = "v1.8.0"

OBJECT_STORE = GoProgram(
    name="versitygw",
    version=VERSION,
    requires={"github.com/versity/versitygw": VERSION},
    replaces={},
    package="github.com/versity/versitygw/cmd/versitygw",
    ldflags=f"-s -w -X main.Version={VERSION}",
)
"""How it is built from its source."""


def ensure_objectstore_binary(progress: Progress) -> Path:
    """The `versitygw` binary, from the cache or built (about a minute). Raises YiyunError."""
    return build(OBJECT_STORE, progress)
