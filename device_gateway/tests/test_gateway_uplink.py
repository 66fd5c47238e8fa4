from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest
from gateway_kit import Platform, free_port

from yiyun_gateway.config import Uplink
from yiyun_gateway.delivery import Schedule
from yiyun_gateway.uplink import Line, Outcome, backoff, judge

if TYPE_CHECKING:
    from pathlib import Path

KEY = "k" * 64
BODY = b'{"message_control_id": "1"}'


def uplink(certificates: Path, urls: list[str], client: str = "client") -> Uplink:
    return Uplink(
        urls=tuple(urls),
        ca=certificates / "ca.pem",
        cert=certificates / f"{client}.pem",
        key=certificates / f"{client}.key",
    )


async def post_once(settings: Uplink) -> Outcome:
    line = Line(settings)
    try:
        return await line.post(BODY, KEY)
    finally:
        await line.close()


def test_backoff_doubles_to_its_cap_and_jitters_down_to_half() -> None:
    longest = [backoff(n, 2.0, lambda _low, high: high) for n in range(1, 9)]
    assert longest[:4] == [0.1, 0.2, 0.4, 0.8]
    assert longest[-1] == 2.0
    assert backoff(500, 2.0, lambda low, _high: low) == 1.0


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (201, '{"duplicate": false}', "delivered"),
        (200, '{"duplicate": true, "id": 1}', "delivered"),
        (200, "<html>", "retry"),
        (200, "[]", "retry"),
        (201, "", "retry"),
        (204, "", "retry"),
        (400, "x", "refused"),
        (409, "x", "refused"),
        (413, "x", "refused"),
        (422, "x", "refused"),
        (401, "", "retry"),
        (403, "", "retry"),
        (404, "", "retry"),
        (429, "", "retry"),
        (500, "", "retry"),
        (503, "", "away"),
        (502, "", "away"),
        (302, "", "retry"),
    ],
)
def test_only_a_receipt_delivers_and_only_a_lasting_refusal_parks(status: int, text: str, kind: str) -> None:
    assert judge(status, text).kind == kind


def test_mutual_tls_delivers(certificates: Path, platform: Platform) -> None:
    assert asyncio.run(post_once(uplink(certificates, [platform.url]))).kind == "delivered"
    assert list(platform.taken) == [KEY]


def test_a_strangers_certificate_is_not_served(certificates: Path, platform: Platform) -> None:
    assert asyncio.run(post_once(uplink(certificates, [platform.url], "stranger"))).kind == "away"
    assert not platform.taken


def test_a_server_of_another_authority_is_not_trusted(
    certificates: Path, platform: Platform, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes((certificates / "stranger.pem").read_bytes())
    settings = uplink(certificates, [platform.url]).model_copy(update={"ca": tmp_path / "ca.pem"})
    assert asyncio.run(post_once(settings)).kind == "away"
    assert platform.requests == 0


def test_the_second_proxy_serves_while_the_first_is_down(certificates: Path, platform: Platform) -> None:
    dead = f"https://127.0.0.1:{free_port()}"
    assert asyncio.run(post_once(uplink(certificates, [dead, platform.url]))).kind == "delivered"


def test_a_failed_proxy_rests_and_then_one_request_tries_it() -> None:
    at = [0.0]

    async def scene() -> None:
        settings = Uplink.model_construct(
            urls=("https://127.0.0.1:1",), ca=None, cert=None, key=None,
            in_flight=1, connect_timeout_s=1.0, answer_timeout_s=5.0, backoff_cap_s=2.0,
        )  # fmt: skip
        line = Line(settings, lambda: at[0])
        assert (await line.post(BODY, KEY)).reason.startswith("ConnectError")
        assert 0.05 <= line.wait_s() <= 0.1
        assert (await line.post(BODY, KEY)).reason == "no proxy is due"
        at[0] = 0.2
        assert line.wait_s() == 0
        assert (await line.post(BODY, KEY)).reason.startswith("ConnectError")
        await line.close()

    asyncio.run(scene())


def test_requests_that_one_outage_fails_together_are_one_failure() -> None:
    """Else a way that comes back waits as long as many failures in a row ask for."""

    async def scene() -> None:
        settings = Uplink.model_construct(
            urls=("https://127.0.0.1:1",), ca=None, cert=None, key=None,
            in_flight=8, connect_timeout_s=1.0, answer_timeout_s=5.0, backoff_cap_s=60.0,
        )  # fmt: skip
        at = [0.0]
        line = Line(settings, lambda: at[0])
        posts = [asyncio.create_task(line.post(BODY, str(n))) for n in range(8)]
        await asyncio.sleep(0)
        at[0] = 1.0
        assert {(await post).kind for post in posts} == {"away"}
        assert 0.05 <= line.wait_s() <= 0.1
        at[0] = 1.2
        await line.post(BODY, KEY)
        assert 0.1 <= line.wait_s() <= 0.2, "the next one counts"
        await line.close()

    asyncio.run(scene())


@pytest.mark.parametrize(("failures", "asked"), [(1, "aaa"), (2, "aaab")])
def test_a_proxy_that_answered_meanwhile_is_asked_once_more_before_the_next(
    monkeypatch: pytest.MonkeyPatch, failures: int, asked: str
) -> None:
    """The way to it changed during the try; but what it does not answer may be this message alone."""
    at, seen = [0.0], list[str]()

    async def scene() -> None:
        settings = Uplink.model_construct(
            urls=("https://a", "https://b"), ca=None, cert=None, key=None,
            in_flight=2, connect_timeout_s=1.0, answer_timeout_s=5.0, backoff_cap_s=2.0,
        )  # fmt: skip
        line = Line(settings, lambda: at[0])
        failed = [0]

        class Way:
            async def post(self, url: str, *, headers: dict[str, str], **_: object) -> httpx.Response:
                seen.append(url[8])
                if headers["Idempotency-Key"] == KEY and failed[0] < failures:
                    failed[0] += 1
                    at[0] += 0.5
                    if failed[0] == 1:
                        assert (await line.post(BODY, "another")).kind == "delivered"
                    at[0] += 0.5
                    raise httpx.ReadTimeout("no answer")
                return httpx.Response(201, json={"duplicate": False})

        monkeypatch.setattr(line, "_http", Way)
        assert (await line.post(BODY, KEY)).kind == "delivered"

    asyncio.run(scene())
    assert "".join(seen) == asked


def test_rotated_certificates_are_used_without_a_restart(
    certificates: Path, platform: Platform, tmp_path: Path
) -> None:
    for name in ("client.pem", "client.key", "ca.pem"):
        stranger = name.replace("client", "stranger")
        (tmp_path / name).write_bytes((certificates / stranger).read_bytes())

    async def scene() -> list[str]:
        line = Line(uplink(tmp_path, [platform.url]), lambda: float(len(kinds) * 100))
        kinds.append((await line.post(BODY, KEY)).kind)
        for name in ("client.pem", "client.key"):
            (tmp_path / name).write_bytes((certificates / name).read_bytes())
        kinds.append((await line.post(BODY, KEY)).kind)
        await line.close()
        return kinds

    kinds: list[str] = []
    assert asyncio.run(scene()) == ["away", "delivered"]


def test_a_lane_sends_one_at_a_time_and_in_order() -> None:
    schedule = Schedule()
    schedule.add([(1, "a"), (2, "a"), (3, "b")])
    assert schedule.take(8, 0.0) == [(1, "a"), (3, "b")]
    assert schedule.take(8, 0.0) == []
    schedule.settle("a")
    assert schedule.take(8, 0.0) == [(2, "a")]


def test_a_failing_lane_keeps_its_order_and_blocks_nobody() -> None:
    schedule = Schedule()
    schedule.add([(1, "a"), (2, "a"), (3, "b"), (4, "b")])
    schedule.take(8, 0.0)
    schedule.postpone("a", 0.0, cap_s=2.0)
    schedule.settle("b")
    assert schedule.take(8, 0.0) == [(4, "b")]
    due = schedule.next_due(0.0)
    assert due is not None
    assert 0.05 <= due <= 0.1
    assert schedule.take(8, due) == [(1, "a")]


def test_an_unjudged_message_is_next_again_without_a_wait() -> None:
    schedule = Schedule()
    schedule.add([(1, "a"), (2, "a")])
    schedule.take(8, 0.0)
    schedule.release("a")
    assert schedule.take(8, 0.0) == [(1, "a")]


def test_a_message_known_already_is_not_queued_twice() -> None:
    schedule = Schedule()
    schedule.add([(1, "a")])
    schedule.add([(1, "a")])
    schedule.take(1, 0.0)
    schedule.settle("a")
    assert schedule.next_due(0.0) is None
