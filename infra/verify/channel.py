"""Conversations with the probe's agents: a process a host, JSON lines over its standard streams."""

from __future__ import annotations

import asyncio
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from infra.errors import YiyunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.verify.verdicts import Try

BOOT = "import sys; exec(compile(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())), 'agent', 'exec'))"
"""What the host's Python is told: take so many bytes of program from standard input and run them."""
START_S = 40.0
"""How long an agent may take to start: by SSH through a bastion, on a busy machine."""
REPLY_S = 15.0
"""How long a reply may take, beyond the probes' own deadline."""
LINE_LIMIT = 1 << 20


def agent_program() -> bytes:
    """The agent's source, headed by its length in bytes."""
    source = resources.files("infra.verify").joinpath("agent.py").read_bytes()
    return b"%d\n%s" % (len(source), source)


def agent_argv() -> tuple[str, ...]:
    """The command to run inside a host."""
    return ("python3", "-c", BOOT)


class Agent:
    """One agent. Its listeners live as long as this object's process."""

    def __init__(self, host: str, process: asyncio.subprocess.Process) -> None:
        self.host = host
        self._process = process

    @classmethod
    async def start(cls, host: str, argv: Sequence[str]) -> Agent:
        """Run the agent by `argv` (what reaches the host, followed by `agent_argv`) and hear that it runs.

        Raises YiyunError, naming the host, when it does not.
        """
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=pipe, stdout=pipe, stderr=pipe, limit=LINE_LIMIT
        )
        agent = cls(host, process)
        try:
            await agent._send(agent_program())
            await agent._ask({"source_for": "127.0.0.1"}, START_S)
        except YiyunError:
            await agent.stop()
            raise
        return agent

    async def listen(self, address: str, tcp: Sequence[int], udp: Sequence[int]) -> frozenset[str]:
        """Open temporary listeners; returns what is taken already, as `tcp/22`."""
        reply = await self._ask({"listen": {"address": address, "tcp": list(tcp), "udp": list(udp)}})
        return frozenset(str(item) for item in reply["occupied"])

    async def source_for(self, address: str) -> str | None:
        """Own address that the host would send from, or None when it has no route."""
        found = (await self._ask({"source_for": address}))["address"]
        return None if found is None else str(found)

    async def probe(self, tries: Sequence[Try], deadline_s: float) -> list[str]:
        """How each try ended, as the host saw it; in the order given."""
        wanted = [[t.address, t.port, t.protocol, t.source] for t in tries]
        reply = await self._ask({"probe": wanted, "deadline_s": deadline_s}, REPLY_S + 2 * deadline_s)
        return [str(end) for end in reply["ends"]]

    async def stop(self) -> None:
        """End the agent and its listeners."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 3)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _send(self, data: bytes) -> None:
        if self._process.stdin is None:
            raise self._lost("its input is closed")
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise self._lost(await self._said()) from None

    async def _ask(self, request: dict[str, Any], seconds: float = REPLY_S) -> dict[str, Any]:
        await self._send(json.dumps(request).encode() + b"\n")
        if self._process.stdout is None:
            raise self._lost("its output is closed")
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), seconds)
        except TimeoutError:
            raise self._lost(f"no reply within {seconds:.0f} s") from None
        if not line:
            raise self._lost(await self._said())
        return dict(json.loads(line))

    async def _said(self) -> str:
        text = await self._process.stderr.read() if self._process.stderr else b""
        lines = text.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it ended without a word"

    def _lost(self, why: str) -> YiyunError:
        return YiyunError(
            f"the probe cannot use {self.host}: {why}", hint=f"yiyun logs {self.host}", where=self.host
        )
