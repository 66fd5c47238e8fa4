"""What a workload writes outside the database: numbered elements, each under a key of its own."""

from __future__ import annotations

import hashlib

ELEMENTS_A_CLIENT = 1_000_000


def element_of(client: int, number: int) -> int:
    """The element of a client's nth write, from 0: unique over a drill."""
    return client * ELEMENTS_A_CLIENT + number + 1


def key_of(run: str, element: int) -> str:
    """The idempotency key of an element: 64 hexadecimal digits, the same for each try of it.

    `run` makes keys unique over all drills.
    """
    return hashlib.sha256(f"{run}/{element}".encode()).hexdigest()
