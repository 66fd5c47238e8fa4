"""Zabbix as code: what it should hold is derived from the estate, compared and applied."""

from monitoring.sync import drift

__all__ = ["drift"]
