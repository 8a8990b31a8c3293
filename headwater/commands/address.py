"""Where the API is that a command talks to, and how it is let in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from simulation.client import Client

Url = Annotated[str | None, typer.Option("--url", help="the API; default: the running stack's, or api.host and api.port")]
Key = Annotated[str, typer.Option("--key", envvar="HEADWATER_KEY", help="API key, where the API asks for one")]


def api_url(given: str | None = None) -> str:
    """Return `given`, or the address of the stack that runs here, or the configured one."""
    from deploy.local.endpoints import running
    from headwater.settings import load

    if given:
        return given.rstrip("/")
    settings = load()
    endpoints = running(settings.var)
    at = endpoints.api if endpoints is not None and endpoints.api else f"{settings.api.host}:{settings.api.port}"
    return at if "://" in at else f"http://{at}"


@asynccontextmanager
async def connected(url: str | None, key: str) -> "AsyncIterator[Client]":
    """Yield a client of the API; where none answers, say so and end the command."""
    from simulation.client import Client

    async with Client(api_url(url), key=key) as client:
        try:
            await client.check()
        except ConnectionError as error:
            typer.echo(f"{error}\nStart one with `headwater up`, or name it with --url.", err=True)
            raise typer.Exit(2) from error
        yield client
