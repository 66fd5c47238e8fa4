"""Which passwords an account accepts, told from what the server stores, and how to make them the wanted ones.

The server keeps a second, older password beside the first (dual passwords), so that a password is replaced
while both work. Nothing has to log in to find out: the stored text of caching_sha2_password is SHA-crypt with
SHA-256 (https://www.akkadia.org/drepper/SHA-crypt.txt) over a salt of 20 bytes.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SALT_BYTES, DIGEST_BYTES = 20, 43
ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ORDER = (
    *((0, 10, 20), (21, 1, 11), (12, 22, 2), (3, 13, 23), (24, 4, 14)),
    *((15, 25, 5), (6, 16, 26), (27, 7, 17), (18, 28, 8), (9, 19, 29)),
)


def fits(password: str, stored: bytes) -> bool:
    """Whether a password is the one that `stored` (`$A$005$SALT DIGEST`) was made from."""
    parts = stored.split(b"$", 3)
    if len(parts) != 4 or parts[1] != b"A" or len(parts[3]) != SALT_BYTES + DIGEST_BYTES:
        return False
    rounds, salt, digest = int(parts[2], 16) * 1000, parts[3][:SALT_BYTES], parts[3][SALT_BYTES:]
    return hmac.compare_digest(sha_crypt(password.encode(), salt, rounds).encode(), digest)


def sha_crypt(password: bytes, salt: bytes, rounds: int) -> str:
    """SHA-crypt's 43 characters of a password with SHA-256."""
    size = len(password)
    other = hashlib.sha256(password + salt + password).digest()
    first = hashlib.sha256(password + salt + _stretched(other, size))
    bits = size
    while bits:
        first.update(other if bits & 1 else password)
        bits >>= 1
    state = first.digest()
    by_password = _stretched(hashlib.sha256(password * size).digest(), size)
    by_salt = _stretched(hashlib.sha256(salt * (16 + state[0])).digest(), len(salt))
    for number in range(rounds):
        odd = number & 1
        text = by_password if odd else state
        text += by_salt if number % 3 else b""
        text += by_password if number % 7 else b""
        state = hashlib.sha256(text + (state if odd else by_password)).digest()
    groups = [(state[a] << 16) | (state[b] << 8) | state[c] for a, b, c in ORDER]
    last = (state[31] << 8) | state[30]
    return "".join(_letters(group, 4) for group in groups) + _letters(last, 3)


def statements(
    name: str, wanted: Sequence[str], first: bytes, second: bytes
) -> list[tuple[str, tuple[str, ...]]]:
    """Statements with arguments that make an account accept the wanted passwords (one or two) and no other.

    `first`, `second`: what the server stores now; empty when there is none. In between it accepts what it
    accepted before and the new one, so nobody is turned away.
    """
    known = [next((p for p in wanted if fits(p, stored)), None) for stored in (first, second) if stored]
    alter, discard = f"ALTER USER {name} IDENTIFIED BY %s", f"ALTER USER {name} DISCARD OLD PASSWORD"
    if len(wanted) == 1:
        steps = [] if known[0] == wanted[0] else [(alter, (wanted[0],))]
        return [*steps, *([(discard, ())] if second else [])]
    if set(known) == set(wanted):
        return []
    missing = [p for p in wanted if p != known[0]]
    steps = [] if known[0] in wanted else [(alter, (missing.pop(0),))]
    return [*steps, *((f"{alter} RETAIN CURRENT PASSWORD", (p,)) for p in missing[:1])]


def _stretched(digest: bytes, size: int) -> bytes:
    return (digest * (size // len(digest) + 1))[:size]


def _letters(number: int, count: int) -> str:
    return "".join(ALPHABET[(number >> (6 * n)) & 63] for n in range(count))
