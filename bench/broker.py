"""A topic may grow: what an event's way through the broker takes at the end of a long topic, against its beginning.

Events are sent one to a batch, which is the worst a broker can be given: what it does for each batch that it holds shows here.
`--bootstrap` asks another broker than the embedded one.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import psutil
import typer
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from rich.progress import track

from bench import report
from bench.samples import MB
from deploy.local import kafka
from deploy.local.ports import choose
from deploy.local.process import RunningServer
from streams.clock import now_ms
from streams.kafka import KafkaSettings, client_config, consumer_config, producer_config
from streams.topics import INTERACTIONS

STAGES = 8
PROBES = 200
EVENT = b"x" * 300
TIMEOUT_S = 60.0


def main(
    batches: Annotated[int, typer.Option(min=STAGES, max=10_000_000)] = 100_000,
    bootstrap: Annotated[str, typer.Option(help="host:port of a broker that runs; empty: the embedded one")] = "",
) -> None:
    """Fill a topic batch by batch and time single events on the way."""
    machine = report.machine()
    with _broker(bootstrap) as (settings, process):
        topic = f"bench-{now_ms()}"
        # Held in a name: an AdminClient that is collected early answers with _DESTROY.
        admin = AdminClient(client_config(settings))
        admin.create_topics([NewTopic(topic, 1, 1, config=INTERACTIONS.config())])[topic].result(TIMEOUT_S)
        producer = Producer(producer_config(settings) | {"batch.num.messages": 1, "linger.ms": 0})
        reader = Consumer(consumer_config(settings) | {"group.id": "bench"})
        reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        ways, rates, cpu_us = [], [], []
        for _ in track(range(STAGES), "filling a topic", console=report.console, transient=True):
            began, cpu_s = time.monotonic(), _cpu_s(process)
            _fill(producer, topic, batches // STAGES)
            rates.append(batches // STAGES / (time.monotonic() - began))
            cpu_us.append((_cpu_s(process) - cpu_s) / (batches // STAGES) * 1e6)
            _read(reader, batches // STAGES)
            ways.append([_way(producer, reader, topic) for _ in range(PROBES)])
        memory = process.memory_info().rss / MB if process is not None else float("nan")
        producer.flush(TIMEOUT_S)
        reader.close()
    first, last = report.percentile(ways[0], 50), report.percentile(ways[-1], 50)
    report.finish(
        "broker",
        {
            "way_first_p50_ms": first,
            "way_last_p50_ms": last,
            "way_last_p99_ms": report.percentile(ways[-1], 99),
            "ratio": round(last / first, 2),
            "batches_per_s_first": round(rates[0]),
            "batches_per_s_last": round(rates[-1]),
            "cpu_us_a_batch": round(cpu_us[-1], 1),
            "rss_mb": round(memory, 1),
        },
        budgets={"ratio": "≤ 2: the length of a topic does not show"},
        facts={
            "machine": machine,
            "load": f"{batches} batches of one event of {len(EVENT)} bytes; after each eighth of them {PROBES} events alone",
            "broker": bootstrap or "embedded",
            "ways_p50_ms": [report.percentile(way, 50) for way in ways],
        },
    )


@contextmanager
def _broker(bootstrap: str) -> Iterator[tuple[KafkaSettings, psutil.Process | None]]:
    if bootstrap:
        yield KafkaSettings(bootstrap_servers=bootstrap), None
        return
    with TemporaryDirectory(prefix="headwater-bench-") as folder:
        port = choose(0, setting="bench")
        running = RunningServer(kafka.server(port, Path(folder)), log=Path(folder) / "broker.log")
        try:
            running.wait_ready(timeout_s=TIMEOUT_S)
            yield KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"), psutil.Process(running.pid)
        finally:
            running.stop(timeout_s=5.0)


def _cpu_s(process: psutil.Process | None) -> float:
    return float("nan") if process is None else sum(process.cpu_times()[:2])


def _fill(producer: Producer, topic: str, count: int) -> None:
    for number in range(count):
        producer.produce(topic, EVENT)
        if number % 500 == 0:
            # Librdkafka's own queue holds 100,000.
            producer.poll(0.1 if len(producer) > 50_000 else 0)
    if left := producer.flush(TIMEOUT_S):
        raise TimeoutError(f"the broker did not take {left} of {count} batches within {TIMEOUT_S:g} s")


def _read(reader: Consumer, count: int) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while count > 0:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} events were not read within {TIMEOUT_S:g} s")
        # Asked for more than come, librdkafka would wait for them.
        count -= sum(message.error() is None for message in reader.consume(min(count, 1_000), 0.1))


def _way(producer: Producer, reader: Consumer, topic: str) -> float:
    """Return the milliseconds from a single event's sending until it is read."""
    began = time.monotonic()
    producer.produce(topic, EVENT)
    producer.poll(0)
    _read(reader, 1)
    return (time.monotonic() - began) * 1000


if __name__ == "__main__":
    typer.run(main)
