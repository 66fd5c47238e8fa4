import random

import pytest

from yiyun_gateway.mllp import Decoder, Event, Frame, Garbage, Oversize, wrap

MESSAGES = [
    b"MSH|one",
    b"",
    b"MSH|\xe7\x8e\x8b\xe5\xb0\x8f\xe4\xb8\x9c",
    "MSH|王小东|镕".encode("gb18030"),
    b"x" * 5000,
]


def decode(stream: bytes, sizes: list[int], limit: int = 10_000) -> list[Event]:
    decoder, found, at = Decoder(limit), [], 0
    for size in [*sizes, len(stream)]:
        found += decoder.feed(stream[at : at + size])
        at += size
    return found


@pytest.mark.parametrize("seed", range(40))
def test_any_split_of_the_stream_gives_the_same_frames(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - test data
    noise = [b"", b"\r\n", b"garbage", b"\r", b"\x00\xff"]
    sent = [chance.choice(MESSAGES) for _ in range(12)]
    stream = b"".join(chance.choice(noise) + wrap(one) for one in sent)
    sizes = [chance.randint(1, 40) for _ in range(len(stream))]
    frames = [one.payload for one in decode(stream, sizes) if isinstance(one, Frame)]
    assert frames == sent


def test_pipelined_messages_in_one_chunk_all_come_out() -> None:
    assert decode(wrap(b"a") + wrap(b"b") + wrap(b"c"), []) == [Frame(b"a"), Frame(b"b"), Frame(b"c")]


def test_one_byte_at_a_time_gives_the_frame_only_after_its_last_byte() -> None:
    decoder = Decoder(100)
    stream = wrap(b"MSH|x")
    events = [list(decoder.feed(stream[n : n + 1])) for n in range(len(stream))]
    assert events[:-1] == [[]] * (len(stream) - 1)
    assert events[-1] == [Frame(b"MSH|x")]


def test_noise_between_frames_is_counted_and_line_ends_are_not() -> None:
    assert decode(b"\r\nzz" + wrap(b"a") + b"\r\n" + wrap(b"b"), []) == [
        Garbage(2, abandoned=False),
        Frame(b"a"),
        Frame(b"b"),
    ]


def test_a_start_inside_a_frame_abandons_the_first_and_says_so() -> None:
    assert decode(b"\x0bhalf a mess" + wrap(b"whole"), []) == [Garbage(11, abandoned=True), Frame(b"whole")]


def test_a_missing_carriage_return_after_fs_still_ends_the_frame() -> None:
    assert decode(b"\x0ba\x1c\x0bb\x1c\r", []) == [Frame(b"a"), Frame(b"b")]


def test_a_partial_frame_is_no_frame() -> None:
    decoder = Decoder(100)
    assert list(decoder.feed(wrap(b"abc")[:-2])) == []
    assert decoder.partial


@pytest.mark.parametrize("chunk", [1, 7, 5000])
def test_a_frame_past_the_limit_is_reported_once_with_its_head(chunk: int) -> None:
    stream = wrap(b"MSH|" + b"x" * 3000)
    found = decode(stream, [chunk] * (len(stream) // chunk), limit=1000)
    oversize = [one for one in found if isinstance(one, Oversize)]
    assert len(oversize) == 1
    assert oversize[0].head.startswith(b"MSH|xxx")
    assert not any(isinstance(one, Frame) for one in found)


def test_a_frame_of_exactly_the_limit_passes() -> None:
    assert decode(wrap(b"y" * 1000), [], limit=1000) == [Frame(b"y" * 1000)]
