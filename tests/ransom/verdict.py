"""What the figures of an attack say. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MAY = {"overwrite"}
"""What a host must be able to do: it adds. Where versions are kept, what is below stays."""


def table(findings: Iterable[dict[str, str]]) -> dict[str, dict[str, int]]:
    """Attack → answer → how often."""
    counted: dict[str, Counter[str]] = {}
    for one in findings:
        counted.setdefault(one["attack"], Counter())[one["answer"]] += 1
    return {attack: dict(sorted(answers.items())) for attack, answers in counted.items()}


def problems(result: dict[str, Any], owners: Collection[str]) -> list[str]:
    """What must not be. Empty: everything was refused that must be, and all came back."""
    found = [
        f"{attack}: done {answers['done']} times"
        for attack, answers in result["attacks"].items()
        if attack not in MAY and answers.get("done")
    ]
    found += [
        f"{attack}: {answer}"
        for attack, answers in result["attacks"].items()
        for answer in answers
        if answer.startswith("no answer")
    ]
    found += [
        f"{host} holds the key of {account}"
        for host, accounts in result["credentials"].items()
        for account in accounts
        if account in owners
    ]
    for bucket, after in result["buckets"].items():
        if after["versions_lost"]:
            found.append(f"{bucket}: {after['versions_lost']} versions are gone")
        if after["hidden"]:
            found.append(f"{bucket}: {after['hidden']} objects are hidden")
        if after["shortened"]:
            found.append(f"{bucket}: the retention of {after['shortened']} objects is shorter")
    if not any(bucket["overwritten"] for bucket in result["buckets"].values()):
        found.append("nothing was written over: the attack did not take place")
    if result["seen"] is not True:
        found.append("reading the copies back did not show the attack")
    found += [f"as of before: {text}" for text in result["read_as_of_before"]]
    if not result["restored"]["same"]:
        found.append("what came back is not what was there before")
    return found
