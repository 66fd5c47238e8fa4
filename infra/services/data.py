"""The data tier: MySQL with its router, and Oracle that awaits its media."""

from __future__ import annotations

from infra.services.model import Caller, Port, Save, SecretFile, SecretSpec, Service

MYSQL = Service(
    name="mysql",
    roles=("db",),
    purpose="three members of Group Replication, one writer at a time",
    listens=(
        Port(
            "mysql",
            3306,
            "queries; recovery between members",
            (Caller("db-router"), Caller("mysql"), Caller("backup-log")),
        ),
        Port("group", 33061, "Paxos between members", (Caller("mysql"),)),
    ),
    units=("mysql",),
    data_paths=("/data/mysql",),
    owned_files=("/etc/mysql/mysql.conf.d/yiyun.cnf", "/etc/sysctl.d/60-yiyun-mysql.conf"),
    secrets=(
        SecretSpec("mysql-root", kind="database-account"),
        SecretSpec("mysql-group", kind="database-account"),
        SecretSpec("mysql-app", kind="database-account"),
        SecretSpec("mysql-migrate", kind="database-account"),
        SecretSpec("mysql-health", kind="database-account"),
        SecretSpec("mysql-drill", kind="database-account"),
    ),
    secret_files=(
        SecretFile("/etc/yiyun/mysql-group.json"),
        SecretFile("/etc/mysql/yiyun-mysql.key", "mysql", "mysql", 0o400),
    ),
    certificate=True,
    health="group member ONLINE and a commit within its deadline",
    saves=(Save("mysql"),),
)
MYSQL_HEALTH = Service(
    name="mysql-health",
    roles=("db",),
    purpose="says to the routers whether this member may be the writer; its last word is a commit",
    listens=(
        Port(
            "health",
            9201,
            "health of the member; members' hosts greet each other",
            (Caller("db-router"), Caller("mysql-health")),
        ),
    ),
    units=("yiyun-mysql-health",),
    owned_files=(
        "/etc/yiyun-mysql-health.json",
        "/etc/nftables.d/group-fence.nft",
        "/etc/systemd/system/mysql.service.d/10-yiyun-health.conf",
    ),
    secrets=(SecretSpec("mysql-health", kind="database-account"),),
    secret_files=(SecretFile("/etc/yiyun/mysql-health.password", "root", "yiyun-mysql-health", 0o640),),
    keeps_nothing="what it says is of this moment",
)
DB_ROUTER = Service(
    name="db-router",
    roles=("app",),
    purpose="HAProxy beside each app host: holds one writer, agreed between the routers by their peers",
    listens=(Port("peers", 10000, "the writer, shared between routers", (Caller("db-router"),)),),
    units=("haproxy", "yiyun-db-keeper"),
    owned_files=(
        "/etc/haproxy/haproxy.cfg",
        "/etc/systemd/system/yiyun-db-keeper.service",
    ),
    certificate=True,
    health="exactly one writer",
    keeps_nothing="what it holds is agreed anew",
)
ORACLE = Service(
    name="oracle",
    roles=("ora",),
    purpose="Oracle with Data Guard; awaits media that the user supplies",
    listens=(Port("listener", 1521, "redo transport and observer", (Caller("oracle"),)),),
    saves=(Save("rman"),),
)
