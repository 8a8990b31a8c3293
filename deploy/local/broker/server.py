"""The broker's connections: frames in, frames out, in order, and none of them can stop another's."""

import asyncio
import logging
from contextlib import suppress

from deploy.local.broker.apis import Apis
from deploy.local.broker.topics import Topics
from deploy.local.broker.wire import Unspoken, read, write
from deploy.local.ports import LOOPBACK

log = logging.getLogger(__name__)

# Kafka's own bound (socket.request.max.bytes).
_MAX_REQUEST_BYTES = 100 * 2**20
_EXPIRE_EVERY_S = 60.0


async def serve(topics: Topics, port: int, advertised: str, stop: asyncio.Event) -> None:
    """Serve `topics` on loopback until `stop` is set; `advertised` is the host:port that clients are told."""
    apis = Apis(topics, advertised)
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await _converse(apis, reader, writer)
        except Unspoken as error:
            log.warning("a client was hung up on: %s", error)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except Exception:
            log.exception("a request failed, and with it its connection")
        finally:
            connections.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, LOOPBACK, port, limit=2**20)
    log.info("serves at %s; what it holds goes when it stops", advertised)
    async with server:
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _EXPIRE_EVERY_S)
            topics.expire()
        for task in connections:
            task.cancel()


async def _converse(apis: Apis, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        size = int.from_bytes(await reader.readexactly(4), "big", signed=True)
        if not 8 <= size <= _MAX_REQUEST_BYTES:
            raise Unspoken(f"expected a request of 8 to {_MAX_REQUEST_BYTES} bytes, got {size}")
        request = read(await reader.readexactly(size))
        answer = await apis.answer(request)
        if answer is not None:
            writer.write(write(request, answer))
            await writer.drain()
