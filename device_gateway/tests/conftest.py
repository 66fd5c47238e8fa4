from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gateway_kit import Gateway, Platform, Sender, make_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture
def platform(certificates: Path) -> Iterator[Platform]:
    one = Platform(certificates)
    yield one
    one.close()


@pytest.fixture
def gateway(tmp_path: Path, certificates: Path, platform: Platform) -> Iterator[Gateway]:
    for file in certificates.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    one = Gateway(tmp_path, [platform.url])
    yield one
    one.ensure_stopped()


@pytest.fixture
def sender(gateway: Gateway) -> Iterator[Sender]:
    with Sender(gateway.port) as one:
        yield one
