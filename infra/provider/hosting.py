"""The provider inside our own process: the engine attaches to it instead of starting the plugin.

Starting the plugin costs the engine two more Python processes a command (0.9 s of CPU each, measured);
this costs none, and the provider cannot outlive the run. The plugin answers the same calls from the
same class, for those who run `pulumi` from the shell.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf import empty_pb2
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime.proto import provider_pb2_grpc

from infra.errors import YiyunError
from infra.provider.plugin import PACKAGE, VERSION

if TYPE_CHECKING:
    from collections.abc import Generator

    from pulumi.provider.experimental.provider import Provider

ATTACH_VARIABLE = "PULUMI_DEBUG_PROVIDERS"
"""The engine's variable for providers that run already: `NAME:PORT`."""

_START_SECONDS = 10.0
_MESSAGE_BYTES = 64 * 2**20


class _AttachedServicer(ProviderServicer):
    """Adds the calls that only a provider gets which was running already."""

    async def Attach(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802  the protocol's name
        """The engine's address is of no use to us."""
        return empty_pb2.Empty()

    async def Handshake(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802  the protocol's name
        """Say in the protocol's way that there is none; the engine goes on without."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no handshake")


@contextmanager
def hosted(provider: Provider) -> Generator[str]:
    """Serve a provider on 127.0.0.1 for the length of a `with`. Yields the value of `ATTACH_VARIABLE`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="provider", daemon=True)
    thread.start()
    try:
        starting = asyncio.run_coroutine_threadsafe(_start(provider), loop)
        server, port = starting.result(_START_SECONDS)
        try:
            yield f"{PACKAGE}:{port}"
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(_START_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(provider: Provider) -> tuple[grpc.aio.Server, int]:
    limits = [("grpc.max_receive_message_length", _MESSAGE_BYTES)]
    server = grpc.aio.server(options=limits)
    servicer = _AttachedServicer([], VERSION, provider, engine_address="")
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    if port == 0:
        raise YiyunError("no free port of 127.0.0.1 for the provider")
    await server.start()
    return server, port
