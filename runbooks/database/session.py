"""Sessions with programs on the hosts, opened beforehand, so that a question costs milliseconds.

A connection by SSH through a bastion takes 0.1 to 0.3 s to open; a line over one that stands, a few ms.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import resources
from typing import TYPE_CHECKING, Any

from infra.errors import YiyunError
from infra.reach import CONNECT_SECONDS, ssh_argv

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from infra.paths import EstatePaths

PACKAGE = "runbooks.database.onhost"
BOOT = """import json, sys, types
told = json.loads(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))
for name in told["packages"]:
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
for name, source in told["modules"]:
    sys.modules[name] = module = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
sys.stdout.write("{}\\n")
sys.stdout.flush()
module.main(**told["arguments"])
"""
"""What the host's Python is told first: take so many bytes of modules from its input, run the last one."""
NEEDS = {
    "router": ("gate", "lines", "router"),
    "member": ("lines", "member"),
    "machine": ("lines", "machine"),
}
"""Program → its modules, in the order they import each other."""
START_SECONDS = 2 * CONNECT_SECONDS
ANSWER_SECONDS = 5.0
LAST_WORDS_SECONDS = 2.0


def program(name: str, arguments: Mapping[str, Any]) -> bytes:
    """What a host is sent to run one of the programs: the length in bytes, a newline, the modules."""
    folder = resources.files(PACKAGE)
    parts = PACKAGE.split(".")
    told = {
        "packages": [".".join(parts[: n + 1]) for n in range(len(parts))],
        "modules": [
            [f"{PACKAGE}.{m}", folder.joinpath(f"{m}.py").read_text(encoding="utf-8")] for m in NEEDS[name]
        ],
        "arguments": dict(arguments),
    }
    text = json.dumps(told).encode()
    return b"%d\n%s" % (len(text), text)


class Session:
    """One host's program. Its end, whatever causes it, ends the program, which undoes what it began."""

    def __init__(self, host: str, argv: Sequence[str], sent: bytes) -> None:
        self.host = host
        pipe = subprocess.PIPE
        # A group of its own, with the ssh through the bastion: that one outlives its parent when the host
        # stands still, and holds the pipes open.
        self._process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, process_group=0)
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._complaints: list[bytes] = []
        threading.Thread(target=self._listen, daemon=True).start()
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._hearing.start()
        self._send(sent)

    def started(self) -> Session:
        """Wait until the program runs. Raises YiyunError."""
        self._reply(START_SECONDS)
        return self

    def ask(self, what: str, *, seconds: float = ANSWER_SECONDS, **arguments: Any) -> dict[str, Any]:
        """One question. Raises YiyunError when it cannot be done or no answer comes within `seconds`."""
        self._send(json.dumps({"ask": what, **arguments}).encode() + b"\n")
        reply = self._reply(seconds)
        if "error" in reply:
            raise YiyunError(f"{self.host}: {reply['error']}", hint="yiyun db status", where=self.host)
        return reply

    def close(self) -> None:
        """End the program."""
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
        except OSError:
            pass  # it is gone already
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(3)
        self._kill()
        self._process.wait()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line)
        self._lines.put(b"")

    def _hear(self) -> None:
        for line in self._process.stderr or ():
            self._complaints.append(line)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _send(self, data: bytes) -> None:
        try:
            if self._process.stdin is not None:
                self._process.stdin.write(data)
                self._process.stdin.flush()
        except (OSError, ValueError):  # it has ended, or was closed here
            raise self._lost() from None

    def _reply(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            self._kill()  # an answer that comes later must not be taken for the next one's
            raise YiyunError(
                f"{self.host} did not answer within {seconds:.0f} s", hint=f"yiyun logs {self.host}"
            ) from None
        if not line:
            raise self._lost()
        return dict(json.loads(line))

    def _lost(self) -> YiyunError:
        self._kill()
        self._hearing.join(LAST_WORDS_SECONDS)
        said = b"".join(self._complaints).decode(errors="replace").strip()
        last = (said.splitlines() or ["it ended without a word"])[-1]
        return YiyunError(f"{self.host} cannot be asked: {last}", hint=f"yiyun logs {self.host}")


@contextmanager
def sessions(
    paths: EstatePaths, wanted: Mapping[str, tuple[str, Mapping[str, Any]]]
) -> Generator[tuple[dict[str, Session], dict[str, str]]]:
    """Sessions with hosts, all opened at once. `wanted`: host → program and its arguments.

    Gives those that run, by host, and why the others do not.
    """
    opened = {
        host: Session(host, ssh_argv(paths, host, ("python3", "-c", BOOT)), program(name, arguments))
        for host, (name, arguments) in wanted.items()
    }
    failed: dict[str, str] = {}
    try:
        answers = together({host: session.started for host, session in opened.items()})
        failed = {host: a.message for host, a in answers.items() if isinstance(a, YiyunError)}
        yield {host: s for host, s in opened.items() if host not in failed}, failed
    finally:
        together({host: session.close for host, session in opened.items()})


def together(calls: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """All calls at once; by name what each returned, or the YiyunError it raised."""

    def one(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except YiyunError as error:
            return error

    if not calls:
        return {}
    with ThreadPoolExecutor(len(calls)) as pool:
        return dict(zip(calls, pool.map(one, calls.values()), strict=True))
