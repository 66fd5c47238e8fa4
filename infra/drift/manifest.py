"""What the tasks of a role name, as the Ansible callback saw it: which role puts what right. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from infra.drift.compare import is_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from infra.drift.compare import Difference

Manifest: TypeAlias = dict[str, frozenset[str]]
"""Part of the playbook (a role's tag) → the words its tasks used on one host."""

MAX_WORD = 200
CONTENTS = frozenset({"content", "stdin", "_original_basename", "_diff_peek", "checksum"})
"""Arguments that hold what goes into a file, or Ansible's own business, and name nothing."""
TEMPORARY = ("/root/.ansible", "/.ansible")
_PATH = re.compile(r"(?<![\w}*])/[\w.@+*/-]+")
_BARE = re.compile(r"[\w.@+-]+")
_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}")


def words_of(value: Any) -> set[str]:
    """Names in a task's arguments: paths, packages, units, users. An expression becomes `*`."""
    if isinstance(value, dict):
        named = {k: v for k, v in value.items() if k not in CONTENTS and not str(k).startswith("_ansible")}
        return {word for item in named.values() for word in words_of(item)}
    if isinstance(value, list | tuple):
        return {word for item in value for word in words_of(item)}
    if not isinstance(value, str) or not value:
        return set()
    text = _EXPRESSION.sub("*", value)
    if "\n" not in text and len(text) <= MAX_WORD and _BARE.fullmatch(text):
        return {text}
    paths = {p.rstrip("/.") for p in _PATH.findall(text) if len(p) <= MAX_WORD}
    paths = {p for p in paths if not p.startswith(TEMPORARY)}
    return {p for p in paths if len(p.partition("*")[0]) > 1}


def manifests(events: Iterable[Mapping[str, Any]]) -> dict[str, Manifest]:
    """Host → what each part named there, from the events of one run."""
    found: dict[str, dict[str, set[str]]] = {}
    for event in events:
        if event.get("event") == "names":
            words = found.setdefault(str(event["host"]), {}).setdefault(str(event["part"]), set())
            words.update(str(w) for w in event["words"])
    return {host: {part: frozenset(w) for part, w in parts.items()} for host, parts in found.items()}


def parts_for(difference: Difference, manifest: Manifest) -> tuple[str, ...]:
    """Parts of the playbook that name a thing: those that make it, and those that take it up.

    A file that no task names belongs to those that name its folder: its own name was an expression.
    """
    for name in (difference.name, difference.name.rpartition("/")[0]):
        found = tuple(sorted(part for part, words in manifest.items() if name and is_named(name, words)))
        if found or difference.kind != "File":
            return found
    return ()
