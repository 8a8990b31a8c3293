"""kill -9 at any time: every accepted event is in the features exactly once."""

import os
import random
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headwater.children import Child, cool_down, warm_up
from streams.kafka import EventProducer
from streams.topics import INTERACTIONS
from tests.faults.world import until
from tests.streams.world import interaction

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

EVENTS, VIEWERS, KILLS = 20_000, 50, 3


def kill(child: Child) -> None:
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: child.ended() is not None)


@pytest.fixture
def flow(stack: Any, tmp_path: Path) -> Iterator[Child]:
    """The flow as the house runs it, not started; its modules are loaded once for all of its lives."""
    settings = stack.settings.model_copy(update={"var": tmp_path})
    warm_up("headwater.warm")
    child = Child("flow-profile", "headwater.wiring:run_flow", "profile", settings, log=tmp_path / "flow.log")
    yield child
    child.stop(timeout_s=0.0)
    cool_down()


def test_a_flow_killed_three_times_counts_every_event_once(stack: Any, flow: Child) -> None:
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

    def changed(before: int) -> bool:
        return sum(counted().values()) != before

    flow.start()
    for _ in range(KILLS):
        before = sum(counted().values())
        assert before < EVENTS
        until(partial(changed, before), within_s=60.0, what=flow.log.read_text)
        kill(flow)
        flow.start()
    until(lambda: sum(counted().values()) >= EVENTS, within_s=120.0, what=flow.log.read_text)
    assert counted() == sent
    flow.ask_to_stop()
    until(lambda: flow.ended() is not None)
    assert flow.ended() == 0, flow.log.read_text()
