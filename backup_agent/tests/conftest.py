"""What the tests of the backup agent share: one server under a workload, its stream and its bases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bed_kit import two_bases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server_kit import Bed


@pytest.fixture(scope="session")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """With two bases, the second taken under load, and a stream that has stored everything."""
    with two_bases(tmp_path_factory.mktemp("backup")) as made:
        yield made
