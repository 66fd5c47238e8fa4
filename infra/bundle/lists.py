"""Which Debian packages the roles need: read from each role's `meta/packages.yml`, written nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML, YAMLError

from infra.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path


class PackageList(BaseModel):
    """Packages of one role. `pins`: patterns that may come from a suite other than stable."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    packages: tuple[str, ...]
    suite: Literal["stable", "sid"] = "stable"
    pins: tuple[str, ...] = ()


def package_lists(playbooks: Path) -> dict[str, PackageList]:
    """Package lists by role, of all roles that need packages. Raises BadInputError naming a wrong file."""
    found: dict[str, PackageList] = {}
    for path in sorted(playbooks.glob("roles/*/meta/packages.yml")):
        try:
            found[path.parents[1].name] = PackageList.model_validate(
                YAML(typ="safe").load(path.read_text(encoding="utf-8"))
            )
        except (ValidationError, YAMLError) as error:
            raise BadInputError(
                f"{path}: not a package list: {str(error).splitlines()[-1].strip()}",
                hint="write `packages: [name, …]`, and `suite: sid` with `pins: [pattern, …]` where needed",
                where=str(path),
            ) from error
    return found


def preferences(wanted: PackageList) -> str:
    """APT preferences of a role: nothing from sid, or only what its pins name."""
    if wanted.suite == "stable":
        return _pin("*", -1)
    return _pin(" ".join(wanted.pins or wanted.packages), 990) + "\n" + _pin("*", 100)


def _pin(packages: str, priority: int) -> str:
    return f"Package: {packages}\nPin: release n=sid\nPin-Priority: {priority}\n"
