"""Searching for secrets where they must not be: files, processes, journals. Each place found is named."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from infra.trust.material import Material
from infra.trust.store import key_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from types import TracebackType

    from tests.lab.harness import Lab

SHORTEST = 16
"""Characters of a form that cannot be there by chance."""
SAMPLE_SECONDS = 0.2
BIGGEST = 64 << 20
"""Larger files are databases' own logs and disks; what they hold is encrypted or hashed by the server."""


def values(lab: Lab) -> dict[str, str]:
    """Every secret of the estate by name: of the store, and those that are files of their own."""
    found = {name: str(v) for name, v in Material(lab.estate, lab.paths).store.all_values().items()}
    found["recovery-key"] = key_file(lab.paths).read_text(encoding="ascii").strip()
    found["engine-passphrase"] = (lab.paths.root / "pulumi-passphrase").read_text(encoding="utf-8").strip()
    for note in (lab.paths.lab / "objectstore").glob("*.json"):
        found[f"object-store:{note.stem}"] = json.loads(note.read_text(encoding="utf-8"))["secret_key"]
    return found


def forms(name: str, value: str) -> dict[bytes, str]:
    """Byte strings by which a secret would be recognised → what they are."""
    if "PRIVATE KEY" in value:
        return {line.encode(): name for line in private_lines(value)}
    raw = value.encode()
    found = {raw: name, urllib.parse.quote(value, safe="").encode(): f"{name}, URL-encoded"}
    for shift in range(3):  # base64 of a text that holds it: three alignments, without the uncertain ends
        text = base64.b64encode(b"\0" * shift + raw)
        found[text[4 if shift else 0 : -4]] = f"{name}, base64"
    for algorithm in ("md5", "sha1", "sha256"):
        found[hashlib.new(algorithm, raw).hexdigest().encode()] = f"{name}, {algorithm}"
    return {form: what for form, what in found.items() if len(form) >= SHORTEST}


def private_lines(value: str) -> list[str]:
    """Whole lines of a private key's body. The first says only of which kind the key is."""
    text = value.replace("\\n", "\n")
    bodies = re.findall(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.+?)\n-----END", text, re.DOTALL)
    return [line for body in bodies for line in body.splitlines()[1:] if len(line) >= SHORTEST]


def all_forms(secrets: dict[str, str]) -> dict[bytes, str]:
    """Forms of every secret."""
    found: dict[bytes, str] = {}
    for name, value in secrets.items():
        found |= forms(name, value)
    return found


def what_is_in(data: bytes, needles: dict[bytes, str]) -> list[str]:
    """Which secrets a text holds."""
    return sorted({what for needle, what in needles.items() if needle in data})


def files_with(folders: Iterable[Path], needles: dict[bytes, str]) -> dict[Path, list[str]]:
    """File → secrets in it, below folders. grep does the looking; the needles go by its standard input."""
    here = [str(f) for f in folders if f.exists()]
    if not here:
        return {}
    argv = [
        "grep",
        "--recursive",
        "--fixed-strings",
        "--text",
        "--files-with-matches",
        "--null",
        "--devices=skip",
    ]
    argv += ["--file=-", "--", *here]
    done = subprocess.run(argv, input=b"\n".join(needles) + b"\n", capture_output=True, check=False)
    found: dict[Path, list[str]] = {}
    for name in filter(None, done.stdout.split(b"\0")):
        path = Path(os.fsdecode(name))
        try:
            if path.stat().st_size <= BIGGEST:
                found[path] = what_is_in(path.read_bytes(), needles)
        except FileNotFoundError:
            continue
    return found


@dataclass
class ProcessWatch:
    """Looks again and again at the arguments and environment of every process, inside the hosts too.

    The hosts' processes are processes of this machine's kernel, seen from here. What they were given is kept,
    so that it can be searched for secrets that were made only later.
    """

    given: dict[bytes, set[tuple[str, str]]] = field(default_factory=dict[bytes, set[tuple[str, str]]])
    """Text → (program's name, `environ` or `cmdline`) where it was seen."""
    looks: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> ProcessWatch:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def holding(self, needles: dict[bytes, str], allowed: Collection[tuple[str, str]] = ()) -> set[str]:
        """Which process was given which secret, but for those `allowed` to have one."""
        pattern = re.compile(b"|".join(re.escape(n) for n in needles))
        hits = {text: hit for text in self.given if (hit := pattern.search(text))}
        return {
            f"{part} of {name}: {needles[hit.group()]}"
            for text, hit in hits.items()
            for name, part in self.given[text]
            if (name, part) not in allowed
        }

    def _watch(self) -> None:
        seen: set[tuple[int, bytes]] = set()
        while not self._stop.is_set():
            began = time.monotonic()
            for number in psutil.pids():
                if number != os.getpid():
                    self._look(number, seen)
            self.looks += 1
            self._stop.wait(max(0.0, SAMPLE_SECONDS - (time.monotonic() - began)))

    def _look(self, number: int, seen: set[tuple[int, bytes]]) -> None:
        try:
            arguments = _read(number, "cmdline")
            stamp = (number, arguments[:200])
            if stamp in seen:
                return
            seen.add(stamp)
            given = _read(number, "environ")
            # Its name last: a shell that became a program meanwhile was given what that one was.
            name = _read(number, "comm").decode(errors="replace").strip()
            for part, text in (("cmdline", arguments), ("environ", given)):
                self.given.setdefault(text, set()).add((name, part))
        except OSError:
            return


def _read(number: int, part: str) -> bytes:
    with open(f"/proc/{number}/{part}", "rb") as file:  # noqa: PTH123  some thousand times a second
        return file.read()
