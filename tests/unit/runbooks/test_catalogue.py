"""Shipped drills rest on what exists and rehearse a page; a file of one's own is judged by its words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from infra.errors import BadInputError
from infra.estate.loading import load_estate
from infra.paths import EstatePaths
from runbooks.drills.catalogue import find_drill, shipped
from runbooks.drills.faults.tool import Place
from runbooks.drills.ground import PROBES, TOOLS
from runbooks.drills.kinds import Fault
from runbooks.drills.rehearsal import COMPARED, Loss, Rehearsal
from runbooks.drills.roles import resolved, roles_now

if TYPE_CHECKING:
    from runbooks.drills.catalogue import AnyDrill

PAGES = Path(__file__).parents[3] / "runbooks" / "procedures"


@pytest.mark.parametrize("drill", shipped().values(), ids=lambda d: d.name)
def test_a_shipped_drill_rests_on_what_exists(drill: AnyDrill) -> None:
    assert (PAGES / f"{drill.procedure}.md").exists()
    assert set(drill.hypothesis) <= set(COMPARED if isinstance(drill, Rehearsal) else PROBES)
    assert {fault.kind for phase in drill.method for fault in phase.faults} <= set(TOOLS)


WANTED = {
    "process killed": {"process-killed"},
    "process stopped": {"process-stopped"},
    "host frozen": {"host-frozen"},
    "host lost": {"host-lost"},
    "link cut in each direction and between each pair": {"link-cut"},
    "one proxy-writer edge cut": {"link-cut"},
    "members cut from each other": {"members-cut"},
    "quorum cut": {"quorum-cut"},
    "thin or lossy link": {"link-poor"},
    "disk full": {"disk-full"},
    "slow disk": {"slow-disk"},
    "clock moved": {"clock-moved"},
    "memory pressure": {"memory-pressure"},
    "certificate expired": {"certificate-expired"},
    "name server gone": {"dns-gone"},
    "object storage refusing": {"storage-refusing"},
    "line cut": {"line-cut"},
}
"""Every fault that the project's catalogue of faults lists → the kinds that make it."""
KINDS = {get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(get_args(Fault)[0])}
LAB_ONLY_ORDERS = {"slow-disk", "memory-pressure"}
"""Their undo holds what the kernel says now: only where hosts run."""
REHEARSED_BY_OTHERS = {"process-stopped", "link-poor"}
"""Kinds without a shipped drill of their own: for files of one's own, and for endurance runs."""


def test_every_kind_of_fault_has_a_tool_and_every_tool_a_kind() -> None:
    assert set(TOOLS) == KINDS == set[str]().union(*WANTED.values())


def test_every_kind_of_fault_has_a_shipped_drill() -> None:
    used = {fault.kind for drill in shipped().values() for fault in drill.faults}
    assert used == KINDS - REHEARSED_BY_OTHERS


@pytest.mark.parametrize("drill", shipped().values(), ids=lambda d: d.name)
def test_what_undoes_a_shipped_drill_is_data_that_names_its_kind(drill: AnyDrill, tmp_path: Path) -> None:
    lab = load_estate("lab")
    now = roles_now(lab, {"mysql": {"writer": "db-1"}, "line": {"path": "ops-1"}})
    place = Place(lab, EstatePaths("lab", tmp_path), "abc123")
    for fault in () if isinstance(drill, Loss | Rehearsal) else resolved(drill, lab, now).faults:
        if fault.kind in LAB_ONLY_ORDERS:
            continue
        order = TOOLS[fault.kind].order(fault, place)
        assert order["kind"] == fault.kind
        assert json.loads(json.dumps(order)) == order


@pytest.mark.parametrize(
    ("drill", "kind"), [("line-cut", "line"), ("gateway-loss", "line"), ("edge-loss", "hospital")]
)
def test_what_a_drill_breaks_is_on_its_workloads_way(drill: str, kind: str) -> None:
    """Through the public door nothing crosses the line, and a figure would speak of something else."""
    assert shipped()[drill].workload.kind == kind


def test_the_file_of_a_drill_has_its_name() -> None:
    folder = Path(__file__).parents[3] / "runbooks" / "drills" / "library"
    assert {p.stem for p in folder.glob("*.yaml")} == set(shipped())


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(BadInputError) as refused:
        find_drill("mysql-writer-kil")
    assert "mysql-writer-kill" in refused.value.hint


def test_an_unknown_fault_is_named_with_its_place(tmp_path: Path) -> None:
    text = (PAGES.parent / "drills" / "library" / "mysql-writer-kill.yaml").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("process-killed", "process-kiled"), encoding="utf-8")
    with pytest.raises(BadInputError, match=r"method\.0\.faults\.0.*process-kiled"):
        find_drill(str(path))


def test_what_is_no_yaml_and_what_is_no_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    with pytest.raises(BadInputError, match="no file"):
        find_drill(str(path))
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(BadInputError, match="is not YAML"):
        find_drill(str(path))


def test_a_fault_that_is_there_twice_is_refused_with_its_words(tmp_path: Path) -> None:
    text = (PAGES.parent / "drills" / "library" / "mysql-writer-kill.yaml").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    fault = "{kind: process-killed, host: writer, unit: mysql}"
    assert fault in text
    path.write_text(text.replace(fault, f"{fault}, {fault}"), encoding="utf-8")
    with pytest.raises(BadInputError, match="the same fault twice: kind=process-killed host=writer"):
        find_drill(str(path))


def test_faults_add_up_in_sequence_and_in_parallel(tmp_path: Path) -> None:
    text = (PAGES.parent / "drills" / "library" / "mysql-writer-kill.yaml").read_text(encoding="utf-8")
    before, _, after = text.partition("method:\n")
    method = """method:
  - faults: [{kind: dns-gone, host: client}, {kind: line-cut, gateway: all}]
    hold_s: 2
  - faults: [{kind: process-killed, host: writer, unit: mysql}]
"""
    path = tmp_path / "mine.yaml"
    path.write_text(before + method + after[after.index("objectives") :], encoding="utf-8")
    drill = find_drill(str(path))
    assert [len(phase.faults) for phase in drill.method] == [2, 1]
    assert [fault.kind for fault in drill.faults] == ["dns-gone", "line-cut", "process-killed"]
