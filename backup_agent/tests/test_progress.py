"""Lines of progress: the share at once, rate and time left when there is enough to tell them from."""

from __future__ import annotations

import pytest

from yiyun_backup.progress import Lines, line


@pytest.mark.parametrize(
    ("share", "done", "seconds", "text"),
    [
        (0.0, 0, 0.0, "save 0%"),
        (0.5, 9_000_000, 1.0, "save 50%"),
        (0.25, 50_000_000, 10.0, "save 25%, 5.0 MB/s, 30 s left"),
        (0.25, 0, 10.0, "save 25%, 30 s left"),
        (0.001, 1, 10.0, "save 0%, 0.0 MB/s"),
        (1.0, 50_000_000, 10.0, "save 100%, 5.0 MB/s"),
    ],
)
def test_a_line(share: float, done: int, seconds: float, text: str) -> None:
    assert line("save", share, done, seconds) == text


def test_a_step_is_told_at_once_and_then_each_second(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for step in ("clone", "clone", "save", "save"):
        lines(step, 0.0)
    assert capsys.readouterr().err == "clone 0%\nsave 0%\n"
