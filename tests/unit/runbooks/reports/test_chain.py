"""A report taken out, slipped in, replaced or cut off at the end is seen."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runbooks.drills.reports.chain import Head, check_chain, links_of
from runbooks.drills.reports.envelope import SCHEMA, Opened, seal, unseal
from runbooks.drills.reports.errors import RefusedReportError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def follow(previous: Head | None, what: str = "drill") -> Opened:
    return unseal(seal({"schema": SCHEMA, "what": what, **links_of(previous)}, KEY), KEY.public_key())


def head_of(opened: Opened) -> Head:
    return Head(opened.report["seq"], opened.digest)


@pytest.fixture(scope="module")
def chain() -> list[Opened]:
    made = [follow(None)]
    for _ in range(3):
        made.append(follow(head_of(made[-1])))
    return made


def refusal(reports: list[Opened], anchored: Head | None = None) -> str:
    with pytest.raises(RefusedReportError) as refused:
        check_chain(reports, anchored)
    return refused.value.check


def test_a_whole_chain_has_its_newest_as_head_in_any_order(chain: list[Opened]) -> None:
    assert check_chain(chain[::-1], head_of(chain[2])) == head_of(chain[3])
    assert check_chain([]) is None
    assert check_chain([*chain, chain[1]]) == head_of(chain[3]), (
        "a copy of the same report is no other report"
    )


def test_what_is_missing_or_other_is_named(chain: list[Opened]) -> None:
    assert refusal([chain[0], *chain[2:]]) == "gap"
    assert refusal(chain[1:]) == "gap"
    replaced = follow(head_of(chain[0]), "another drill")
    assert refusal([chain[0], replaced, *chain[2:]]) == "link"
    assert refusal([*chain, replaced]) == "fork"


def test_a_cut_or_replaced_tail_is_seen_by_the_head_that_was_noted_elsewhere(chain: list[Opened]) -> None:
    assert check_chain(chain[:3]) == head_of(chain[2]), "without a note it cannot be seen"
    assert refusal(chain[:3], head_of(chain[3])) == "head"
    assert refusal([], head_of(chain[0])) == "head"
    other = follow(head_of(chain[2]), "another drill")
    assert refusal([*chain[:3], other], head_of(chain[3])) == "head"
