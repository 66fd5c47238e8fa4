"""Where drift can come from. Each source looks by itself, all at once; `cli` puts them together.

`monitoring` brings a source of its own: `infra` knows the protocol and nothing of Zabbix.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra.engine.changes import Change
    from infra.estate.model import Estate
    from infra.paths import EstatePaths


@dataclass(frozen=True)
class Look:
    """What a source is given."""

    estate: Estate
    paths: EstatePaths
    progress: Callable[[str], None]


@dataclass(frozen=True)
class Found:
    """What a source found."""

    changes: tuple[Change, ...] = ()
    protected: tuple[str, ...] = ()
    """Resources that putting it right would have destroyed, and will not."""


class Source(Protocol):
    """One place to look. Reads only. Each change carries this source's name and its remedy."""

    name: str
    """`cloud`, `host` or `monitoring`."""

    def find(self, look: Look) -> Found:
        """What is not as declared. Raises YiyunError when it cannot be told."""
        ...


@dataclass(frozen=True)
class Drift:
    """What all sources found together. `seconds` by source: wall time."""

    changes: tuple[Change, ...]
    protected: tuple[str, ...]
    seconds: dict[str, float]


def look_everywhere(sources: Sequence[Source], look: Look) -> Drift:
    """Ask every source at the same time."""

    def timed(source: Source) -> tuple[Found, float]:
        began = time.monotonic()
        return source.find(look), round(time.monotonic() - began, 2)

    with ThreadPoolExecutor(max(len(sources), 1)) as pool:
        answers = list(pool.map(timed, sources))
    return Drift(
        tuple(change for found, _ in answers for change in found.changes),
        tuple(name for found, _ in answers for name in found.protected),
        {source.name: seconds for source, (_, seconds) in zip(sources, answers, strict=True)},
    )
