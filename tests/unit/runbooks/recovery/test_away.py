"""What is read from the other region alone, and how two platforms are held beside each other."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from infra.errors import BadInputError
from infra.rotation.recovery import Kit, StoreOfCopies
from runbooks.recovery.away import away, settings
from runbooks.recovery.pages import Shown, attachments_of, differences
from runbooks.recovery.source import passed

COPIES = StoreOfCopies(
    region="far", endpoint="https://s3", bucket="backups-remote", account="recovery", secret="s3cret"
)
KIT = Kit(estate="lab", made="now", identity="x", copies=COPIES, authority="PEM", signers={"db-1": "ab"})


def test_the_agent_is_told_one_region_and_no_secret_stands_in_its_settings() -> None:
    text = settings(Path("/f"), KIT, COPIES)
    told = tomllib.loads(text)
    assert [r["name"] for r in told["regions"]] == ["far"]
    assert told["trusted"] == {"db-1": "ab"}
    assert told["recipients"] == []
    assert COPIES.secret not in text


def test_nothing_of_it_stays() -> None:
    with away(KIT) as there:
        folder = there.folder
        assert (folder / "store.secret").read_text() == COPIES.secret
        assert (folder / "store.secret").stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_a_kit_without_a_way_to_the_copies_is_told_so() -> None:
    with (
        pytest.raises(BadInputError, match="where the copies are"),
        away(KIT.model_copy(update={"copies": None})),
    ):
        pass


def test_what_one_platform_shows_and_the_other_does_not_is_named() -> None:
    source = Shown({"1": "a", "2": "b"}, {"1 x": "c"})
    assert differences(source, source) == []
    other = Shown({"1": "a", "2": "B"}, {})
    assert differences(source, other) == ["resident 2 is another", "attachment 1 x is not there"]


def test_files_are_asked_for_below_fhirs_base() -> None:
    documents = [{"content": [{"attachment": {"url": "Binary/1"}}, {"attachment": {}}]}]
    assert attachments_of(documents) == ["/fhir/Binary/1"]


def test_a_stream_is_believed_once_what_was_cut_later_is_stored() -> None:
    def told(at: float, behind: float) -> dict[str, object]:
        return {"at": at, "regions": {"far": {"behind_s": behind}}}

    assert not passed(told(100.0, 0.0), "far", 100.0), "what was committed just now may not be cut yet"
    assert not passed(told(110.0, 9.0), "far", 100.0)
    assert passed(told(110.0, 1.0), "far", 100.0)
