"""Why a report is not believed."""

from __future__ import annotations

from infra.errors import YiyunError


class RefusedReportError(YiyunError):
    """A report failed a check. `check` names it: what a stranger is told first; `told` says how."""

    def __init__(self, check: str, message: str, *, where: str = "") -> None:
        super().__init__(
            f"{check}: {message}",
            hint="do not rely on it; ask for the original and compare the key's fingerprint",
            where=where,
        )
        self.check, self.told = check, message
