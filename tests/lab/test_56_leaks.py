"""No secret lies, runs or is said where it must not be; the files that hold one are a short list.

A secret of a recognisable form is planted: it goes the product's own way through a rotation.
"""

from __future__ import annotations

import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.bundle.build import build_bundle
from infra.reach import run_on, ssh_argv
from infra.services.catalogue import services_of
from infra.trust.material import Material
from infra.trust.store import NEXT, read_ledger, write_ledger
from tests.lab.harness import ROOT
from tests.lab.leaks import ProcessWatch, all_forms, files_with, values, what_is_in

if TYPE_CHECKING:
    from tests.lab.harness import Lab

MARKER = "YIYUN-PLANTED-4d8a1c77e0b94f52"
PLANTED = "mysql-migrate"
STATE_FILES = {
    "secrets.key": 0o600,
    "pulumi-passphrase": 0o600,
    "operator-password": 0o600,
    "ssh/id_ed25519": 0o600,
    "lab/certificates/*.pem": 0o600,
    "lab/objectstore/*.json": 0o600,
    "lab/objectstore/*/keys.env": 0o600,
    "lab/objectstore/*/tls.pem": 0o600,
    "lab/objectstore/*/accounts/users.json": 0o600,
    "lab/objectstore/trust/*": 0o600,
    "lab/hosts/*/upper/etc/ssh/ssh_host_ed25519_key": 0o600,
}
"""Files of the state that hold a secret in clear: each for its owner only."""
RECORDS = "desired/*.json"
"""What hosts were left with: files by their hash. A secret that is a whole file is there as its SHA-256."""
STORES = {"ops-1": "postgresql", "edge-1": "zabbix-proxy"}
"""Host → folder on its data disk: Zabbix and its proxy keep the agents' keys, which they must know."""
PROCESSES = (("versitygw", "environ"),)
"""The lab's object store takes its keys from its environment, which only root can read."""


@dataclass
class Seen:
    """What was said, and what processes were given, while the estate came up and a secret was rotated."""

    secrets: dict[str, str]
    processes: set[str] = field(default_factory=set[str])
    said: dict[str, str] = field(default_factory=dict[str, str])
    looks: int = 0


@pytest.fixture(scope="module")
def seen(lab: Lab, processes: ProcessWatch) -> Seen:
    """Rotate a planted secret, watching every process meanwhile; then say what there is to say."""
    secrets = values(lab)
    plant(lab)
    result = Seen(secrets | values(lab))
    assert any(MARKER in value for value in result.secrets.values())
    with ProcessWatch() as watch:
        result.said["rotate"] = said_by(lab, "secrets", "rotate", PLANTED, "--yes")
        for words in (["secrets", "list"], ["status"], ["verify", "--no-probe"], ["preview"]):
            result.said[" ".join(words)] = said_by(lab, *words)
    result.secrets |= values(lab)
    needles = all_forms(result.secrets)
    result.processes = processes.holding(needles, PROCESSES) | watch.holding(needles, PROCESSES)
    result.looks = processes.looks + watch.looks
    return result


def plant(lab: Lab) -> None:
    """Begin a rotation whose new value has a mark."""

    def change(held: dict[str, str]) -> None:
        held[PLANTED + NEXT] = f"{MARKER}-{len(held)}"
        ledger = read_ledger(held)
        ledger[PLANTED] |= {"phase": "introduce", "phase_since": ledger[PLANTED]["since"], "applied": ""}
        write_ledger(held, ledger)

    Material(lab.estate, lab.paths).store.update(change)


def said_by(lab: Lab, *words: str) -> str:
    argv = [sys.executable, "-m", "cli.main", *words, "--estate", str(lab.source), "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_no_process_was_given_a_secret(seen: Seen) -> None:
    print(f"every process looked at {seen.looks} times")  # noqa: T201
    assert seen.looks > 100
    assert sorted(seen.processes) == []


def test_the_watch_sees_a_planted_argument_and_environment() -> None:
    script = ["sh", "-c", "sleep 2; true"]
    with ProcessWatch() as watch:
        subprocess.run([*script, MARKER], check=True)
        subprocess.run(script, env={"HIDDEN": MARKER}, check=True)
    found = watch.holding(all_forms({"planted": MARKER}))
    assert {one.split()[0] for one in found} == {"cmdline", "environ"}


def test_no_command_says_a_secret(seen: Seen) -> None:
    needles = all_forms(seen.secrets)
    assert {
        verb: found for verb, text in seen.said.items() if (found := what_is_in(text.encode(), needles))
    } == {}


def test_the_state_holds_secrets_only_where_it_should(lab: Lab, seen: Seen) -> None:
    root, needles = lab.paths.root, all_forms(seen.secrets)
    folders = [p for p in root.iterdir() if p.name != "lab"] + [
        p for p in lab.paths.lab.iterdir() if p.name not in {"hosts", "mounts", "disks"}
    ]
    allowed = {path: mode for pattern, mode in STATE_FILES.items() for path in root.glob(pattern)}
    found = files_with(folders, needles)
    for record in set(root.glob(RECORDS)) & set(found):
        if all(what.endswith(", sha256") for what in found[record]):
            allowed[record] = 0o600
    assert {str(p.relative_to(root)): what for p, what in found.items() if p not in allowed} == {}
    assert {str(p) for p, mode in allowed.items() if stat.S_IMODE(p.stat().st_mode) & ~mode} == set()
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_bundles_caches_and_temporary_folders_hold_none(lab: Lab, seen: Seen) -> None:
    needles = all_forms(seen.secrets)
    bundle = build_bundle(lambda _: None).path
    temporary = [p for p in Path("/tmp").iterdir() if p.name.startswith(("yy-", "yv-", "ansible", "tmp"))]
    ansible = [Path.home() / ".ansible"]
    assert {str(p): what for p, what in files_with([bundle, *temporary, *ansible], needles).items()} == {}
    assert {
        str(p): w for p, w in files_with([ROOT / "infra", ROOT / "docs", ROOT / "playbooks"], needles).items()
    } == {}


def test_hosts_hold_secrets_only_in_declared_files(lab: Lab, seen: Seen) -> None:
    needles, wrong = all_forms(seen.secrets), dict[str, list[str]]()
    for host in lab.estate.hosts:
        upper = lab.paths.lab / "hosts" / host.name / "upper"
        declared = {f.path for s in services_of(host) for f in s.all_secret_files}
        for path, what in files_with([upper], needles).items():
            inside = "/" + str(path.relative_to(upper))
            if inside not in declared:
                wrong[f"{host.name}:{inside}"] = what
    assert wrong == {}


def test_data_disks_hold_secrets_only_in_zabbixs_own_stores(lab: Lab, seen: Seen) -> None:
    mounts = lab.paths.lab / "mounts"
    stores = [mounts / f"{host}-data" / folder for host, folder in STORES.items()]
    assert [str(s) for s in stores if not s.is_dir() or s.stat().st_mode & 0o007] == []
    found = files_with([mounts], all_forms(seen.secrets))
    assert {str(p): what for p, what in found.items() if not set(p.parents) & set(stores)} == {}


def test_journals_of_hosts_hold_none(lab: Lab, seen: Seen) -> None:
    needles, wrong = all_forms(seen.secrets), dict[str, list[str]]()
    for host in lab.estate.hosts:
        journal = ssh_argv(lab.paths, host.name, ["journalctl", "--no-pager", "--output=export", "--all"])
        said = subprocess.run(journal, capture_output=True, check=True, timeout=120).stdout  # not all is text
        assert b"MESSAGE=" in said
        if found := what_is_in(said, needles):
            wrong[host.name] = found
    assert wrong == {}


def test_runtime_files_of_hosts_hold_none_for_others(lab: Lab, seen: Seen) -> None:
    """What lies in a host's temporary folders. systemd's credentials are for their unit's user only."""
    look = (
        "umask 077; n=$(mktemp); cat > $n; find /run /tmp /var/tmp /dev/shm -xdev -type f -size -20000k"
        " ! -path $n ! -path '/run/credentials/*' -exec grep -l -a -F -f $n -- {} + 2>/dev/null; rm $n"
    )
    needles, wrong = b"\n".join(all_forms(seen.secrets)).decode() + "\n", list[str]()
    for host in lab.estate.hosts:
        answer = run_on(lab.paths, host.name, ["sh", "-c", look], stdin=needles, seconds=120)
        wrong += [f"{host.name}:{path}" for path in answer.stdout.split()]
    assert wrong == []
