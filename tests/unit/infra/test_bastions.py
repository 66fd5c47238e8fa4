"""What a bastion's SSH server says it forwards to, against what stands behind it."""

from __future__ import annotations

import pytest

from infra.steps.bastions import refused

WANTED = {"10.20.1.10:22", "10.20.1.60:22"}


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ("port 22\npermitopen any\n", set()),
        ("port 22\npermitopen 10.20.1.10:22 10.20.1.60:22\n", set()),
        ("port 22\npermitopen 10.20.1.10:22\n", {"10.20.1.60:22"}),
        ("port 22\npermitopen none\n", WANTED),
        ("", set()),
    ],
    ids=["not hardened yet", "all", "a host joined since", "nothing", "no answer"],
)
def test_a_host_the_bastion_would_not_pass_on_to_is_named(settings: str, missing: set[str]) -> None:
    assert refused(WANTED, settings) == missing
