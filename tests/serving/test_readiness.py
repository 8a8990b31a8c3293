"""When a node says that it may be sent requests."""

from contextlib import closing

import pytest
from confluent_kafka import KafkaError

from serving.server import Readiness
from streams.kafka import EventProducer, KafkaSettings

pytestmark = pytest.mark.anyio


async def test_a_node_whose_producer_has_failed_for_good_is_not_ready(world) -> None:
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    with closing(EventProducer(kafka)) as producer:
        readiness = Readiness(kafka, world.stored, producer)

        async def accepting() -> tuple[bool, bool, str]:
            (check,) = (check for check in await readiness.checks() if check.name == "producer")
            return check.ok, check.required, check.detail

        assert await accepting() == (True, True, "")
        # A connection that is lost comes back; what is fatal to librdkafka does not.
        producer._erred(KafkaError(KafkaError._TRANSPORT, "connection refused"))
        assert (await accepting())[0] is True
        producer._erred(KafkaError(KafkaError._FATAL, "sequence out of order", True))
        ok, required, detail = await accepting()
        assert (ok, required) == (False, True)
        assert "restart this node" in detail
