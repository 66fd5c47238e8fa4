"""What belongs to a moment, and how a restored database is told from what it had to be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.trials.journal import Acknowledged, Logged, gtid_of, logged
from tests.trials.moments import BEFORE, TIME, Asked, belonging, different, drawn, outside

UUID = "0a000000-0000-0000-0000-000000000001"
SECOND = 1_000_000


def lenenc(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def answer(*changes: tuple[int, bytes]) -> bytes:
    """What follows the numbers of an OK packet: no text, then what changed in the session."""
    return b"\0" + lenenc(b"".join(bytes([kind]) + lenenc(data) for kind, data in changes))


def test_the_gtid_of_a_commit_is_found_among_what_changed() -> None:
    gtid = f"{UUID}:7"
    mine = (3, b"\0" + lenenc(gtid.encode()))
    assert gtid_of(answer((0, lenenc(b"autocommit") + lenenc(b"ON")), mine)) == gtid
    assert gtid_of(answer((0, lenenc(b"autocommit") + lenenc(b"ON")))) == ""
    assert gtid_of(b"\0" + b"\xfc\x30\0" + bytes([3]) + lenenc(b"\0" + lenenc(gtid.encode()))) == gtid


PRINTED = f"""# at 157
#261129  2:03:12 server id 1  end_log_pos 234 CRC32 0x1 \tGTID\tlast_committed=0\tsequence_number=1\t\
rbr_only=no\toriginal_committed_timestamp=1764381792123456\timmediate_commit_timestamp=1764381792123456
# original_commit_timestamp=1764381792123456 (2026-11-29 02:03:12.123456 UTC)
SET @@SESSION.GTID_NEXT= '{UUID}:1'/*!*/;
SET @@SESSION.GTID_NEXT= 'AUTOMATIC' /* added by mysqlbinlog */ /*!*/;
"""


def test_transactions_are_read_from_what_mysqlbinlog_prints() -> None:
    assert list(logged(PRINTED.splitlines())) == [Logged(f"{UUID}:1", 1764381792123456)]


AT = datetime(2026, 11, 29, 2, 0, 0, tzinfo=UTC)
BEGAN = AT.timestamp() - 3
MOVES = [Acknowledged(f"{UUID}:{n}", n, n, n + 1, BEGAN + n - 0.1, BEGAN + n + 0.1) for n in (1, 2, 3, 4)]
"""The third is being committed at the moment."""
LOG = [Logged(m.gtid, int((BEGAN + m.move) * SECOND)) for m in (MOVES[1], MOVES[0], *MOVES[2:])]
"""In which the second stands before the first."""


def test_before_a_moment_is_by_time_and_before_a_transaction_by_the_log() -> None:
    assert set(belonging(LOG, Asked(at=AT))) == {f"{UUID}:{n}" for n in (1, 2, 3)}
    assert belonging(LOG, Asked(before=f"{UUID}:1")) == [f"{UUID}:2"]
    with pytest.raises(ValueError, match="not in list"):
        belonging(LOG, Asked(before=f"{UUID}:9"))


def restored() -> object:
    from bed_kit import Looked

    accounts = dict.fromkeys(range(20), 1000) | {1: 999, 3: 1001}
    return Looked({1: (1, 2), 2: (2, 3)}, accounts, f"{UUID}:1-2")


@pytest.mark.parametrize(
    "wrong",
    [
        {"moves": {1: (1, 2)}},
        {"moves": {1: (1, 2), 2: (2, 3), 3: (3, 4)}},
        {"moves": {1: (1, 2), 2: (3, 2)}},
        {"accounts": dict.fromkeys(range(20), 1000)},
        {"accounts": dict.fromkeys(range(20), 1001)},
        {"gtids": f"{UUID}:1-3"},
        {"gtids": f"{UUID}:1"},
    ],
)
def test_one_row_one_account_or_one_gtid_that_is_another_is_told(wrong: dict[str, object]) -> None:
    wanted, right = [MOVES[1].gtid, MOVES[0].gtid], restored()
    assert different(right, wanted, MOVES, 0) == []
    assert different(right._replace(**wrong), wanted, MOVES, 0)


def test_a_transaction_that_no_client_knows_is_told() -> None:
    wanted = [MOVES[1].gtid, MOVES[0].gtid]
    assert different(restored(), wanted, MOVES, 1)
    assert different(restored(), wanted, MOVES[:1], 0)


def test_clients_clocks_alone_tell_what_is_lacking_and_what_is_from_after() -> None:
    three = restored()._replace(moves={1: (1, 2), 2: (2, 3), 3: (3, 4)})
    assert outside(restored(), AT, MOVES) == outside(three, AT, MOVES) == []
    assert "1 acknowledged" in outside(restored()._replace(moves={1: (1, 2)}), AT, MOVES)[0]
    late = [*MOVES[:3], replace(MOVES[3], move=2), MOVES[1]]
    assert outside(three._replace(moves={1: (1, 2), 2: (2, 3), 4: (4, 5)}), AT, late)


def test_a_seed_gives_the_same_moments_again_and_both_ways() -> None:
    assert drawn(7, 20) == drawn(7, 20) != drawn(8, 20)
    assert {draw.way for draw in drawn(7, 20)} == {TIME, BEFORE}
    assert all(0 <= draw.share <= 1 for draw in drawn(7, 20))
