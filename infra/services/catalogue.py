"""All services, and which of them a host runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.services.backup import BACKUP, BACKUP_LOG, BACKUP_PRUNING, BACKUP_RECOVERY, BACKUP_TRIAL
from infra.services.base import BASTION, BASTION_DOOR, DEPOT, HARDENING, HOST_FIREWALL, SSHD, TIME
from infra.services.data import DB_ROUTER, MYSQL, MYSQL_HEALTH, ORACLE
from infra.services.monitoring import (
    WATCH,
    ZABBIX_AGENT,
    ZABBIX_DATABASE,
    ZABBIX_FRONTEND,
    ZABBIX_PROXY,
    ZABBIX_SERVER,
)
from infra.services.platform import COLLECTOR, HOSPITAL_SYSTEM, LINE_GATEWAY, LINE_PEER, PLATFORM, PROXY
from infra.services.storage import OBJECT_COPY, OBJECT_MOUNT, OBJECT_STORAGE

if TYPE_CHECKING:
    from infra.estate.model import Host
    from infra.services.model import Service

SERVICES: tuple[Service, ...] = (
    BASTION,
    SSHD,
    HOST_FIREWALL,
    HARDENING,
    BASTION_DOOR,
    TIME,
    DEPOT,
    MYSQL,
    MYSQL_HEALTH,
    DB_ROUTER,
    ORACLE,
    OBJECT_STORAGE,
    OBJECT_MOUNT,
    OBJECT_COPY,
    PROXY,
    PLATFORM,
    LINE_GATEWAY,
    LINE_PEER,
    COLLECTOR,
    HOSPITAL_SYSTEM,
    ZABBIX_DATABASE,
    ZABBIX_SERVER,
    ZABBIX_FRONTEND,
    ZABBIX_PROXY,
    ZABBIX_AGENT,
    WATCH,
    BACKUP,
    BACKUP_LOG,
    BACKUP_PRUNING,
    BACKUP_RECOVERY,
    BACKUP_TRIAL,
)
KNOWN_ROLES = frozenset(role for service in SERVICES for role in service.roles)


def service_named(name: str) -> Service | None:
    """The service of that name, or None."""
    return next((service for service in SERVICES if service.name == name), None)


def services_of(host: Host) -> tuple[Service, ...]:
    """Services a host runs, by its roles."""
    return tuple(service for service in SERVICES if set(service.roles) & set(host.roles))
