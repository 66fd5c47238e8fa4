"""Pre-shared keys of monitoring: Zabbix knows one key for each sender, so both ends change within seconds.

What a sender measures meanwhile waits in its own buffer and is sent under the new key: history has no hole.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from infra.rotation.model import Phase, Rotator, Values, Work
from infra.trust.store import random_psk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.rotation.catalogue import Entry


def _new_keys(_work: Work, values: Values, entries: Sequence[Entry]) -> None:
    for entry in entries:
        values[entry.name] = random_psk()


def _replace(work: Work, entries: Sequence[Entry]) -> None:
    """Zabbix first: it takes seconds to read its new keys, as long as the senders need for theirs."""
    work.monitoring.take_up_keys()
    work.converge_users(entries)
    work.monitoring.wait_until_heard(since=time.time())


PRE_SHARED = Rotator(
    "pre-shared-key",
    (
        Phase(
            "replace",
            "Zabbix and its senders have new keys; each was heard under its new one",
            _replace,
            _new_keys,
            ("zabbix-agent2, zabbix-proxy: restart; what they measure meanwhile waits in their buffers",),
        ),
    ),
)
