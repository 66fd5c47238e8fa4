"""What the tests of the backup agent share: one server under a workload, its stream and its bases."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest
from server_kit import Agent, Bed, eventually, serving
from store_kit import free_port, regions

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """With two bases, the second taken under load, and a stream that has stored everything."""
    folder = tmp_path_factory.mktemp("backup")
    with regions(folder, "near", "far") as stores, serving(folder / "server", free_port()) as server:
        agent = Agent(folder / "agent", server, stores)
        agent.write()
        made = Bed(folder, server, agent)
        stream = agent.start("stream")
        try:
            eventually((agent.folder / "run/stream.json").exists, "the stream tells nothing")
            with made.transfers.running():
                for _ in range(2):
                    time.sleep(2)
                    done = agent.run("base")
                    assert done.returncode == 0, done.stderr
                    made.bases.append(json.loads(done.stdout))
                time.sleep(6)
            made.executed = server.executed()
            eventually(lambda: made.stored(made.executed), "not everything is stored")
            yield made
        finally:
            stream.send_signal(signal.SIGTERM)
            stream.wait(30)
