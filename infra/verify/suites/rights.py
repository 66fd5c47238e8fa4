"""What each of our database accounts may do, written apart from the role that grants it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROW_RIGHTS = {"SELECT", "INSERT", "UPDATE", "DELETE"}
SCHEMA_RIGHTS = {
    *ROW_RIGHTS,
    *(
        "CREATE",
        "DROP",
        "REFERENCES",
        "INDEX",
        "ALTER",
        "CREATE TEMPORARY TABLES",
        "CREATE VIEW",
        "SHOW VIEW",
    ),
}
RIGHTS: dict[str, dict[str, set[str]]] = {
    "yiyun_app": {"yiyun": ROW_RIGHTS},
    "yiyun_migrate": {"yiyun": SCHEMA_RIGHTS},
    "yiyun_health": {"performance_schema": {"SELECT"}, "yiyun_probe.proof": {"SELECT", "UPDATE"}},
    "yiyun_drill": {"yiyun_drill": {*ROW_RIGHTS, "CREATE", "DROP"}},
    # It copies a whole member (BACKUP_ADMIN), so to read every table is no more.
    "yiyun_backup": {
        "*": {"SELECT", "RELOAD", "PROCESS", "REPLICATION SLAVE", "REPLICATION CLIENT", "BACKUP_ADMIN"}
    },
    "yiyun_group": {
        "*": {"REPLICATION SLAVE", "CONNECTION_ADMIN", "BACKUP_ADMIN", "GROUP_REPLICATION_STREAM"}
    },
}
"""Account → place (`*`, a schema, a table) → rights. The administrator's has all, from members only."""


def surplus_rights(rights: Iterable[Sequence[str]]) -> list[str]:
    """Rights that an account of ours has and should not. `rights`: (`'user'@'host'`, place, right)."""
    found: list[str] = []
    for grantee, place, right in rights:
        user = grantee.split("'")[1]
        if user == "yiyun_admin" or (place == "*" and right == "USAGE"):
            continue
        allowed = RIGHTS.get(user, {}).get(place, set[str]())
        if right not in allowed:
            found.append(f"{user} may {right} on {place}")
    return sorted(set(found))
