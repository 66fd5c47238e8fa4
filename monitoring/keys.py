"""What a rotation of pre-shared keys asks of Zabbix (`infra.rotation.model.Monitoring`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitoring.look import wait_until_watched
from monitoring.sync import apply

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.estate.model import Estate
    from infra.paths import EstatePaths


@dataclass(frozen=True)
class MonitoringKeys:
    """The estate's Zabbix, as rotations see it."""

    estate: Estate
    paths: EstatePaths
    progress: Callable[[str], None]

    def take_up_keys(self) -> None:
        """Give Zabbix the keys that the store holds. Raises YiyunError when it does not answer."""
        apply(self.estate, self.paths, self.progress)

    def wait_until_heard(self, *, since: float) -> None:
        """Wait until every agent was heard after `since` (Unix seconds). Raises YiyunError."""
        wait_until_watched(self.estate, self.paths, self.progress, since=since)
