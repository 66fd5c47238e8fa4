from __future__ import annotations

from infra.engine.changes import Change, Preview, UpResult
from infra.provider.differences import PropertyChange


def test_nothing_to_change_is_one_sentence() -> None:
    assert Preview(()).as_markdown() == "Nothing to change."
    assert UpResult({}).changed == 0


def test_markdown_names_each_property_with_both_values_and_what_stays() -> None:
    rule = PropertyChange("rules", [{"why": "a|b"}], [])
    plan = Preview(
        (Change("host-a", "Host", "create"), Change("securitygroup-a", "SecurityGroup", "update", (rule,))),
        ("disk-a",),
    )
    lines = plan.as_markdown().splitlines()
    assert lines[0] == "**1 to create, 1 to update**"
    assert "| + create | `host-a` | | | |" in lines
    assert "| ~ update | `securitygroup-a` | rules | `[]` | `[{'why': 'a\\|b'}]` |" in lines
    assert lines[-1] == "Protected, stays: `disk-a`"


def test_the_json_object_keeps_the_contracts_names() -> None:
    change = Change("host-a", "Host", "update", (PropertyChange("image", "b", "a"),)).as_json()
    assert change == {
        "resource": "host-a",
        "kind": "Host",
        "action": "update",
        "properties": [{"name": "image", "declared": "b", "actual": "a"}],
        "source": "cloud",
    }
