"""What can go wrong with Zabbix beyond a plain failure."""

from __future__ import annotations

from infra.errors import YiyunError


class RefusedLoginError(YiyunError):
    """The account or token is not (or no longer) accepted."""
