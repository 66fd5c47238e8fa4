"""SSH: hosts' own keys, made on the host and pinned before they are used, and the operators' key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from infra.drivers.lab.hosts import coming_public_keys, host_public_keys
from infra.drivers.lab.realise import realise
from infra.engine.stack import Engine
from infra.errors import YiyunError
from infra.reach import run_on, wait_reachable, write_ssh_files
from infra.rotation.catalogue import HOST_KEY
from infra.rotation.model import Phase, Rotator, Work, add_next, retire, switch
from infra.trust.material import ssh_private

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.rotation.catalogue import Entry

_KEY = "/etc/ssh/ssh_host_ed25519_key"
_MAKE = f"""set -eu
umask 077
if [ -s {_KEY}.next ] && [ -s {_KEY}.next.pub ]; then :; else
  rm -f {_KEY}.next {_KEY}.next.pub
  ssh-keygen -q -t ed25519 -N "" -C "root@$(hostname)" -f {_KEY}.next
fi
"""
_TAKE = f"""set -eu
if [ -s {_KEY}.next ]; then mv -f {_KEY}.next {_KEY}; fi
if [ -e {_KEY}.next.pub ]; then
  systemctl reload ssh
  chmod 644 {_KEY}.next.pub
  mv -f {_KEY}.next.pub {_KEY}.pub
fi
"""
"""Both public keys lie there, and are pinned, until the server shows the new one."""


def _hosts(entries: Sequence[Entry]) -> list[str]:
    return [entry.name.removeprefix(HOST_KEY) for entry in entries]


def _on_each(work: Work, hosts: Sequence[str], script: str) -> None:
    def one(host: str) -> None:
        answer = run_on(work.paths, host, ["sh", "-c", script])
        if answer.returncode != 0:
            raise YiyunError(f"{host}: {answer.stderr.strip()[-300:]}", hint=f"yiyun ssh {host}", where=host)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, hosts))


def _pin(work: Work) -> None:
    write_ssh_files(work.estate, work.paths, host_public_keys(work.paths), coming_public_keys(work.paths))


def _introduce(work: Work, entries: Sequence[Entry]) -> None:
    """Each host makes its next key itself; the private half never leaves it."""
    _on_each(work, _hosts(entries), _MAKE)
    _pin(work)


def _take(work: Work, entries: Sequence[Entry]) -> None:
    _pin(work)
    _on_each(work, _hosts(entries), _TAKE)
    _pin(work)
    wait_reachable(work.estate.hosts, work.paths)


def _authorise(work: Work, _entries: Sequence[Entry]) -> None:
    """The estate's hosts accept exactly the keys that the store names; all of them must answer then."""
    key = work.material().operator_key()
    Engine(work.estate, work.paths, work.progress, authorized_key=key).up()
    if work.estate.provider == "lab":
        realise(work.paths, work.progress)
    wait_reachable(work.estate.hosts, work.paths)


SSH_HOST = Rotator(
    "ssh-host-key",
    (
        Phase("introduce", "each host makes a new key; both are pinned", _introduce),
        Phase("switch", "each host shows its new key, the only one pinned", _take, touches=("sshd: reload",)),
    ),
)
OPERATOR = Rotator(
    "operator-key",
    (
        Phase(
            "introduce",
            "hosts accept the new key beside the old one",
            _authorise,
            add_next(lambda _: ssh_private()),
        ),
        Phase("switch", "the new key is used", _authorise, switch),
        Phase("retire", "hosts refuse the old key", _authorise, retire),
    ),
)
