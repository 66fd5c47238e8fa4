"""Zabbix as code."""
