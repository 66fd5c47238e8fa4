"""The platform: the reverse proxy, the application, the line, and the collector on the premises."""

from __future__ import annotations

from infra.services.model import LOAD_BALANCER, SITES, Caller, Port, Save, SecretFile, SecretSpec, Service

PROXY = Service(
    name="proxy",
    roles=("app",),
    purpose="Nginx: TLS, limits, headers; a second door for the line with mutual TLS",
    listens=(
        Port("https", 443, "pages and API", (Caller(LOAD_BALANCER),)),
        Port("line", 8444, "results from the premises", (Caller("collector", over_line=True),)),
    ),
    units=("nginx",),
    owned_files=("/etc/nginx/nginx.conf", "/etc/nginx/conf.d/platform.conf"),
    certificate=True,
    health="https /healthz",
    keeps_nothing="a way to the platform",
)
PLATFORM = Service(
    name="platform",
    roles=("app",),
    purpose="the health platform",
    listens=(Port("https", 8000, "application", (Caller("proxy"),)),),
    units=("yiyun-app",),
    owned_files=("/etc/yiyun-app/app.env",),
    secrets=(
        SecretSpec("app-session", 48, kind="session-key"),
        SecretSpec("app-field-key", kind="field-key"),
        SecretSpec("app-operator", 20, kind="platform-account"),
        SecretSpec("mysql-app", kind="database-account"),
        SecretSpec("mysql-migrate", kind="database-account"),
    ),
    secret_files=(
        SecretFile("/etc/yiyun-app/secrets/app-session", "root", "yiyun-app", 0o640),
        SecretFile("/etc/yiyun-app/secrets/app-field-key", "root", "yiyun-app", 0o640),
        SecretFile("/etc/yiyun-app/secrets/mysql-app", "root", "yiyun-app", 0o640),
        SecretFile("/etc/yiyun-app/secrets/mysql-migrate"),
    ),
    certificate=True,
    health="https /readyz",
    keeps_nothing="its data is in mysql and object storage",
)
LINE_GATEWAY = Service(
    name="line-gateway",
    roles=("gateway",),
    purpose="cloud end of the encrypted line",
    listens=(Port("wireguard", 51820, "tunnel", (Caller(SITES),), "udp"),),
    units=("wg-quick@wg0",),
    owned_files=("/etc/wireguard/wg0.conf", "/etc/nftables.d/line.nft"),
    secret_files=(SecretFile("/etc/wireguard/wg0.conf"),),
    secrets=(SecretSpec("wireguard", per_host=True, kind="tunnel-key"),),
    keeps_nothing="keys are the estate's secrets",
)
LINE_PEER = Service(
    name="line-peer",
    roles=("edge",),
    purpose="premises end of the line: starts both tunnels and chooses the path",
    units=("yiyun-line",),
    owned_files=("/etc/wireguard/wg0.conf", "/etc/wireguard/wg1.conf", "/etc/yiyun-line.json"),
    secret_files=(SecretFile("/etc/wireguard/wg0.conf"), SecretFile("/etc/wireguard/wg1.conf")),
    secrets=(SecretSpec("wireguard", per_host=True, kind="tunnel-key"),),
    keeps_nothing="keys are the estate's secrets",
)
COLLECTOR = Service(
    name="collector",
    roles=("edge",),
    purpose="the front-end machine: takes what the hospitals send, stores it, forwards it over the line",
    listens=(Port("mllp", 2575, "HL7 v2", (Caller("hospital-system"),)),),
    units=("yiyun-gateway",),
    data_paths=("/data/collector",),
    owned_files=("/etc/yiyun-gateway/gateway.toml",),
    certificate=True,
    health="yiyun-gateway status",
    saves=(Save("sqlite", ("/data/collector/store.db",)),),
)
HOSPITAL_SYSTEM = Service(
    name="hospital-system",
    roles=("hospital",),
    purpose="a hospital's laboratory system with a real database, sending HL7 v2",
    units=("postgresql", "lab-hospital-sender"),
    keeps_nothing="the hospital's own affair",
    external=True,
)
