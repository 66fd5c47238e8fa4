"""Secrets are encrypted at rest, never printed, and refused with a key that is wrong or open to others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyrage
import pytest

from infra.errors import YiyunError
from infra.paths import EstatePaths
from infra.trust.store import SecretStore, random_password

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def paths(tmp_path: Path) -> EstatePaths:
    return EstatePaths("t", tmp_path)


def test_a_secret_is_made_once_and_found_again(paths: EstatePaths) -> None:
    first = SecretStore(paths).ensure("a", random_password)
    assert SecretStore(paths).ensure("a", random_password) == first
    assert len(first) == 32


def test_the_file_does_not_hold_the_secret_in_clear(paths: EstatePaths) -> None:
    secret = SecretStore(paths).ensure("a", lambda: "RECOGNISABLE-SECRET")
    assert secret.encode() not in paths.secrets.read_bytes()
    assert paths.secrets.stat().st_mode & 0o077 == 0
    assert paths.secrets_key.stat().st_mode & 0o077 == 0


def test_a_secret_does_not_print_itself(paths: EstatePaths) -> None:
    secret = SecretStore(paths).ensure("a", lambda: "RECOGNISABLE-SECRET")
    assert "RECOGNISABLE" not in repr({"password": secret})


def test_another_key_is_refused_with_a_next_step(paths: EstatePaths) -> None:
    SecretStore(paths).ensure("a", random_password)
    paths.secrets_key.write_text(str(pyrage.x25519.Identity.generate()), encoding="ascii")
    with pytest.raises(YiyunError, match="cannot be decrypted"):
        SecretStore(paths).get("a")


def test_a_missing_key_is_never_replaced_by_a_new_one(paths: EstatePaths) -> None:
    SecretStore(paths).ensure("a", random_password)
    paths.secrets_key.unlink()
    with pytest.raises(YiyunError, match="key to the estate's secrets is missing"):
        SecretStore(paths).get("a")
    with pytest.raises(YiyunError, match="missing"):
        SecretStore(paths).ensure("b", random_password)
    assert not paths.secrets_key.exists()


def test_a_key_others_can_read_is_refused(paths: EstatePaths) -> None:
    SecretStore(paths).ensure("a", random_password)
    paths.secrets_key.chmod(0o644)
    with pytest.raises(YiyunError, match="readable by others"):
        SecretStore(paths).get("a")
