"""A soak's hands in a lab: it waits for the estate, runs a drill, keeps the result file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.errors import YiyunError
from runbooks.drills.about import People, whoever_runs_this
from runbooks.drills.catalogue import find_breaking
from runbooks.drills.conduct import conduct
from runbooks.drills.faults.tool import Place
from runbooks.drills.ground import LabGround
from runbooks.drills.ran import Ran, read_ran
from runbooks.drills.reports.publish import KEY, sign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra.estate.model import Estate
    from infra.paths import EstatePaths
    from runbooks.drills.soak import Draw, Result

WHOLE_SECONDS = 240.0
"""How long an estate may need to be whole before the next drill: a member that is cloned takes minutes."""
PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class LabHands:
    """Implements `runbooks.drills.soak.Hands`."""

    estate: Estate
    paths: EstatePaths
    out: Path
    progress: Callable[[str], None]

    def wait_until_whole(self, drill: str) -> None:
        """Look until the drill's hypothesis holds. Raises YiyunError naming what does not."""
        ground = LabGround(Place(self.estate, self.paths, "soak"))
        until = time.monotonic() + WHOLE_SECONDS
        while True:
            seen = [ground.observe(probe) for probe in find_breaking(drill).hypothesis]
            wrong = [f"{o.probe}: {o.text}" for o in seen if not o.holds]
            if not wrong:
                return
            if time.monotonic() > until:
                raise YiyunError(
                    f"not whole after {WHOLE_SECONDS:.0f} s: {'; '.join(wrong)}", hint="yiyun status"
                )
            self.progress(f"waiting until the estate is whole: {wrong[0]}")
            time.sleep(PAUSE_SECONDS)

    def run(self, draw: Draw) -> Ran:
        """Run one drill. Raises YiyunError."""
        self.progress(f"drill {draw.number}: {draw.drill}")
        people = People(whoever_runs_this())
        folder, _ = conduct(
            find_breaking(draw.drill), self.estate, self.paths, draw.seed, people, self.progress
        )
        sign(folder, self.paths, KEY.private())
        return read_ran(folder)

    def keep(self, result: Result) -> None:
        """The file as a whole or as it was before, never a half of it. Raises YiyunError."""
        new = self.out.with_name(f"{self.out.name}.new")
        try:
            new.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
            new.replace(self.out)
        except OSError as error:
            raise YiyunError(
                f"{self.out}: {error.strerror}", hint="free space; the evidence is kept, and the file goes on"
            ) from None
