"""Parts of the playbook: what runs where, and from which inputs. Pure, except that it reads the playbooks.

A part is a role, or a piece of one, with a tag `part_NAME` of its own in `site.yml`.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PREFIX = "part_"
_IMPORTED = re.compile(r"(?:import|include)_role:\s*(?:\n\s+)?\{?\s*name:\s*(\w+)")


@dataclass(frozen=True)
class Part:
    """One part: its tag without the prefix, its tier's tag, the hosts' pattern, its roles."""

    name: str
    tier: str
    hosts: str
    roles: tuple[str, ...]
    play: str
    """Hash of the play that runs it."""

    def runs_on(self, groups: Mapping[str, frozenset[str]]) -> frozenset[str]:
        """Hosts of this part. `groups`: group of the inventory → hosts."""
        return frozenset[str]().union(*(groups.get(g, frozenset()) for g in self.hosts.split(":")))


def read_parts(playbooks: Path) -> tuple[Part, ...]:
    """Every part of `site.yml`, in its order. Raises ValueError for one without a tag of its own."""
    plays: list[dict[str, Any]] = YAML(typ="safe").load(playbooks / "site.yml")
    return tuple(part for play in plays for part in _parts_of(play, playbooks))


def _parts_of(play: dict[str, Any], playbooks: Path) -> Iterator[Part]:
    digest = hashlib.sha256(json.dumps(play, sort_keys=True).encode()).hexdigest()
    entries = [(r["role"], r["tags"]) for r in play.get("roles", [])]
    entries += [(t["ansible.builtin.import_role"]["name"], t["tags"]) for t in play.get("tasks", [])]
    for role, tags in entries:
        names = [t.removeprefix(PREFIX) for t in tags if t.startswith(PREFIX)]
        if len(names) != 1:
            raise ValueError(f"site.yml: {role} needs exactly one tag {PREFIX}NAME, it has {tags}")
        tier = next(t for t in tags if not t.startswith(PREFIX))
        yield Part(names[0], tier, play["hosts"], tuple(_with_imported(role, playbooks)), digest)


def _with_imported(role: str, playbooks: Path) -> Iterator[str]:
    """The role and the roles its tasks import."""
    yield role
    for path in sorted((playbooks / "roles" / role / "tasks").glob("*.yml")):
        for name in _IMPORTED.findall(path.read_text(encoding="utf-8")):
            if name != role:
                yield name


def groups_of(inventory: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Group → hosts, `all` among them, of an inventory as `infra.inventory` makes it."""
    groups = {
        name: frozenset(group["hosts"])
        for name, group in inventory.items()
        if name != "_meta" and "hosts" in group
    }
    return {**groups, "all": frozenset(inventory["_meta"]["hostvars"])}


def input_hashes(
    parts: tuple[Part, ...], inventory: Mapping[str, Any], playbooks: Path, bundle: str
) -> dict[str, dict[str, str]]:
    """Host → part → hash of everything the part's result there depends on.

    Role files, the play, the host's variables (secrets among them: only the hash is kept), what all hosts
    share, and the bundle. `bundle`: its identity.
    """
    groups = groups_of(inventory)
    shared = {"groups": {g: sorted(h) for g, h in groups.items()}, "vars": inventory["all"].get("vars", {})}
    common = _digest(shared) + bundle
    roles = {role: _folder_hash(playbooks / "roles" / role) for part in parts for role in part.roles}
    found: dict[str, dict[str, str]] = {}
    for host, variables in inventory["_meta"]["hostvars"].items():
        own = _digest(variables)
        found[host] = {
            part.name: _digest([common, own, part.play, [roles[r] for r in part.roles]])
            for part in parts
            if host in part.runs_on(groups)
        }
    return found


def _folder_hash(folder: Path) -> str:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return _digest([(str(p.relative_to(folder)), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
