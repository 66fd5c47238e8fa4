"""A host as the suites see it: its declaration, its facts (gathered once), and a shell for the rest."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from infra.estate.addresses import host_addresses
from infra.estate.endpoints import endpoints
from infra.estate.flows import flows
from infra.services import data
from infra.services.catalogue import service_named, services_of

if TYPE_CHECKING:
    from infra.estate.model import Estate
    from infra.estate.model import Host as DeclaredHost
    from infra.services.model import Service

TLS = "/etc/yiyun/tls"
DOORS = {
    "proxy": (("https", "/healthz"), ("line", "/readyz")),
    "platform": (("https", "/readyz"),),
    "depot": (("https", "/"),),
    "zabbix-frontend": (("https", "/"),),
}
"""Service → its TLS ports and what to ask there."""
TLS_PORTS = {
    *(f"{service}.{port}" for service, ports in DOORS.items() for port, _ in ports),
    "mysql.mysql",
    "db-router.peers",
}
"""Every port that speaks TLS."""
MUTUAL_TLS_PORTS = {"db-router.peers"}
"""Of those, the ones that let nobody in without a certificate; ours is the service's own."""
MYSQL_PORT = data.MYSQL.port("mysql")
MYSQL = (
    *("mysql", "--defaults-file=/etc/mysql/mysql.conf.d/yiyun.cnf", "--user=root"),
    *("--batch", "--raw", "--skip-column-names", "--execute"),
)
QUERIES = {
    "members": "SELECT JSON_ARRAYAGG(JSON_OBJECT('host', MEMBER_HOST, 'state', MEMBER_STATE))"
    " FROM performance_schema.replication_group_members",
    "accounts": "SELECT JSON_ARRAYAGG(JSON_OBJECT('user', User, 'host', Host, 'plugin', plugin,"
    " 'tls', ssl_type, 'locked', account_locked, 'empty', authentication_string = '', 'super', Super_priv,"
    " 'grant', Grant_priv, 'file', File_priv)) FROM mysql.user",
    "variables": "SELECT JSON_OBJECTAGG(VARIABLE_NAME, VARIABLE_VALUE)"
    " FROM performance_schema.global_variables WHERE VARIABLE_NAME IN ('datadir', 'require_secure_transport',"
    " 'tls_version', 'sync_binlog', 'local_infile', 'innodb_flush_log_at_trx_commit', 'gtid_mode',"
    " 'transaction_isolation', 'skip_name_resolve', 'group_replication_ssl_mode',"
    " 'group_replication_recovery_use_ssl', 'group_replication_recovery_ssl_verify_server_cert',"
    " 'group_replication_single_primary_mode', 'group_replication_exit_state_action')",
    "rights": "SELECT JSON_ARRAYAGG(JSON_ARRAY(GRANTEE, place, PRIVILEGE_TYPE)) FROM ("
    "SELECT GRANTEE, '*' AS place, PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES UNION ALL "
    "SELECT GRANTEE, TABLE_SCHEMA, PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES UNION ALL "
    "SELECT GRANTEE, CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), PRIVILEGE_TYPE"
    " FROM information_schema.TABLE_PRIVILEGES) AS r WHERE GRANTEE LIKE '''yiyun\\_%'",
    "app_grants": "SELECT JSON_ARRAYAGG(PRIVILEGE_TYPE) FROM information_schema.SCHEMA_PRIVILEGES"
    " WHERE GRANTEE LIKE '%yiyun_app%'",
    "app_global_grants": "SELECT JSON_ARRAYAGG(PRIVILEGE_TYPE) FROM information_schema.USER_PRIVILEGES"
    " WHERE GRANTEE LIKE '%yiyun_app%'",
}

GATHERERS = ("gather_host", "gather_tls", "gather")
"""Modules that run on the host, the last of them as the program."""
BOOT = """
import json, sys, types
for name, text in json.loads(sys.argv[2]).items():
    name = f"infra.verify.suites.{name}"
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
module.main()
"""

Facts = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """One host under test."""

    estate: Estate
    declared: DeclaredHost
    facts: Facts
    shell: Any
    """pytest-testinfra's connection."""

    @property
    def name(self) -> str:
        """The host's name."""
        return self.declared.name

    @property
    def address(self) -> str:
        """Its private address."""
        return str(host_addresses(self.estate)[self.name])

    @property
    def health_url(self) -> str:
        """Where its MySQL health agent says whether the member may be the writer: status 200 or 503."""
        return _health_url(self.estate, self.declared).removesuffix("state")

    @property
    def services(self) -> tuple[Service, ...]:
        """Services it should run."""
        return services_of(self.declared)

    def json_of(self, command: str) -> Any:
        """What a gathered command printed, as JSON. Fails the check when it did not succeed."""
        answer = self.facts["commands"][command]
        assert answer["code"] == 0, f"{command}: {answer['err'].strip() or answer['out'].strip()}"
        return json.loads(answer["out"])

    def listening(self, port: int, protocol: str = "tcp") -> set[str]:
        """Addresses at which somebody listens at a port."""
        return {
            x["address"] for x in self.facts["listeners"] if (x["port"], x["protocol"]) == (port, protocol)
        }


def question_for(estate: Estate, host: DeclaredHost) -> dict[str, Any]:
    """What to gather on a host. Pure."""
    services = services_of(host)
    names = {s.name for s in services}
    files = {path for s in services for path in (*s.owned_files, *s.data_paths)}
    files |= {f"{TLS}/ca.crt", "/", "/data", *(f"{TLS}/{s.name}.crt" for s in services if s.certificate)}
    commands: dict[str, list[str]] = {}
    if "mysql" in names:
        commands |= {f"mysql-{name}": [*MYSQL, sql] for name, sql in QUERIES.items()}
        commands["mysql-health"] = ["curl", "--silent", "--max-time", "3", _health_url(estate, host)]
    if "db-router" in names:
        commands["db-writer"] = ["yiyun-db-writer"]
    if names & {"line-gateway", "line-peer"}:
        commands["wg-handshakes"] = ["wg", "show", "all", "latest-handshakes"]
        commands["ruleset"] = ["nft", "list", "ruleset"]
    if "line-peer" in names:
        commands["line"] = ["cat", "/run/yiyun-line.json"]
    if "backup-log" in names:
        commands["backup-log"] = ["yiyun-backup", "status"]
    if "object-copy" in names:
        commands["object-copy"] = ["/usr/local/lib/yiyun/object_copy.py", "--status"]
    if "watch" in names:
        commands["watch"] = ["cat", "/run/yiyun-watch/state.json"]
    if "collector" in names:
        commands["collector"] = ["runuser", "-u", "yiyun-gateway", "--", "yiyun-gateway", "status", "--json"]
    commands["wall"] = ["nft", "--json", "list", "table", "inet", "yiyun_wall"]
    commands["wall-status"] = ["/usr/local/lib/yiyun/host_wall.py", "status"]
    commands["audit-rules"] = ["auditctl", "-l"]
    commands["chrony"] = ["chronyc", "-n", "-c", "tracking"]
    return {
        "units": sorted({u for s in services for u in s.units}),
        "files": sorted(files),
        "doors": [*_own_doors(estate, host), *_far_doors(estate, host), *_endpoint_doors(estate, host)],
        "tls": _tls_ports(estate, host),
        "outside": [[str(n.network_address), 22] for n in estate.internet.operators[:1]],
        "commands": commands,
    }


def _health_url(estate: Estate, host: DeclaredHost) -> str:
    service = service_named("mysql-health")
    port = service.port("health").number if service else 0
    return f"http://{host_addresses(estate)[host.name]}:{port}/state"


def _own_doors(estate: Estate, host: DeclaredHost) -> list[dict[str, Any]]:
    address = str(host_addresses(estate)[host.name])
    return [
        {
            "name": f"{service.name}.{port}",
            "address": address,
            "port": service.port(port).number,
            "path": path,
            "server_name": f"{host.name}.{estate.domain}",
            "own": True,
        }
        for service in services_of(host)
        for port, path in DOORS.get(service.name, ())
    ]


def _tls_ports(estate: Estate, host: DeclaredHost) -> list[dict[str, Any]]:
    address = str(host_addresses(estate)[host.name])
    return [
        {
            "name": f"{service.name}.{port.name}",
            "address": address,
            "port": port.number,
            "speaks": "mysql" if port == MYSQL_PORT else "",
            "certificate": service.name if f"{service.name}.{port.name}" in MUTUAL_TLS_PORTS else "",
        }
        for service in services_of(host)
        for port in service.listens
        if port.protocol == "tcp" and f"{service.name}.{port.name}" in TLS_PORTS
    ]


def _far_doors(estate: Estate, host: DeclaredHost) -> list[dict[str, Any]]:
    """The collector at the platform's line door: over the line, with its certificate and without."""
    proxy = service_named("proxy")
    if proxy is None or "collector" not in {s.name for s in services_of(host)}:
        return []
    return [
        {
            "name": f"{app.name} {how}",
            "address": str(host_addresses(estate)[app.name]),
            "port": proxy.port("line").number,
            "path": "/readyz",
            "server_name": f"{app.name}.{estate.domain}",
            "certificate": certificate,
            "own": False,
        }
        for app in estate.cloud_hosts
        if set(app.roles) & set(proxy.roles)
        for how, certificate in (("with certificate", "collector"), ("without certificate", ""))
    ]


def _endpoint_doors(estate: Estate, host: DeclaredHost) -> list[dict[str, Any]]:
    """Endpoints of the provider that this host calls, as anybody: without a key."""
    called = {f.destination for f in flows(estate) if f.source == host.name and f.path == "managed"}
    return [
        {
            "name": endpoint.name,
            "address": str(endpoint.address or endpoint.host_name),
            "port": endpoint.service.port("s3").number,
            "path": "/",
            "server_name": endpoint.host_name,
            "own": False,
        }
        for endpoint in endpoints(estate)
        if endpoint.name in called
    ]


def gather_command(question: dict[str, Any]) -> str:
    """The shell command that gathers on a host."""
    folder = resources.files("infra.verify.suites")
    sources = {name: folder.joinpath(f"{name}.py").read_text(encoding="utf-8") for name in GATHERERS}
    return shlex.join(["python3", "-c", BOOT, json.dumps(question), json.dumps(sources)])
