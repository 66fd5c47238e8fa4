"""Machines that exist already: whose host key is believed, and how they let the operators in.

A host key is never believed because it came over the network: it stands in the estate file, or a person
compared its fingerprint (`yiyun host learn`). After the first contact the operators' key opens the machine
as it opens every other host, so nothing else of the toolkit knows the difference.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors import BadInputError, RefusedError, YiyunError
from infra.reach import bastion_of, run_on
from infra.trust.store import write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from infra.estate.model import Estate, Host
    from infra.paths import EstatePaths

SCAN_SECONDS = 5
CONTACT_SECONDS = 60
CHANGED_KEY = "Host key verification failed"
LET_IN = """\
set -eu
umask 077
read -r key
mkdir -p /root/.ssh
touch /root/.ssh/authorized_keys
grep -qxF -- "$key" /root/.ssh/authorized_keys || printf '%s\\n' "$key" >> /root/.ssh/authorized_keys
"""
"""Runs as root on the machine; the public key comes by standard input."""


def existing_hosts(estate: Estate) -> tuple[Host, ...]:
    """Hosts that the provider neither makes nor guards."""
    return tuple(h for h in estate.hosts if h.exists)


def believed_keys(estate: Estate, paths: EstatePaths) -> dict[str, str]:
    """Host keys of the machines that exist already, by name: as the estate file says, else as learnt."""
    learnt = learnt_keys(paths)
    keys = {h.name: h.access.host_key or learnt.get(h.name, "") for h in existing_hosts(estate)}
    return {name: key for name, key in keys.items() if key}


def require_keys(estate: Estate, known: Collection[str]) -> None:
    """Raises BadInputError naming the machines that exist already whose host key nobody has given yet."""
    unknown = [h.name for h in existing_hosts(estate) if h.name not in known]
    if unknown:
        raise BadInputError(
            f"the host key of {', '.join(unknown)} is not known",
            hint=f"add ssh.host_key to the estate file, or compare it by yiyun host learn {unknown[0]}",
        )


def learnt_keys(paths: EstatePaths) -> dict[str, str]:
    """Host keys that were learnt, by name."""
    if not paths.learnt_host_keys.exists():
        return {}
    found: dict[str, str] = json.loads(paths.learnt_host_keys.read_text(encoding="utf-8"))
    return found


def forget_departed(estate: Estate, paths: EstatePaths) -> None:
    """Forget the learnt keys of machines that left the estate: one that returns is compared anew."""
    learnt, here = learnt_keys(paths), {h.name for h in existing_hosts(estate)}
    if learnt.keys() - here:
        _write_learnt(paths, {name: key for name, key in learnt.items() if name in here})


def keep_key(paths: EstatePaths, host: str, key: str) -> None:
    """Believe this host key from now on."""
    _write_learnt(paths, {**learnt_keys(paths), host: key})


def _write_learnt(paths: EstatePaths, keys: dict[str, str]) -> None:
    write_private(paths.learnt_host_keys, json.dumps(keys, indent=1, sort_keys=True).encode())


def offered_key(estate: Estate, paths: EstatePaths, host: Host) -> str:
    """The Ed25519 host key the machine shows now, unproven. Raises YiyunError when it shows none."""
    target, bastion = host.access.host or str(host.address), bastion_of(estate, host)
    scan = ["ssh-keyscan", "-T", str(SCAN_SECONDS), "-t", "ed25519", "-p", str(host.access.port), target]
    if host.access.host or bastion is None:
        answer = subprocess.run(scan, capture_output=True, text=True, check=False).stdout
    else:
        if not paths.ssh_config.exists():
            raise BadInputError(
                f"{host.name} is reached through {bastion}, which is not up yet",
                hint="run yiyun up first; it stops at this machine and goes on after it was learnt",
            )
        answer = run_on(paths, bastion, scan, seconds=CONTACT_SECONDS).stdout
    for line in answer.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] == "ssh-ed25519":
            return f"{words[1]} {words[2]}"
    raise YiyunError(
        f"{host.name}: {target} port {host.access.port} shows no Ed25519 host key",
        hint=f"is the machine on, and does {bastion or 'this machine'} reach it?",
        where=host.name,
    )


def fingerprint(key: str) -> str:
    """SHA-256 fingerprint of a public key (`ssh-ed25519 BASE64`), as OpenSSH prints it."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def let_operators_in(
    estate: Estate, paths: EstatePaths, operator_key: str, progress: Callable[[str], None]
) -> int:
    """Have every existing machine accept the operators' key for root. Returns how many had to be told.

    Raises YiyunError naming a machine whose own user cannot log in or lacks sudo, RefusedError when it shows
    another host key than the one believed.
    """
    told = 0
    for host in existing_hosts(estate):
        progress(f"first contact with {host.name}")
        if run_on(paths, host.name, ["true"], seconds=CONTACT_SECONDS).returncode == 0:
            continue
        done = subprocess.run(
            contact_argv(paths, host),
            input=f"{operator_key}\n",
            capture_output=True,
            text=True,
            timeout=CONTACT_SECONDS,
            check=False,
        )
        if done.returncode != 0 and CHANGED_KEY in done.stderr:
            raise RefusedError(
                f"{host.name} shows another host key than the one believed",
                hint=f"if it was reinstalled, compare the new one: yiyun host learn {host.name}",
                where=host.name,
            )
        if done.returncode != 0:
            raise YiyunError(
                f"{host.name} does not let {host.access.user} in as root: {_last_line(done.stderr)}",
                hint="check ssh.user, ssh.key_file and password-less sudo, or let the operators' key in: "
                + operator_key,
                where=host.name,
            )
        told += 1
    return told


def contact_argv(paths: EstatePaths, host: Host) -> list[str]:
    """`ssh` argv that lets the operators in, as the machine's own user. Pure."""
    access = host.access
    key = ["-i", str(Path(access.key_file).expanduser())] if access.key_file else []
    sudo = [] if access.user == "root" else ["sudo", "-n"]
    script = " ".join([*sudo, "sh", "-c", f"'{_quoted(LET_IN)}'"])
    return ["ssh", "-F", str(paths.ssh_config), "-l", access.user, *key, host.name, script]


def _quoted(script: str) -> str:
    return script.replace("'", "'\\''")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
