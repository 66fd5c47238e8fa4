"""The estate's authority: leaves chain to the root, are short, and are replaced in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from infra.trust.authority import LEAF_DAYS, RENEW_DAYS, LeafSpec, Pair, make_leaf, make_root, still_good

SPEC = LeafSpec("app-1.lab.internal", ("app-1",), ("10.20.1.10",))
NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(scope="module")
def root() -> Pair:
    return make_root("t", NOW)


def verify(root: Pair, leaf: Pair, name: str, at: datetime = NOW) -> None:
    store = Store([x509.load_pem_x509_certificate(root.certificate.encode())])
    verifier = PolicyBuilder().store(store).time(at).build_server_verifier(x509.DNSName(name))
    verifier.verify(x509.load_pem_x509_certificate(leaf.certificate.encode()), [])


def test_a_leaf_is_believed_for_its_names_only(root: Pair) -> None:
    leaf = make_leaf(root, SPEC, NOW)
    verify(root, leaf, "app-1.lab.internal")
    verify(root, leaf, "app-1")
    with pytest.raises(VerificationError):
        verify(root, leaf, "app-2")


def test_a_leaf_of_another_authority_is_not_believed(root: Pair) -> None:
    with pytest.raises(VerificationError):
        verify(root, make_leaf(make_root("other", NOW), SPEC, NOW), "app-1")


def test_a_leaf_ends(root: Pair) -> None:
    leaf = make_leaf(root, SPEC, NOW)
    with pytest.raises(VerificationError):
        verify(root, leaf, "app-1", NOW + timedelta(days=LEAF_DAYS, hours=1))


def test_a_leaf_is_replaced_when_a_third_of_its_life_is_left(root: Pair) -> None:
    leaf = make_leaf(root, SPEC, NOW)
    due = NOW + timedelta(days=LEAF_DAYS - RENEW_DAYS)
    assert still_good(leaf, root, SPEC, due - timedelta(hours=1))
    assert not still_good(leaf, root, SPEC, due + timedelta(hours=1))


def test_a_leaf_is_replaced_when_what_it_says_is_no_longer_right(root: Pair) -> None:
    leaf = make_leaf(root, SPEC, NOW)
    assert not still_good(leaf, root, LeafSpec("app-1.lab.internal", ("app-1",), ("10.20.1.99",)), NOW)
    assert not still_good(leaf, make_root("other", NOW), SPEC, NOW)
