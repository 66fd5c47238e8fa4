from __future__ import annotations

from pathlib import Path

import pytest

from infra.engine.workspace import backend_url
from infra.paths import EstatePaths


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("", "file:///srv/lab/pulumi?metadata=skip"),
        ("file:///shared", "file:///shared?metadata=skip"),
        ("file:///shared?no_tmp_dir=true", "file:///shared?no_tmp_dir=true&metadata=skip"),
        ("file:///shared?metadata=skip", "file:///shared?metadata=skip"),
        ("s3://team-state?region=cn-north-1", "s3://team-state?region=cn-north-1"),
    ],
)
def test_a_local_backend_keeps_no_attribute_files(given: str, used: str) -> None:
    assert backend_url(EstatePaths("lab", Path("/srv")), given) == used
