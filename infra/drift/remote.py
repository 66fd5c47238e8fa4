"""Sends a small program to many hosts at once and takes the JSON it prints."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import TYPE_CHECKING, Any

from infra.errors import YiyunError
from infra.reach import run_on
from infra.services.catalogue import services_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from infra.drift.compare import State
    from infra.drift.mending import Order
    from infra.estate.model import Host
    from infra.paths import EstatePaths

COLLECT_SECONDS = 60
"""A second is usual; a machine under heavy load took over 30."""
MEND_SECONDS = 400
KERNEL_SETTINGS = (
    *("net.ipv4.ip_forward", "net.ipv4.tcp_syncookies", "net.ipv4.icmp_echo_ignore_broadcasts"),
    *(f"net.ipv4.conf.all.{n}" for n in ("rp_filter", "accept_redirects", "send_redirects", "log_martians")),
    *(f"net.ipv4.conf.all.{n}" for n in ("accept_source_route", "secure_redirects", "forwarding")),
    *("net.ipv4.conf.default.rp_filter", "net.ipv4.conf.default.accept_redirects"),
    *("net.ipv6.conf.all.forwarding", "net.ipv6.conf.all.accept_redirects", "net.ipv6.conf.all.disable_ipv6"),
    *("net.core.somaxconn", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_fin_timeout"),
    *("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.ip_nonlocal_bind"),
    *("kernel.dmesg_restrict", "kernel.kptr_restrict", "kernel.randomize_va_space", "kernel.sysrq"),
    *("fs.protected_hardlinks", "fs.protected_symlinks", "fs.suid_dumpable", "vm.swappiness"),
    *("kernel.yama.ptrace_scope", "kernel.unprivileged_bpf_disabled"),
)
"""Read on every host, beside those that its own sysctl files name: what decides about routing and trust
(the CIS benchmark's network section) and what the services' limits rest on."""


def collect(paths: EstatePaths, hosts: Iterable[Host]) -> dict[str, State | None]:
    """The state of each host as it is now, all at once; None for a host that does not answer."""
    questions = {h.name: json.dumps(_question(h)) for h in hosts}
    return {
        host: answer if isinstance(answer, dict) else None
        for host, answer in _on_all(paths, "collector.py", questions, COLLECT_SECONDS).items()
    }


def mend(paths: EstatePaths, orders: Mapping[str, Iterable[Order]]) -> dict[str, list[dict[str, Any]]]:
    """Carry out orders, host by host at once. Returns what each said: `order`, `ok`, `said`.

    Raises YiyunError when a host cannot be asked.
    """
    asked = {host: json.dumps(list(o)) for host, o in orders.items()}
    answers = _on_all(paths, "mender.py", asked, MEND_SECONDS)
    silent = [host for host, answer in answers.items() if not isinstance(answer, list)]
    if silent:
        raise YiyunError(f"{silent[0]} could not be mended", hint=f"yiyun logs {silent[0]}", where=silent[0])
    return answers


def _question(host: Host) -> dict[str, Any]:
    declared = {p.number for s in services_of(host) for p in s.listens if p.protocol == "udp"}
    return {"udp": sorted(declared), "kernel": list(KERNEL_SETTINGS)}


def _on_all(paths: EstatePaths, program: str, asked: Mapping[str, str], seconds: float) -> dict[str, Any]:
    if not asked:
        return {}
    source = resources.files("infra.drift").joinpath(program).read_text(encoding="utf-8")

    def one(host: str) -> Any:
        try:
            done = run_on(paths, host, ["python3", "-", asked[host]], stdin=source, seconds=seconds)
            return json.loads(done.stdout) if done.returncode == 0 else None
        except (YiyunError, ValueError):
            return None

    with ThreadPoolExecutor(len(asked)) as pool:
        return dict(zip(asked, pool.map(one, asked), strict=True))
