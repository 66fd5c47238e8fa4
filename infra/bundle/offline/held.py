"""What this machine's caches hold, so that a person sees whether `up` would need a registry."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from infra.bundle.build import bundles_folder, input_hash, is_whole, source_root
from infra.bundle.offline.build import APPLIANCE
from infra.bundle.offline.use import PROGRAMS
from infra.drivers.lab.images import RECIPES, image_folder, newest_build
from infra.engine.golang import built
from infra.estate.plan import provisioned_hosts

if TYPE_CHECKING:
    from infra.bundle.offline.model import Kind
    from infra.estate.model import Estate


@dataclass(frozen=True)
class Held:
    """One thing that `up` needs, and whether it is here already."""

    kind: Kind
    name: str
    version: str
    here: bool

    def as_json(self) -> dict[str, Any]:
        """An entry of `parts`."""
        return asdict(self)


def held(estate: Estate) -> list[Held]:
    """Everything that `up` of that estate would fetch or build, and whether it has to."""
    inputs = input_hash(source_root())
    found = [Held("hosts", "hosts", inputs, is_whole(bundles_folder() / inputs))]
    for name in sorted({estate.image_of(h) for h in provisioned_hosts(estate)} | {APPLIANCE}):
        recipe = RECIPES.get(name)
        build = newest_build(image_folder(name, recipe.digest)) if recipe else None
        found.append(
            Held("image", name, build.name.removeprefix("build-") if build else "", build is not None)
        )
    found += [Held("program", p.name, p.version, built(p) is not None) for p in PROGRAMS.values()]
    return found
