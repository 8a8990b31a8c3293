"""uvicorn that stops though event streams are open, each of which it would wait for as for an answer still to come."""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable

import uvicorn

from serving.sse import STOP_TIMEOUT_S, Streams

log = logging.getLogger(__name__)


class GracefulServer(uvicorn.Server):
    """Ends the event streams first when it is told to stop, and then waits for requests in flight as uvicorn does.

    `at_stop` is called when it is told to.
    """

    def __init__(self, config: uvicorn.Config, streams: Streams, at_stop: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._streams = streams
        self._at_stop = at_stop

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._streams.stop()
        self._at_stop()
        asyncio.get_running_loop().call_later(2 * STOP_TIMEOUT_S, self._drop_clogged)
        await super().shutdown(sockets)

    def _drop_clogged(self) -> None:
        """Let go of connections that were closed and whose client takes nothing of what is left to send."""
        for connection in list(self.server_state.connections):
            if connection.transport is not None and connection.transport.is_closing():
                connection.transport.abort()


def end_for_certain(within_s: float) -> None:
    """End this process in `within_s`, whatever a thread still waits for then: a decoder, Redis, the broker."""

    def end() -> None:
        log.error("not done %g s after it was told to stop: ended; nothing that was answered with 202 is lost", within_s)
        os._exit(1)

    last = threading.Timer(within_s, end)
    last.daemon = True
    last.start()
