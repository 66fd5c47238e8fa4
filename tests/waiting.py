"""Waiting on a condition with a deadline, never for luck."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tenacity import RetryError, retry, retry_if_not_result, stop_after_delay, wait_fixed

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def eventually(check: Callable[[], T], *, seconds: float = 10, every: float = 0.1) -> T:
    """What `check` returns once it is true. AssertionError after `seconds`, with what it said last."""
    waiting = retry(stop=stop_after_delay(seconds), wait=wait_fixed(every), retry=retry_if_not_result(bool))
    try:
        return waiting(check)()
    except RetryError as error:
        raise AssertionError(f"not within {seconds} s: {error.last_attempt.result()!r}") from None
