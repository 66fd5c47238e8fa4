from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[3] / "playbooks/roles/hardening/files/setuid_kept.py"


def test_only_programs_with_the_bit_that_are_not_kept_are_named(tmp_path: Path) -> None:
    for name, mode in (("kept", 0o4755), ("stray", 0o4755), ("group", 0o2755), ("plain", 0o755)):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(mode)
    argv = [sys.executable, str(PROGRAM), "--check", "--root", str(tmp_path), str(tmp_path / "kept")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / "group"), str(tmp_path / "stray")]
    assert (tmp_path / "stray").stat().st_mode & 0o4000
    kept = [str(tmp_path / name) for name in ("kept", "stray", "group")]
    done = subprocess.run([*argv[:5], *kept], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "unchanged"
