"""Line, premises end: both tunnels are up, and one of them carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from infra.verify.suites.machine import Machine

pytestmark = pytest.mark.service("line-peer")


def test_every_path_is_up(on: Machine) -> None:
    paths = {p["name"]: p["up"] for p in on.json_of("line")["paths"]}
    gateways = on.estate.line.gateways if on.estate.line else ()
    assert paths == dict.fromkeys(gateways, True)


def test_one_path_carries(on: Machine) -> None:
    gateways = on.estate.line.gateways if on.estate.line else ()
    assert on.json_of("line")["path"] in gateways


def test_tunnel_keys_are_readable_by_root_only(on: Machine) -> None:
    for number in range(len(on.estate.line.gateways) if on.estate.line else 0):
        found = on.facts["files"][f"/etc/wireguard/wg{number}.conf"]
        assert found, f"no wg{number}.conf"
        assert (found["owner"], found["mode"] & 0o077) == ("root", 0)
