"""Templates of the roles, rendered for the lab's own inventory."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

from infra.bundle.model import write_lock
from infra.estate.loading import load_estate
from infra.inventory import inventory
from infra.paths import EstatePaths
from infra.trust.material import Material
from runbooks.database.onhost.gate import FOLDER

ROLES = Path(__file__).parents[3] / "playbooks" / "roles"


@pytest.fixture(scope="module", autouse=True)
def _lookups() -> None:
    init_plugin_loader()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    estate = load_estate("lab")
    paths = EstatePaths("lab", tmp_path_factory.mktemp("state")).ensure()
    return inventory(estate, Material(estate, paths))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bundle")
    for name in ("debs/Packages", "wheels/yiyun-app.txt", "wheels/yiyun-gateway.txt", "tools/uv"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(name)
    write_lock(root, "inputs", [])
    return root


def render(lab: dict[str, Any], bundle: Path, host: str, role: str, template: str, **more: Any) -> str:
    loader = DataLoader()
    groups = {name: group["hosts"] for name, group in lab.items() if name not in {"all", "_meta"}}
    variables: dict[str, Any] = {
        **loader.load_from_file(str(ROLES / role / "defaults" / "main.yml"), trusted_as_template=True),
        **lab["all"]["vars"],
        **lab["_meta"]["hostvars"][host],
        "groups": groups,
        "inventory_hostname": host,
        "ansible_managed": "managed",
        "yiyun_bundle": str(bundle),
        **more,
    }
    text = (ROLES / role / "templates" / template).read_text(encoding="utf-8")
    return str(Templar(loader=loader, variables=variables).template(trust_as_template(text)))


def test_a_cloud_host_knows_the_cloud_and_not_the_hospital(lab: dict[str, Any], bundle: Path) -> None:
    text = render(lab, bundle, "app-1", "base", "hosts.j2")
    assert "10.20.0.10 ops-1.lab.yiyun.internal ops-1" in text.splitlines()
    assert "his-1" not in text


def test_the_hospital_knows_the_front_end_machine_only(lab: dict[str, Any], bundle: Path) -> None:
    names = re.findall(r"lab\.yiyun\.internal (\S+)", render(lab, bundle, "his-1", "base", "hosts.j2"))
    assert sorted(names) == ["edge-1", "his-1"]


@pytest.mark.parametrize(
    ("host", "uri"),
    [
        ("app-1", "https://ops-1.lab.yiyun.internal:8443/debs/"),
        ("edge-1", "https://ops-1.lab.yiyun.internal:8443/debs/"),
        ("ops-1", "file:/data/depot/bundle/debs/"),
        ("his-1", "file:/var/lib/yiyun/bundle/debs/"),
    ],
)
def test_packages_come_from_the_bundle_only(lab: dict[str, Any], bundle: Path, host: str, uri: str) -> None:
    text = render(lab, bundle, host, "base", "yiyun.sources.j2")
    assert re.findall(r"^URIs: (.*)$", text, re.MULTILINE) == [uri]


def test_the_gateways_rules_permit_exactly_the_derived_flows(lab: dict[str, Any], bundle: Path) -> None:
    text = render(lab, bundle, "app-2", "line_gateway", "line.nft.j2")
    elements = re.findall(r"^\s+(\S+) \. (tcp|udp) \. (\d+),$", text, re.MULTILINE)
    flows = lab["_meta"]["hostvars"]["app-2"]["yiyun_line_flows"]
    assert elements == [(f["address"], f["protocol"], str(f["port"])) for f in flows]
    assert "10.20.0.10 . tcp . 8443" in text
    assert ". 3306" not in text
    assert text.count("counter name refused drop") == 2


def test_the_peer_has_a_tunnel_a_gateway_and_never_a_default_route(lab: dict[str, Any], bundle: Path) -> None:
    tunnels = lab["_meta"]["hostvars"]["edge-1"]["yiyun_wireguard"]["tunnels"]
    assert [t["gateway"] for t in tunnels] == ["ops-1", "app-2"]
    for tunnel in tunnels:
        text = render(lab, bundle, "edge-1", "line_peer", "wg.conf.j2", item=tunnel)
        assert f"AllowedIPs = {tunnel['gateway_address']}/32, 10.20.0.0/16" in text
        assert "Table = off" in text
        assert "0.0.0.0/0" not in text


def test_the_agent_is_told_both_paths(lab: dict[str, Any], bundle: Path) -> None:
    told = json.loads(render(lab, bundle, "edge-1", "line_peer", "yiyun-line.json.j2"))
    assert [p["interface"] for p in told["paths"]] == ["wg0", "wg1"]
    assert told["network"] == "10.20.0.0/16"


def test_the_line_door_demands_a_collectors_certificate(lab: dict[str, Any], bundle: Path) -> None:
    text = render(lab, bundle, "app-1", "proxy", "platform.conf.j2")
    door = text[text.index("listen 8444 ssl") :]
    assert "ssl_verify_client on;" in door
    assert "limit_except POST" in door
    name = re.search(r'"~(\^8444:SUCCESS.*)" "edge-1\.lab\.yiyun\.internal";', text)
    assert name is not None
    assert re.search(name[1], "8444:SUCCESS:CN=edge-1.lab.yiyun.internal")
    assert not re.search(name[1], "8444:SUCCESS:CN=edge-1.lab.yiyun.internal.evil")
    assert not re.search(name[1], "8444:SUCCESS:CN=db-1.lab.yiyun.internal")
    assert not re.search(name[1], "443:SUCCESS:CN=edge-1.lab.yiyun.internal")
    assert not re.search(name[1], "8444:FAILED:CN=edge-1.lab.yiyun.internal")


def test_only_requests_with_a_key_are_repeated_when_they_are_not_idempotent(
    lab: dict[str, Any], bundle: Path
) -> None:
    text = render(lab, bundle, "app-1", "proxy", "platform.conf.j2")
    public = text[text.index("listen 443 ssl") : text.index("listen 8444 ssl")]
    repeated = [block for block in public.split("location ") if "non_idempotent" in block]
    assert [block.split(" ")[0] for block in repeated] == ["@repeatable"]


def test_a_client_cannot_name_itself(lab: dict[str, Any], bundle: Path) -> None:
    text = render(lab, bundle, "app-1", "proxy", "to_platform.conf.j2")
    assert "proxy_set_header X-Yiyun-Client $line_client;" in text.splitlines()
    assert "proxy_ssl_verify on;" in text.splitlines()


def test_the_platform_listens_at_its_own_address_and_trusts_the_proxies_only(
    lab: dict[str, Any], bundle: Path
) -> None:
    text = render(lab, bundle, "app-2", "platform", "app.env.j2")
    settings = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert settings["YIYUN_APP_LISTEN_HOST"] == "10.20.1.11"
    assert settings["YIYUN_APP_TRUSTED_PROXIES"] == "10.20.1.10,10.20.1.11"
    assert settings["YIYUN_APP_INGEST_CLIENTS"] == "edge-1.lab.yiyun.internal"
    secrets = lab["_meta"]["hostvars"]["app-2"]["yiyun_secrets"].values()
    assert not [secret for secret in secrets if secret in text]


def test_the_collector_hears_the_hospital_and_speaks_to_both_proxies(
    lab: dict[str, Any], bundle: Path
) -> None:
    settings = tomllib.loads(render(lab, bundle, "edge-1", "collector", "gateway.toml.j2"))
    assert settings["uplink"]["urls"] == [
        "https://app-1.lab.yiyun.internal:8444",
        "https://app-2.lab.yiyun.internal:8444",
    ]
    his = lab["_meta"]["hostvars"]["his-1"]["yiyun_address"]
    assert settings["listen"]["allow"] == [f"{his}/32", "127.0.0.0/8"]


def test_a_release_is_named_after_its_wheels(lab: dict[str, Any], bundle: Path) -> None:
    loader = DataLoader()
    defaults = loader.load_from_file(
        str(ROLES / "release" / "defaults" / "main.yml"), trusted_as_template=True
    )
    variables = {**defaults, "release_package": "yiyun-app", "yiyun_bundle": str(bundle)}
    name = str(Templar(loader=loader, variables=variables).template(defaults["release_folder"]))
    content = hashlib.sha256(b"wheels/yiyun-app.txt").hexdigest()[:16]
    assert name == f"/opt/yiyun-app/releases/{content}"


def flat(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tasks, those of blocks one by one."""
    blocks = [t.get(part, []) for t in tasks for part in ("block", "rescue", "always") if "block" in t]
    return [t for t in tasks if "block" not in t] + [t for block in blocks for t in flat(block)]


def test_every_task_that_handles_secrets_hides_them() -> None:
    exposed: list[str] = []
    for path in sorted(ROLES.glob("*/tasks/*.yml")):
        for task in flat(yaml.safe_load(path.read_text(encoding="utf-8")) or []):
            text = json.dumps(task)
            secret = re.search(r"yiyun_secrets|private_key|\.key }}", text)
            if secret and not task.get("no_log") and "ansible.builtin.assert" not in task:
                exposed.append(f"{path.relative_to(ROLES)}: {task['name']}")
    assert exposed == []


def test_agents_send_to_the_server_or_to_the_proxy_beside_them(lab: dict[str, Any], bundle: Path) -> None:
    targets = {
        host: re.findall(
            r"^ServerActive=(.*)$",
            render(lab, bundle, host, "zabbix_agent", "yiyun_agent2.conf.j2"),
            re.MULTILINE,
        )
        for host in ("db-1", "ops-1", "edge-1")
    }
    edge = lab["_meta"]["hostvars"]["edge-1"]["yiyun_address"]
    assert targets == {
        "db-1": ["10.20.0.10:10051"],
        "ops-1": ["10.20.0.10:10051"],
        "edge-1": [f"{edge}:10051"],
    }


def test_no_agent_can_be_asked_or_told(lab: dict[str, Any], bundle: Path) -> None:
    text = render(lab, bundle, "app-1", "zabbix_agent", "yiyun_agent2.conf.j2")
    assert not re.search(r"^Server=", text, re.MULTILINE), "it would listen"
    assert "DenyKey=system.run[*]" in text
    assert "TLSConnect=psk" in text


def test_the_server_tells_its_heartbeat_to_the_line_only(lab: dict[str, Any], bundle: Path) -> None:
    text = render(lab, bundle, "ops-1", "zabbix_server", "yiyun_server.conf.j2")
    (allowed,) = re.findall(r"^StatsAllowedIP=(.*)$", text, re.MULTILINE)
    line = lab["all"]["vars"]["yiyun_line_sources"]
    assert allowed.split(",") == ["127.0.0.1", *line]
    assert "10.20.0.200" in line
    assert "DBPassword" not in text


def test_no_key_of_one_host_is_known_to_another(lab: dict[str, Any]) -> None:
    keys = {
        name: variables["yiyun_host_secrets"].get("zabbix-agent-psk")
        for name, variables in lab["_meta"]["hostvars"].items()
    }
    assert keys.pop("his-1") is None
    assert len(set(keys.values())) == len(keys)
    for name, variables in lab["_meta"]["hostvars"].items():
        others = {key for other, key in keys.items() if other != name}
        assert not [key for key in others if str(key) in json.dumps(variables)]


def test_the_platform_and_the_router_agree_on_the_gate(lab: dict[str, Any], bundle: Path) -> None:
    text = render(lab, bundle, "app-1", "platform", "app.env.j2", yiyun_county_code="411425")
    told = next(line for line in text.splitlines() if "GATE_FOLDER" in line)
    folder = yaml.safe_load((ROLES / "db_router/defaults/main.yml").read_text(encoding="utf-8"))[
        "db_router_gate"
    ]
    assert told == f"YIYUN_APP_DATABASE_GATE_FOLDER={folder}"
    assert str(FOLDER) == folder


@pytest.mark.parametrize("single", [False, True])
def test_one_variable_chooses_the_groups_mode(lab: dict[str, Any], bundle: Path, single: bool) -> None:
    more = {"yiyun_database": {"single_primary": single}} if single else {}
    text = render(lab, bundle, "db-1", "mysql", "yiyun.cnf.j2", **more)
    assert f"group_replication_single_primary_mode = {'ON' if single else 'OFF'}" in text
    assert f"group_replication_enforce_update_everywhere_checks = {'OFF' if single else 'ON'}" in text
    group = json.loads(render(lab, bundle, "db-1", "mysql", "mysql-group.json.j2", **more))
    assert group["single_primary"] is single
