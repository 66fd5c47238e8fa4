"""How hosts are reached: OpenSSH configuration through the bastions, with pinned host keys."""

from __future__ import annotations

import os
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from infra.errors import YiyunError
from infra.estate.addresses import elastic_addresses, elastic_name_of_host, host_addresses
from infra.trust.store import write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from infra.estate.model import Estate, Host
    from infra.paths import EstatePaths

CONNECT_SECONDS = 15
"""How long a single SSH connection may take: usually 0.2, but 8 s was seen on a machine under heavy load."""


def bastion_of(estate: Estate, host: Host) -> str | None:
    """Name of the bastion a host is reached through, or None when it is one itself."""
    role = "ops" if host.subnet is not None else "edge"
    doors = [h.name for h in estate.hosts if role in h.roles and h.site == host.site]
    return None if host.name in doors or not doors else doors[0]


def ssh_config(estate: Estate, paths: EstatePaths, public: Mapping[str, str] | None = None) -> str:
    """Text of the OpenSSH configuration of an estate. `public`: elastic addresses by name."""
    public = public or {name: str(a) for name, a in elastic_addresses(estate).items()}
    addresses = host_addresses(estate)
    blocks: list[str] = []
    for host in estate.hosts:
        bastion = bastion_of(estate, host)
        lines = [f"Host {host.name}", f"  HostKeyAlias {host.name}"]
        if host.exists and (host.access.host or bastion is None):
            lines += [
                f"  HostName {host.access.host or addresses[host.name]}",
                f"  Port {host.access.port}",
            ]
        elif bastion is not None:
            lines += [f"  HostName {addresses[host.name]}", f"  ProxyJump {bastion}"]
        elif estate.provider == "lab":
            port = estate.lab.published.bastion if host.subnet else estate.lab.published.premises
            lines += ["  HostName 127.0.0.1", f"  Port {port}"]
        else:
            lines.append(f"  HostName {public.get(elastic_name_of_host(host.name)) or addresses[host.name]}")
        blocks.append("\n".join(lines))
    common = f"""Host *
  User root
  IdentityFile "{paths.ssh_key}"
  IdentitiesOnly yes
  UserKnownHostsFile "{paths.known_hosts}"
  StrictHostKeyChecking yes
  PasswordAuthentication no
  ConnectTimeout {CONNECT_SECONDS}
  ServerAliveInterval 10
  ServerAliveCountMax 3
  LogLevel ERROR
"""
    return "\n\n".join([*blocks, common])


def write_ssh_files(
    estate: Estate, paths: EstatePaths, host_keys: Mapping[str, str], coming: Mapping[str, str] | None = None
) -> bool:
    """Write configuration and pinned host keys; True when something changed.

    `host_keys`: public key (`TYPE BASE64`) by host name, learnt from the provider, the estate file or a
    person, never from the network. `coming`: keys that hosts are about to take into use, accepted as well.
    """
    pinned = {*host_keys.items(), *(coming or {}).items()}
    wanted = {
        paths.ssh_config: ssh_config(estate, paths),
        paths.known_hosts: "".join(f"{name} {key}\n" for name, key in sorted(pinned)),
    }
    changed = False
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_private(path, text.encode())
            changed = True
    return changed


def ssh_argv(paths: EstatePaths, host: str, command: Sequence[str] = ()) -> list[str]:
    """`ssh` argv for a host, with its remote command quoted."""
    remote = [shlex.join(command)] if command else []
    return ["ssh", "-F", str(paths.ssh_config), host, *(["--", *remote] if remote else [])]


def run_on(
    paths: EstatePaths,
    host: str,
    command: Sequence[str],
    *,
    stdin: str | bytes = "",
    seconds: float = 60,
    tell: Callable[[str], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command on a host by SSH. `seconds`: limit; raises YiyunError when it is passed.

    `tell`: is given each line of its standard error as it comes.
    """
    argv = ssh_argv(paths, host, command)
    given = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        with _lines(tell) as (stderr, said):
            done = subprocess.run(
                argv, input=given, stdout=subprocess.PIPE, stderr=stderr, timeout=seconds, check=False
            )
        error = "".join(said) or (done.stderr or b"").decode(errors="replace")
        return subprocess.CompletedProcess(argv, done.returncode, done.stdout.decode(errors="replace"), error)
    except subprocess.TimeoutExpired:
        raise YiyunError(
            f"{host}: no answer within {seconds:.0f} s", hint=f"yiyun logs {host}", where=host
        ) from None


@contextmanager
def _lines(tell: Callable[[str], None] | None) -> Generator[tuple[int, list[str]]]:
    """Where standard error goes, and what was read of it: line by line for whoever is told."""
    said: list[str] = []
    if tell is None:
        yield subprocess.PIPE, said
        return
    reading, writing = os.pipe()

    def read() -> None:
        with os.fdopen(reading, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                said.append(line)
                tell(line.rstrip())

    reader = Thread(target=read, daemon=True)
    reader.start()
    try:
        yield writing, said
    finally:
        os.close(writing)
        reader.join(1)


def wait_reachable(hosts: Sequence[Host], paths: EstatePaths, *, seconds: float = 90) -> None:
    """Wait until each of these hosts answers by SSH. Raises YiyunError naming those that do not."""

    def attempt(name: str) -> str:
        waiting = retry(
            stop=stop_after_delay(seconds),
            wait=wait_fixed(0.3),
            retry=retry_if_result(lambda code: code != 0),
            retry_error_callback=lambda _: 1,
        )
        code = waiting(lambda: run_on(paths, name, ["true"], seconds=3 * CONNECT_SECONDS).returncode)()
        return "" if code == 0 else name

    with ThreadPoolExecutor(max(1, len(hosts))) as pool:
        silent = [name for name in pool.map(attempt, [h.name for h in hosts]) if name]
    if silent:
        raise YiyunError(
            f"no answer by SSH from {', '.join(silent)} within {seconds:.0f} s",
            hint=f"yiyun doctor, then yiyun logs {silent[0]}",
        )
