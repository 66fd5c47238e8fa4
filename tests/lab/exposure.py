"""How exposed each unit of ours is by `systemd-analyze security`: in the lab, and on a kernel of its own.

`python -m tests.lab.exposure ESTATE_FILE` prints the table of docs/results/sandboxes.md.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

from infra.converge import playbooks_folder
from infra.drivers.lab.hosts import run_in_host
from infra.inventory import inventory
from infra.trust.material import Material
from tests.lab.harness import ROOT, Lab

UNITS = {
    "yiyun-app": ("platform", "app-1"),
    "haproxy": ("db_router", "app-1"),
    "yiyun-db-keeper": ("db_router", "app-1"),
    "mysql": ("mysql", "db-1"),
    "yiyun-mysql-group": ("mysql", "db-1"),
    "yiyun-mysql-health": ("mysql_health", "db-1"),
    "yiyun-line": ("line_peer", "edge-1"),
    "yiyun-gateway": ("collector", "edge-1"),
}
"""Unit → the role that owns it, and a host where it runs."""


def rendered(lab: Lab, unit: str) -> str:
    """The unit's file as a host with a kernel of its own would get it."""
    role, host = UNITS[unit]
    loader, known = DataLoader(), inventory(lab.estate, Material(lab.estate, lab.paths))
    variables: dict[str, Any] = {}
    for part in ("group_vars/all.yml", f"roles/{role}/defaults/main.yml"):
        path = str(playbooks_folder() / part)
        variables |= loader.load_from_file(path, trusted_as_template=True)
    variables |= {**known["all"]["vars"], **known["_meta"]["hostvars"][host], "yiyun_shared_kernel": False}
    variables |= {"inventory_hostname": host, "ansible_managed": "managed"}
    variables["groups"] = {n: g["hosts"] for n, g in known.items() if n not in {"all", "_meta"}}
    text = (playbooks_folder() / f"roles/{role}/templates/{unit}.service.j2").read_text(encoding="utf-8")
    return str(Templar(loader=loader, variables=variables).template(trust_as_template(text)))


def score(text: str) -> float:
    """The overall figure in what `systemd-analyze security UNIT` prints."""
    found = re.search(r"exposure level for \S+: ([\d.]+)", text)
    assert found, text[-300:]
    return float(found.group(1))


def measured(lab: Lab, unit: str) -> tuple[float, float]:
    """(as it runs in the lab, as it would on a kernel of its own)."""
    host = UNITS[unit][1]
    here = run_in_host(lab.paths, host, ["systemd-analyze", "security", "--no-pager", f"{unit}.service"])
    script = (
        f"d=$(mktemp -d); cat > $d/{unit}.service; "
        f"systemd-analyze security --no-pager --offline=yes $d/{unit}.service; rm -r $d"
    )
    alone = run_in_host(lab.paths, host, ["sh", "-c", script], stdin=rendered(lab, unit))
    return score(here.stdout), score(alone.stdout)


def main() -> None:
    """Print the table."""
    init_plugin_loader()
    lab = Lab(Path(sys.argv[1]))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    version = run_in_host(lab.paths, "app-1", ["systemctl", "--version"]).stdout.splitlines()[0]
    rows = [f"| {unit} | {here} | {alone} |" for unit in UNITS for here, alone in [measured(lab, unit)]]
    sys.stdout.write(
        "# Boxes of our own services\n\n"
        "Exposure by `systemd-analyze security`: 0 is nothing, 10 is all. It rates what is written; where a\n"
        "container may not mount, systemd passes over the folders in silence, and `verify` says so.\n\n"
        f"Commit {commit}; {version}. Command: `python -m tests.lab.exposure lab`\n\n"
        "| unit | in the lab | on a kernel of its own |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    main()
