"""yiyun's own state in one archive: the same for the same estate, opened by its key alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyrage import x25519

from infra.errors import BadInputError
from infra.estate.loading import load_estate
from infra.paths import EstatePaths
from infra.trust.own_state import ESTATE, SECRETS, decided, digest_of, opened, sealed
from infra.trust.store import SecretStore, own_identity

if TYPE_CHECKING:
    from pathlib import Path

LAB = load_estate("lab")


@pytest.fixture
def paths(tmp_path: Path) -> EstatePaths:
    made = EstatePaths("lab", tmp_path)
    SecretStore(made).put("mysql-root", "one")
    stack = made.pulumi / ".pulumi/stacks/yiyun/lab.json"
    stack.parent.mkdir(parents=True)
    stack.write_text('{"version": 3}')
    return made


def test_what_was_archived_comes_back_byte_for_byte(paths: EstatePaths) -> None:
    made = sealed(LAB, paths)
    files = opened(made, own_identity(paths))
    assert files[SECRETS] == paths.secrets.read_bytes()
    assert files["engine/pulumi/.pulumi/stacks/yiyun/lab.json"] == b'{"version": 3}'
    assert type(LAB).model_validate_json(files[ESTATE]) == LAB
    assert digest_of(files) == digest_of(decided(LAB, paths))


def test_nothing_of_it_can_be_read_without_the_key(paths: EstatePaths) -> None:
    made = sealed(LAB, paths)
    assert b"db-1" not in made
    with pytest.raises(BadInputError, match="cannot be opened"):
        opened(made, x25519.Identity.generate())
    with pytest.raises(BadInputError, match="cannot be opened"):
        opened(made[:-9], own_identity(paths))


def test_its_digest_changes_with_what_people_decide_and_with_nothing_else(paths: EstatePaths) -> None:
    before = digest_of(decided(LAB, paths))
    (paths.pulumi / ".pulumi/stacks/yiyun/lab.json").write_text('{"version": 4}')
    assert digest_of(decided(LAB, paths)) == before
    SecretStore(paths).put("mysql-root", "two")
    changed = digest_of(decided(LAB, paths))
    assert changed != before
    smaller = LAB.model_copy(update={"hosts": LAB.hosts[:-1]})
    assert digest_of(decided(smaller, paths)) not in {before, changed}
