"""The embedded Redis: features outlive a restart, by its append-only file."""

from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from deploy.local import binaries
from deploy.local.ports import LOOPBACK
from deploy.local.process import NotReady, Server


def server(port: int, folder: Path) -> Server:
    """Return Redis on `port`, which keeps its files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    client = Redis(LOOPBACK, port, socket_timeout=1.0)
    return Server(
        name="redis",
        command=[
            binaries.redis(),
            "--bind", LOOPBACK,
            "--port", str(port),
            "--dir", folder.resolve(),
            "--appendonly", "yes",
            # In the file, if not on the disk, before each answer: a killed server forgets nothing. By default a write may wait
            # for a sync that is under way, and goes with the process; a sync for each write would take five times as long.
            "--appendfsync", "no",
            # The append-only file is all: a snapshot beside it writes everything twice, and a failed one stops writes.
            "--save", "",
        ],
        ready=lambda: ping(client),
    )  # fmt: skip


def connect(connection_string: str) -> Redis:
    """Return a client of an external Redis, named as Feast names it: host:port[,password=…,ssl=True]."""
    address, *rest = connection_string.split(",")
    host, _, port = address.rpartition(":")
    options = dict(option.split("=", 1) for option in rest if "=" in option)
    return Redis(host, int(port), password=options.get("password"), ssl=options.get("ssl") == "True", socket_timeout=2.0)


def ping(client: Redis) -> None:
    """Raise NotReady until Redis answers and has read its file."""
    try:
        client.ping()
    except RedisError as error:
        raise NotReady(str(error)) from error
