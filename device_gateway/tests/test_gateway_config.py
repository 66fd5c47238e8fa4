from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from yiyun_gateway import config
from yiyun_gateway.command import main

if TYPE_CHECKING:
    from pathlib import Path

GOOD = 'site = "his-1"\n[uplink]\nurls = []\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_smallest_file_listens_on_2575_of_this_machine_only(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path, GOOD))
    assert (loaded.listen.address, loaded.listen.port, loaded.reading.encoding) == (
        "127.0.0.1",
        2575,
        "utf-8",
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("site = ", "not valid TOML"),
        ("[uplink]\nurls = []\n", "site: is missing"),
        ('site = "a"\n', "uplink: is missing"),
        (GOOD + "[listen]\nprot = 1\n", "listen.prot: unknown key"),
        (GOOD + "[listen]\nport = 70000\n", "listen.port"),
        (GOOD + '[listen]\naddress = "edge"\n', "listen"),
        (GOOD + '[listen]\nallow = ["10.0.0.1/8"]\n', "listen.allow"),
        (GOOD + '[reading]\nencoding = "klingon"\n', "no such encoding"),
        (GOOD + '[reading]\nutc_offset = "8"\n', "reading.utc_offset"),
        ('site = "a"\n[uplink]\nurls = ["http://x"]\n', "must begin with https://"),
        ('site = "a"\n[uplink]\nurls = ["https://x"]\n', "mutual TLS needs ca, cert, key"),
        ('site = "a"\n[uplink]\nurls = []\nca = "/nowhere/ca.pem"\n', "no such file /nowhere/ca.pem"),
        (GOOD + "[store]\nmax_bytes = 10\n", "store.max_bytes"),
    ],
)
def test_a_bad_file_is_one_line_with_its_name_and_exit_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    path = write(tmp_path, text)
    assert main(["serve", "--config", str(path)]) == 4
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(str(path))
    assert says in error


def test_no_file_is_exit_4_and_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--config", str(tmp_path / "none.toml")]) == 4
    assert "create it or pass --config" in capsys.readouterr().err


def test_a_wrong_option_is_exit_4() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["list", "--state", "lost"])
    assert caught.value.code == 4


def test_status_before_the_first_serve_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, GOOD + f'[store]\npath = "{tmp_path}/s.db"\n')
    assert main(["status", "--config", str(path)]) == 1
    assert "no store yet" in capsys.readouterr().err
    assert not (tmp_path / "s.db").exists()


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.strip()[0].isdigit()
