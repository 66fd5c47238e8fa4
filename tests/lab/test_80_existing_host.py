"""A machine the provider did not make is taken into the estate, proved as any other, and left alone."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from infra.existing import fingerprint
from infra.reach import ssh_argv
from tests.lab.foreign import NAME, USER
from tests.lab.harness import Lab
from tests.lab.long import long

if TYPE_CHECKING:
    from tests.lab.foreign import Foreign


pytestmark = long


@pytest.fixture(scope="module")
def wider(foreign: Foreign) -> Lab:
    """The lab's estate with the machine in it."""
    return Lab(foreign.estate)


def up(wider: Lab, *only: str):
    return wider.yiyun("up", "--yes", *(x for step in only for x in ("--only", step)), seconds=1200)


def test_its_plan_makes_no_machine_group_or_disk_of_it(wider: Lab) -> None:
    changes = wider.yiyun("preview").json["changes"]
    assert changes
    assert not [c for c in changes if NAME in c["resource"]]
    assert {c["action"] for c in changes} == {"update"}


def test_an_unknown_host_key_stops_and_a_compared_one_is_believed(wider: Lab, foreign: Foreign) -> None:
    """The network first: the bastion's own group must let it through before the key is asked for."""
    stopped = up(wider, "infrastructure", "realise", "reach")
    assert stopped.code == 4
    assert "host learn app-3" in stopped.json["error"]["hint"]
    assert wider.yiyun("host", "learn", NAME).code == 3
    wrong = wider.yiyun("host", "learn", NAME, "--fingerprint", "SHA256:" + "A" * 43)
    assert wrong.code == 3
    right = wider.yiyun("host", "learn", NAME, "--fingerprint", fingerprint(foreign.host_key))
    assert (right.code, right.json["host_key"]) == (0, foreign.host_key)


def test_a_data_disk_that_holds_somebody_elses_files_is_refused(wider: Lab, foreign: Foreign) -> None:
    (foreign.data / "ledger.db").write_text("theirs")
    answer = up(wider, "infrastructure", "realise", "reach", "foundation")
    assert answer.code == 1
    assert "holds files that yiyun did not make" in answer.json["error"]["message"]
    assert (foreign.data / "ledger.db").read_text() == "theirs"
    (foreign.data / "ledger.db").unlink()


def test_it_becomes_a_verified_host_by_the_same_steps(wider: Lab, foreign: Foreign) -> None:
    answer = up(wider)
    assert answer.code == 0, answer.json.get("error") or answer.json
    assert (foreign.data / ".yiyun-owner").read_text() == f"{wider.estate.estate}/{NAME}\n"
    again = up(wider)
    assert (again.code, again.json["changed"]) == (0, 0), again.json
    assert_its_owner_still_gets_in(wider, foreign)


def test_status_and_why_show_it_and_say_who_guards_it(wider: Lab) -> None:
    seen = {h["name"]: h for h in wider.yiyun("status").json["hosts"]}
    assert seen[NAME]["up"]
    assert any(p["host"] == NAME and p["ready"] for p in wider.yiyun("status").json["platform"])
    answer = wider.yiyun("why", NAME, "db-1", "3306").json
    assert answer["permitted"]
    assert [r["group"] for r in answer["rules"]] == ["db-1"]
    assert NAME in answer["unguarded"][0]["text"]
    assert answer["probed"][0]["verdict"] == "open"
    denied = wider.yiyun("why", NAME, "db-1", "22").json
    assert not denied["permitted"]
    assert denied["probed"][0]["verdict"] == "dropped by the fabric"


def test_verify_names_it_as_unguarded(wider: Lab) -> None:
    answer = wider.yiyun("verify")
    assert (answer.code, answer.json["probe"]["unguarded"]) == (0, [NAME]), answer.json["failures"]


def test_leaving_the_estate_leaves_it_running(lab: Lab, foreign: Foreign) -> None:
    before = foreign.container
    assert before is not None
    assert up(lab, "infrastructure", "realise", "reach").code == 0
    after = foreign.container
    assert after is not None
    assert (after.pid, after.state) == (before.pid, "running")
    assert (foreign.root / "etc/yiyun/tls/ca.crt").exists()


def assert_its_owner_still_gets_in(wider: Lab, foreign: Foreign) -> None:
    argv = ssh_argv(wider.paths, NAME, ["sudo", "-n", "id", "-u"])
    as_owner = ["-l", USER, "-i", str(foreign.key), "-o", "ControlPath=none"]
    done = subprocess.run(
        [argv[0], *as_owner, *argv[1:]], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "0\n", done.stderr
