"""Phases are states of the store: killed anywhere, the next run goes on; both values count in between."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pyrage
import pytest

from infra.errors import BadInputError, RefusedError, YiyunError
from infra.estate.loading import load_estate
from infra.paths import EstatePaths
from infra.rotation import run
from infra.rotation.catalogue import catalogue
from infra.rotation.listing import due_names, listing
from infra.rotation.model import Work
from infra.rotation.policy import rule_of, rules
from infra.rotation.recovery import export_recovery, import_recovery, read_kit
from infra.rotation.rotators import ROTATORS
from infra.rotation.tunnels import by_path
from infra.services.catalogue import SERVICES
from infra.trust.material import ROOT, Material, unpack
from infra.trust.store import SecretStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from infra.rotation.catalogue import Entry

LAB = load_estate("lab")
EVERY = catalogue(LAB)


class KilledError(YiyunError):
    """Stands for a kill: nothing after it runs."""


class NotedMonitoring:
    """Notes what it is asked, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def take_up_keys(self) -> None:
        self.asked.append("take up")

    def wait_until_heard(self, *, since: float) -> None:
        assert since > 0
        self.asked.append("heard")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(LAB, "lab", EstatePaths("lab", tmp_path), lambda _: None, NotedMonitoring())
    made.material().passwords()
    made.material().root()
    for host in LAB.hosts:
        made.material().leaves_of(host)
    made.material().balancer_leaves()
    return made


def entries(*names: str) -> list[Entry]:
    return [e for e in EVERY if e.name in names]


def without_hosts(
    monkeypatch: pytest.MonkeyPatch, kind: str, killed_at: str = ""
) -> list[tuple[str, list[str]]]:
    """Make a kind's phases note what the store accepts instead of asking hosts; optionally die in one."""
    seen: list[tuple[str, list[str]]] = []

    def noting(name: str) -> Any:
        def apply(work: Work, listed: Sequence[Entry]) -> None:
            seen.append((name, [str(v) for v in work.material().store.accepted(listed[0].name)]))
            if name == killed_at:
                raise KilledError(name)

        return apply

    phases = tuple(replace(p, apply=noting(p.name)) for p in ROTATORS[kind].phases)
    monkeypatch.setitem(ROTATORS, kind, replace(ROTATORS[kind], phases=phases))
    return seen


def test_the_old_value_is_accepted_until_everybody_has_the_new_one(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = str(work.material().store.get("mysql-app"))
    seen = without_hosts(monkeypatch, "database-account")
    (outcome,) = run.rotate(work, entries("mysql-app"), EVERY, hasten=False)
    new = str(work.material().store.get("mysql-app"))
    assert seen == [("introduce", [old, new]), ("switch", [new, old]), ("retire", [new])]
    assert outcome.status == "rotated"
    assert new != old


@pytest.mark.parametrize("phase", ["introduce", "switch", "retire"])
def test_killed_in_a_phase_the_next_run_goes_on_with_it(
    work: Work, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    with monkeypatch.context() as patch:
        without_hosts(patch, "database-account", killed_at=phase)
        with pytest.raises(YiyunError, match=phase):
            run.rotate(work, entries("mysql-app"), EVERY, hasten=False)
    assert work.material().store.ledger()["mysql-app"]["phase"] == phase
    held = work.material().store.accepted("mysql-app")
    seen = without_hosts(monkeypatch, "database-account")
    outcomes = run.rotate(work, entries("mysql-health"), EVERY, hasten=False)
    assert [(o.names, o.resumed) for o in outcomes] == [(["mysql-app"], True), (["mysql-health"], False)]
    assert seen[0] == (phase, [str(v) for v in held])
    assert "phase" not in work.material().store.ledger()["mysql-app"]


def test_a_session_key_waits_for_those_who_are_signed_in(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    without_hosts(monkeypatch, "session-key")
    (outcome,) = run.rotate(work, entries("app-session"), EVERY, hasten=False)
    assert outcome.status == "waiting"
    assert outcome.waiting_until
    assert datetime.fromisoformat(outcome.waiting_until) > datetime.now(UTC) + timedelta(hours=7)
    assert len(work.material().store.accepted("app-session")) == 2
    assert run.rotate(work, [], EVERY, hasten=False)[0].status == "waiting"
    assert run.rotate(work, [], EVERY, hasten=True)[0].status == "rotated"
    assert len(work.material().store.accepted("app-session")) == 1


def test_a_new_authority_is_trusted_before_a_leaf_is_of_it(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = work.material().root()
    without_hosts(monkeypatch, "authority")
    assert run.rotate(work, entries(ROOT), EVERY, hasten=False)[0].status == "waiting"
    assert work.material().trusted().count("BEGIN CERTIFICATE") == 2
    assert work.material().root() == before
    run.rotate(work, [], EVERY, hasten=True)
    after = work.material().root()
    assert work.material().trusted() == after.certificate
    for name in work.material().leaf_specs():
        leaf = unpack(str(work.material().store.get(name)))
        leaf.x509.verify_directly_issued_by(after.x509)


def test_the_line_changes_one_path_at_a_time() -> None:
    batches = by_path([e for e in EVERY if e.kind == "tunnel-key"])
    assert len(batches) == 2
    assert all(len({h for e in batch for h in e.hosts}) == 2 for batch in batches)


def test_a_pre_shared_key_changes_at_both_ends_and_is_heard(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = cast("NotedMonitoring", work.monitoring).asked
    monkeypatch.setattr(Work, "converge", lambda _, hosts=(): asked.append(" ".join(hosts)))
    name, host = "zabbix-agent-psk:db-2", LAB.host("db-2")
    old = work.material().host_secrets(host)["zabbix-agent-psk"]
    (outcome,) = run.rotate(work, entries(name), EVERY, hasten=False)
    assert (outcome.kind, outcome.status) == ("pre-shared-key", "rotated")
    assert asked == ["take up", "db-2", "heard"]
    new = work.material().host_secrets(host)["zabbix-agent-psk"]
    assert new != old
    assert len(new) == len(old) == 64


def test_every_kind_has_a_rule_with_a_source_and_a_date() -> None:
    assert {e.kind for e in EVERY} <= set(rules())
    for rule in rules().values():
        assert rule.source
        assert datetime.fromisoformat(rule.effective)


def test_due_is_the_earlier_of_age_and_end() -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    assert rule_of("certificate").due(now, now + timedelta(90)) == now + timedelta(60)
    assert rule_of("authority").due(now, now + timedelta(3650)) == now + timedelta(1095)
    assert rule_of("database-account").due(None, None) < now


def test_what_is_due_is_found(work: Work) -> None:
    assert due_names(listing(LAB, work.material()), datetime.now(UTC)) == []
    later = datetime.now(UTC) + timedelta(91)
    assert {"mysql-app", "leaf:app-1/proxy"} <= set(due_names(listing(LAB, work.material()), later))


def test_a_kind_without_a_way_and_an_unknown_name_are_bad_input(work: Work) -> None:
    with pytest.raises(BadInputError, match="no way yet"):
        run.rotate(work, entries("engine-passphrase"), EVERY, hasten=False)
    with pytest.raises(BadInputError, match="nonsense"):
        run.choose(EVERY, ["nonsense"], everything=False, due=None)
    with pytest.raises(BadInputError, match="nothing"):
        run.choose(EVERY, [], everything=False, due=None)


def test_nothing_of_the_store_is_left_out_of_the_list() -> None:
    assert "zabbix-psk" in {e.name for e in catalogue(LAB, ["zabbix-psk"])}
    declared = {spec.name for s in SERVICES for spec in s.secrets if not spec.per_host}
    assert declared <= {e.name for e in EVERY}


def test_two_processes_do_not_lose_each_others_secrets(tmp_path: Path) -> None:
    paths = EstatePaths("t", tmp_path)
    first, second = SecretStore(paths), SecretStore(paths)
    first.ensure("a", lambda: "1")
    assert second.get("b") is None
    first.ensure("b", lambda: "2")
    second.put("c", "3")
    assert SecretStore(paths).names() == ["a", "b", "c"]


def test_the_recovery_key_opens_the_store_again(tmp_path: Path) -> None:
    paths, kept = EstatePaths("lab", tmp_path / "state"), tmp_path / "kept"
    SecretStore(paths).ensure("a", lambda: "text")
    own = pyrage.x25519.Identity.generate()
    export_recovery(LAB, paths, kept, recipient=str(own.to_public()))
    assert b"AGE-SECRET-KEY" not in kept.read_bytes()
    with pytest.raises(RefusedError):
        import_recovery(paths, kept, identity=str(own))
    paths.secrets_key.unlink()
    with pytest.raises(BadInputError):
        import_recovery(paths, kept, identity=str(pyrage.x25519.Identity.generate()))
    import_recovery(paths, kept, identity=str(own))
    assert SecretStore(paths).get("a") == "text"
    assert paths.secrets_key.stat().st_mode & 0o077 == 0


def test_a_short_passphrase_and_a_wrong_recipient_are_bad_input(tmp_path: Path) -> None:
    paths = EstatePaths("lab", tmp_path / "state")
    SecretStore(paths).ensure("a", lambda: "text")
    with pytest.raises(BadInputError, match="shorter"):
        export_recovery(LAB, paths, tmp_path / "x", passphrase="short")
    with pytest.raises(BadInputError, match="recipient"):
        export_recovery(LAB, paths, tmp_path / "x", recipient="age1nonsense")


def test_the_kit_tells_the_way_to_the_copies_and_whose_word_counts(tmp_path: Path) -> None:
    paths, kept = EstatePaths("lab", tmp_path / "state"), tmp_path / "kept"
    material = Material(LAB, paths)
    material.operator_key()
    export_recovery(LAB, paths, kept, passphrase="a long one, kept apart")
    with pytest.raises(BadInputError, match="cannot be opened"):
        read_kit(kept, passphrase="another long one, of nothing")
    kit = read_kit(kept, passphrase="a long one, kept apart")
    assert kit.copies is not None
    assert (kit.copies.region, kit.copies.bucket, kit.copies.account) == (
        "cn-east-2",
        "backups-remote",
        "recovery",
    )
    assert kit.copies.endpoint == f"https://127.0.0.1:{LAB.lab.published.backups}"
    assert kit.copies.secret == material.bucket_keys()["recovery"]
    assert kit.signers == material.backup_signers()
    assert {"app-1", "db-3", "ops-1"} <= set(kit.signers)


def test_material_of_an_older_estate_keeps_its_tunnel_keys(tmp_path: Path) -> None:
    paths = EstatePaths("lab", tmp_path)
    older = Material(LAB, paths)
    key = older.store.ensure("wireguard:edge-1", lambda: older.gateway_keys("ops-1").private)
    assert older.peer_keys("edge-1", "app-2").private == key
