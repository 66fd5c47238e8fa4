"""Monitoring: Zabbix on the operations host, an agent on every host, a proxy on the premises."""

from __future__ import annotations

from infra.services.model import OPERATORS, Caller, Port, Save, SecretFile, SecretSpec, Service

MONITORED_ROLES = ("app", "db", "ora", "ops", "edge")
"""Hosts with an agent. A hospital's own systems are not ours to install on: they are watched from beside."""
PSK_LENGTH = 64
"""Hexadecimal digits of a pre-shared key: 256 bits, the most Zabbix takes."""

ZABBIX_DATABASE = Service(
    name="zabbix-database",
    roles=("ops",),
    purpose="PostgreSQL of Zabbix; reached by its socket only, each user by its own name",
    units=("postgresql@17-main",),
    data_paths=("/data/postgresql",),
    owned_files=("/etc/postgresql/17/main/conf.d/yiyun.conf", "/etc/postgresql/17/main/pg_hba.conf"),
    secrets=(SecretSpec("zabbix-admin", 24),),
    health="the server reads and writes it",
    saves=(Save("dump", command=("runuser", "-u", "zabbix", "--", "pg_dump", "--format=custom", "zabbix")),),
)
ZABBIX_SERVER = Service(
    name="zabbix-server",
    roles=("ops",),
    purpose="takes what agents and proxies send, and judges it",
    listens=(
        Port(
            "trapper",
            10051,
            "values from agents and proxies, under their keys",
            (
                Caller("zabbix-agent"),
                Caller("zabbix-proxy", over_line=True),
                Caller("watch", over_line=True),
            ),
        ),
    ),
    units=("zabbix-server",),
    owned_files=("/etc/zabbix/yiyun_server.conf",),
    health="zabbix.stats answers",
    keeps_nothing="its data is in zabbix-database",
)
ZABBIX_FRONTEND = Service(
    name="zabbix-frontend",
    roles=("ops",),
    purpose="Zabbix's pages and API, for operators and for `yiyun monitor`",
    listens=(Port("https", 443, "pages and API", (Caller(OPERATORS),)),),
    units=("nginx", "php8.4-fpm"),
    owned_files=(
        "/etc/nginx/conf.d/zabbix.conf",
        "/etc/php/8.4/fpm/pool.d/zabbix.conf",
        "/etc/zabbix/zabbix.conf.php",
    ),
    secrets=(SecretSpec("zabbix-oncall", 20),),
    certificate=True,
    health="https /api_jsonrpc.php apiinfo.version",
    keeps_nothing="its data is in zabbix-database",
)
ZABBIX_PROXY = Service(
    name="zabbix-proxy",
    roles=("edge",),
    purpose="takes what the premises' agents send, keeps it on disk while the line is down",
    listens=(Port("trapper", 10051, "values from the premises' agents", (Caller("zabbix-agent"),)),),
    units=("zabbix-proxy",),
    data_paths=("/data/zabbix-proxy",),
    owned_files=("/etc/zabbix/yiyun_proxy.conf",),
    secret_files=(SecretFile("/etc/zabbix/proxy.psk", "root", "zabbix", 0o640),),
    secrets=(SecretSpec("zabbix-proxy-psk", PSK_LENGTH, per_host=True, kind="pre-shared-key"),),
    health="the server heard of it within seconds",
    keeps_nothing="a buffer: the server has what it sent",
)
ZABBIX_AGENT = Service(
    name="zabbix-agent",
    roles=MONITORED_ROLES,
    purpose="measures its host and sends it: active checks only, so it listens nowhere",
    units=("zabbix-agent2",),
    owned_files=("/etc/zabbix/yiyun_agent2.conf",),
    secret_files=(SecretFile("/etc/zabbix/agent.psk", "root", "zabbix", 0o640),),
    secrets=(SecretSpec("zabbix-agent-psk", PSK_LENGTH, per_host=True, kind="pre-shared-key"),),
    health="the server has its newest values",
    keeps_nothing="the server has what it sent",
)
WATCH = Service(
    name="watch",
    roles=("edge",),
    purpose="notices on the premises when the monitoring itself is silent",
    units=("yiyun-watch",),
    owned_files=("/etc/yiyun-watch.json",),
    health="/run/yiyun-watch/state.json says ok",
    keeps_nothing="what it says is of this moment",
)
