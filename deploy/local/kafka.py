"""The embedded broker as a server of this stack: a process of its own, for what it holds must not go with a flow or the API."""

import sys
from pathlib import Path

from deploy.local.ports import LOOPBACK
from deploy.local.process import Server
from streams.kafka import KafkaSettings, check_broker


def server(port: int, folder: Path) -> Server:
    """Return the broker on `port`, whose files lie in `folder` without a name; what it holds goes when it stops."""
    settings = KafkaSettings(bootstrap_servers=f"{LOOPBACK}:{port}")
    return Server(
        name="broker",
        command=[sys.executable, "-m", "deploy.local.broker", str(port), folder.resolve()],
        ready=lambda: check_broker(settings, timeout_s=1.0),
    )
