"""The table of damage (dr-facts, section 5) and more of our own, as data for the test and for the trial.

Each row says what a restore has to do, what a check has to find, and whether the restore may succeed all the
same; when it does, what it made is compared with the source.
"""

from __future__ import annotations

import damage_host as host
import damage_kit as do
from damage_kit import cut_tail, flip, gone, rewrite, swap
from damage_play import FINE, NOT, Row

REPAIR = "refuse, leave the target marked; use another copy"
REBUILD = "refuse; the index can be made anew, on a copy"
POINT = "refuse; name the moment up to which the log can be trusted"
UNHARMED = "restore: it is not needed; the check reports it"
OLDER = "restore from what verifies, and say what was left out"
OTHERS = "never take it for this stream's log"

REPOSITORY = (
    Row(
        "1 a byte of what both bases need",
        lambda p: p.flip("data", of=1, both=True),
        "repository",
        NOT,
        REPAIR,
    ),
    Row(
        "1 a byte of the newest base",
        lambda p: p.flip("data", of=1, both=False),
        "repository",
        "far: ",
        OLDER,
    ),
    Row("2 a pack missing", lambda p: gone(p.packs()[0]), "repository", NOT, REPAIR),
    Row("3 a pack emptied", lambda p: rewrite(p.packs()[0], b""), "repository", NOT, REPAIR),
    Row("4 two packs swapped", lambda p: swap(*p.packs()[:2]), "repository", NOT, REPAIR),
    Row(
        "5 a pack's tail cut",
        lambda p: cut_tail(p.packs()[0]),
        "repository",
        True,
        "restore only what verifies; the check reports it",
    ),
    Row(
        "6 a tree of the older base", lambda p: p.flip("tree", of=0, both=False), "repository", True, UNHARMED
    ),
    Row("7 an index gone", lambda p: gone(p.files("restic/mysql/index/*")[0]), "repository", NOT, REBUILD),
    Row("8 every index gone", lambda p: gone(*p.files("restic/mysql/index/*")), "repository", NOT, REBUILD),
    Row("9 an index flipped", lambda p: flip(p.files("restic/mysql/index/*")[0]), "mysql", NOT, REBUILD),
    Row("10 the newest snapshot gone", lambda p: gone(p.snapshot(1)), "is gone", "is gone", OLDER),
    Row(
        "11 rolled back",
        do.rolled_back,
        "the catalogue of db-1 ends at 1, and was at",
        True,
        "the counter in the catalogue tells the check; a restore reaches the same set from the older base",
    ),
    Row("12 a snapshot flipped", lambda p: flip(p.snapshot(1)), "mysql", "not those that were stored", OLDER),
    Row(
        "13 the configuration flipped",
        lambda p: flip(p.objects / "restic/mysql/config"),
        "mysql",
        NOT,
        REPAIR,
    ),
    Row(
        "14 the key gone",
        lambda p: gone(*p.files("restic/mysql/keys/*")),
        "mysql",
        NOT,
        "refuse, and say that the key is at fault",
    ),
    Row(
        "15 another password",
        lambda _: None,
        "does not open it",
        NOT,
        "refuse, and name the password's file",
        before=host.wrong_password,
        codes=frozenset({"key"}),
    ),
    Row(
        "16 no configuration",
        lambda p: gone(p.objects / "restic/mysql/config"),
        "does not exist",
        NOT,
        "say that it is no repository; never make it anew",
    ),
    Row(
        "17 a stray pack",
        do.stray_pack,
        FINE,
        True,
        "restore; the check notes it, as harmless",
        noted="no index names",
    ),
    Row(
        "18 a target with data",
        lambda _: None,
        FINE,
        NOT,
        "refuse before anything is written; what was there stays",
        before=host.full_target,
        codes=frozenset({"refused"}),
    ),
)

LOG = (
    Row("19 a segment cut", lambda p: cut_tail(p.segments()[-2]), "segment", NOT, POINT),
    Row("20 a segment flipped", lambda p: flip(p.segments()[-2]), "segment", NOT, POINT),
    Row("20 its manifest flipped", lambda p: flip(p.segments()[-2], 300), "segment", NOT, POINT),
    Row("20 a segment that is not needed", lambda p: flip(p.segments()[0]), "segment", True, UNHARMED),
    Row(
        "21 a segment missing",
        lambda p: gone(p.segments()[-2]),
        "is missing",
        NOT,
        "refuse: chain and set tell, the server does not",
    ),
    Row("21 one that is not needed", lambda p: gone(p.segments()[1]), "is missing", "is missing", UNHARMED),
    Row(
        "22 two segments swapped",
        lambda p: swap(*p.segments()[-2:]),
        "segment",
        NOT,
        "refuse: each says which one it is",
    ),
    Row("23 segments as another stream's", do.another_streams, "nobody here trusts", True, OTHERS),
    Row(
        "23 the same, signed by that host",
        do.in_another_stream,
        "says that it is of db-1",
        "it is of db-1",
        OTHERS,
    ),
    Row(
        "24 an old segment as the next one",
        do.replay_segment,
        "stands after segment",
        "stands after segment",
        "never replay it; go no further than before it",
    ),
    Row("25 a catalogue entry flipped", lambda p: flip(p.entry(1), 200), "catalogue", "catalogue", OLDER),
    Row("25 the first entry flipped", lambda p: flip(p.entry(0), 200), "catalogue", "catalogue", OLDER),
    Row(
        "26 the log stamped five hours early",
        host.early_log,
        FINE,
        True,
        "order by the chain, not by time",
    ),
    Row(
        "26 the newest base stamped five hours early",
        host.early_base,
        "another than was seen",
        True,
        "order by the chain, not by time; a changed entry is found",
    ),
    Row(
        "27 a hole between the bases and the log",
        lambda p: gone(*p.segments()[1:-2]),
        "is missing",
        NOT,
        "refuse, and name the hole",
    ),
    Row(
        "27 the log begins after both bases",
        lambda p: gone(*p.segments()[:-2]),
        "no log",
        NOT,
        "refuse, and name the hole; the check reports it",
    ),
)

HOST = (
    Row(
        "28 auto.cnf of the source in the base",
        lambda _: None,
        "another than was seen",
        True,
        "delete it: the restored server is another one",
        before=host.with_auto_cnf,
    ),
    Row(
        "29 a base of another version",
        do.other_version,
        "another than was seen",
        NOT,
        "refuse",
        codes=frozenset({"refused"}),
    ),
    Row(
        "29 lower_case_table_names is another",
        host.other_case,
        "another than was seen",
        NOT,
        "refuse",
        codes=frozenset({"refused"}),
    ),
    Row(
        "30 no room for the base",
        lambda _: None,
        FINE,
        NOT,
        "refuse before anything is written",
        run=host.no_room,
        codes=frozenset({"refused"}),
    ),
    Row(
        "30 the disk full half-way",
        lambda _: None,
        FINE,
        NOT,
        "an error that says so; the target stays marked",
        run=host.filled_half_way,
        codes=frozenset({"refused", "failed", "server"}),
    ),
    Row(
        "31 killed half-way",
        lambda _: None,
        FINE,
        True,
        "the target stays marked; the next restore uses it again",
        before=host.killed_before,
    ),
)

OWN = (
    Row(
        "a segment of nobody far beyond",
        do.plant_segment,
        "no signed document",
        "no signed document",
        "never end the log there",
    ),
    Row("a segment signed by another", do.sign_segment_anew, "nobody here trusts", NOT, POINT),
    Row("the log's end gone", lambda p: gone(*p.segments()[-2:]), "near has 2 more", NOT, "refuse the set"),
    Row(
        "all of the log gone",
        lambda p: gone(*p.segments()),
        "ends at segment 0",
        NOT,
        "say that there is none",
    ),
    Row(
        "snapshots of two bases swapped",
        lambda p: swap(p.snapshot(0), p.snapshot(1)),
        "mysql",
        NOT,
        "refuse: a snapshot is known by its hash",
    ),
    Row(
        "an entry naming another's snapshot",
        do.other_snapshot,
        "another than was seen",
        "holds other",
        "see that the base holds another set; use the older one",
    ),
    Row(
        "an entry signed by another host",
        lambda p: do.rewrite_entry(p, {"gtids": ""}, p.bed.agent.other_key),
        "nobody here trusts",
        "nobody here trusts",
        OLDER,
    ),
    Row(
        "an old entry as the next one", do.replay_entry, "is db-1.1", "is db-1.1", "leave it out, and say so"
    ),
    Row(
        "the catalogue gone",
        lambda p: gone(*p.entries()),
        "ends at 0, and was at",
        NOT,
        "say that there is no base",
    ),
    Row("a stream that ended before", do.dead_stream, FINE, True, "use the one that goes on"),
    Row(
        "a page of zeros in a pack",
        lambda p: do.page_of_zeros(*p.largest("data", of=1, both=True)),
        "repository",
        NOT,
        REPAIR,
    ),
    Row("a page of zeros in a segment", lambda p: do.page_of_zeros(p.segments()[-2]), "segment", NOT, POINT),
    Row(
        "the log copied as text",
        lambda p: do.text_mode(*p.segments()),
        "segment",
        NOT,
        "refuse: no segment is what was stored",
    ),
    Row(
        "a segment uploaded twice into one object",
        lambda p: do.twice(p.segments()[-2]),
        "segment",
        NOT,
        POINT,
    ),
    Row(
        "a segment sealed to a key that nobody kept",
        host.sealed_to_nobody,
        FINE,
        NOT,
        "refuse, and say which keys open the log",
        codes=frozenset({"key"}),
    ),
    Row("none", lambda _: None, FINE, True, "restore"),
)
"""Beyond the table: by somebody who may write there; the last five by disks, tools and lost keys."""

ROWS = REPOSITORY + LOG + HOST + OWN
NUMBERS = range(1, 32)
"""Those of the table that have to be here."""
