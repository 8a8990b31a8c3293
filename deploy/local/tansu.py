"""The embedded broker: Tansu, which speaks Kafka's protocol and keeps its topics in memory."""

from deploy.local import binaries
from deploy.local.ports import LOOPBACK
from deploy.local.process import Server
from streams.kafka import KafkaSettings, check_broker


def server(port: int) -> Server:
    """Return the broker on `port`; what it holds goes when it stops."""
    address = f"{LOOPBACK}:{port}"
    url = f"tcp://{address}"
    settings = KafkaSettings(bootstrap_servers=address)
    return Server(
        name="broker",
        command=[
            binaries.tansu(), "broker",
            # Both: the second is what clients are told to use, and its default is another machine's usual port.
            "--listener-url", url,
            "--advertised-listener-url", url,
            "--storage-engine", "memory://tansu/",
        ],
        ready=lambda: check_broker(settings, timeout_s=1.0),
    )  # fmt: skip
