"""`python -m deploy.local.broker 9092 FOLDER`: the embedded broker by itself, on loopback."""

import asyncio
import logging
import re
import signal
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from deploy.local.broker.server import serve
from deploy.local.broker.topics import Topics
from deploy.local.ports import LOOPBACK
from streams.clock import now_ms


def main(
    port: Annotated[int, typer.Argument(min=1, max=65535)],
    folder: Annotated[Path, typer.Argument(help="where its files lie, which have no names and go when it ends")],
    advertised: Annotated[str, typer.Option(help="host:port that clients are told, if not this")] = "",
) -> None:
    """Serve Kafka's protocol until SIGTERM or Ctrl-C."""
    address = advertised or f"{LOOPBACK}:{port}"
    if not re.fullmatch(r".+:\d{1,5}", address):
        raise typer.BadParameter(f"expected host:port, got {address}", param_hint="--advertised")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    folder.mkdir(parents=True, exist_ok=True)

    async def run() -> None:
        stop = asyncio.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        await serve(Topics(folder, now_ms), port, address, stop)

    uvloop.run(run())


if __name__ == "__main__":
    typer.run(main)
