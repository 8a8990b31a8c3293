"""kill -9 at any time: every accepted event is in the features exactly once."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from streams.kafka import EventProducer
from streams.topics import INTERACTIONS
from tests.streams.world import interaction

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

EVENTS, VIEWERS, KILLS = 20_000, 50, 3

FLOW = """
import sys
from pathlib import Path
from feature_repo.settings import FeatureStoreSettings
from feature_repo.writer import FeatureWriter
from streams.flows import profile
from streams.flows.run import run
from streams.heartbeat import Pulse
from streams.kafka import EventProducer, KafkaSettings
from streams.videos import VideoTable
kafka = KafkaSettings.model_validate_json(sys.argv[1])
writer = FeatureWriter(FeatureStoreSettings.model_validate_json(sys.argv[2]))
flow = profile.build(kafka, videos=VideoTable(), features=writer, producer=EventProducer(kafka, patient=True), pulse=Pulse("p"))
run(flow, workers=1, snapshot_ms=200, recovery_dir=Path(sys.argv[3]))
"""


def start(settings: Any, recovery: Path) -> subprocess.Popen[bytes]:
    kafka, features = settings.kafka.model_dump_json(), settings.features.model_dump_json()
    return subprocess.Popen([sys.executable, "-c", FLOW, kafka, features, str(recovery)])


def test_a_flow_killed_three_times_counts_every_event_once(stack: Any, tmp_path: Path) -> None:
    from feature_repo.reader import FeatureReader

    rng, now = random.Random(7), int(time.time() * 1000)
    run_id = f"crash-{now}"
    reader = FeatureReader(stack.settings.features)
    producer = EventProducer(stack.settings.kafka)
    sent: dict[str, int] = {}
    for number in range(EVENTS):
        user = f"{run_id}-{rng.randrange(VIEWERS)}"
        sent[user] = sent.get(user, 0) + 1
        event = interaction(0, "play", user=user, video=f"v{rng.randrange(100)}", at=now)
        event = type(event)(
            **{name: getattr(event, name) for name in event.__struct_fields__} | {"event_id": f"{run_id}-{number}"}
        )
        producer.send(INTERACTIONS, event)
        if rng.random() < 0.05:
            producer.send(INTERACTIONS, event)
    assert producer.close() == 0

    def counted() -> dict[str, int]:
        viewers = {user: reader.viewer(user).activity for user in sent}
        return {user: 0 if activity is None else activity.events for user, activity in viewers.items()}

    flow = start(stack.settings, tmp_path / "recovery")
    try:
        for _ in range(KILLS):
            before = sum(counted().values())
            deadline = time.monotonic() + 60
            while sum(counted().values()) == before and before < EVENTS and time.monotonic() < deadline:
                time.sleep(0.02)
            flow.send_signal(signal.SIGKILL)
            flow.wait(10)
            flow = start(stack.settings, tmp_path / "recovery")
        deadline = time.monotonic() + 120
        while sum(counted().values()) < EVENTS and time.monotonic() < deadline:
            time.sleep(0.1)
        assert counted() == sent
        flow.send_signal(signal.SIGTERM)
        assert flow.wait(20) == 0
    finally:
        if flow.poll() is None:
            os.kill(flow.pid, signal.SIGKILL)
