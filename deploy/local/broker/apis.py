"""What the broker answers, one function an API."""

import asyncio
import secrets
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from kio.schema.errors import ErrorCode

from deploy.local.broker.batch import BadBatch
from deploy.local.broker.log import OffsetOutOfRange
from deploy.local.broker.sequences import Fenced, OutOfOrder
from deploy.local.broker.topics import BadConfig, TooLarge, Topics, wake
from deploy.local.broker.wire import API_VERSIONS, VERSIONS, Request

# The only node there is.
NODE = 1
_NONE = timedelta(0)
_LATEST, _EARLIEST = -1, -2
# Most partitions of a topic: each is a log, and a file once it is written to.
_MAX_PARTITIONS = 1_000

_REFUSED: dict[type[Exception], ErrorCode] = {
    BadBatch: ErrorCode.corrupt_message,
    TooLarge: ErrorCode.message_too_large,
    OutOfOrder: ErrorCode.out_of_order_sequence_number,
    Fenced: ErrorCode.invalid_producer_epoch,
}


class Apis:
    """The APIs over one set of topics, at the host:port that clients are told."""

    def __init__(self, topics: Topics, advertised: str) -> None:
        self._topics = topics
        self._host, _, port = advertised.rpartition(":")
        self._port = int(port)
        # Another one at each start: what a client knows of the offsets of the last holds for none of these.
        self._cluster_id = uuid.uuid4().hex
        # From somewhere else at each start: a client that outlived the last one keeps the id that it was given there.
        self._producers = count(secrets.randbits(40))
        self._answer: dict[int, Callable[[Request], Awaitable[Any]]] = {
            0: self._produce,
            1: self._fetch,
            2: self._list_offsets,
            3: self._metadata,
            10: self._find_coordinator,
            API_VERSIONS: self._api_versions,
            19: self._create_topics,
            22: self._init_producer_id,
        }

    async def answer(self, request: Request) -> Any:
        """Return the answer to `request`, None where the client wants none."""
        return await self._answer[request.api](request)

    async def _api_versions(self, request: Request) -> Any:
        make = request.answer
        spoken = [
            make("ApiVersion", api_key=api, min_version=oldest, max_version=newest)
            for api, (oldest, newest) in sorted(VERSIONS.items())
        ]
        error = ErrorCode.unsupported_version if request.body is None else ErrorCode.none
        return make("ApiVersionsResponse", error_code=error, api_keys=tuple(spoken), throttle_time=_NONE)

    async def _metadata(self, request: Request) -> Any:
        make, asked = request.answer, request.body.topics
        names = list(self._topics) if asked is None else [topic.name for topic in asked]
        node = make("MetadataResponseBroker", node_id=NODE, host=self._host, port=self._port)
        return make(
            "MetadataResponse",
            throttle_time=_NONE,
            brokers=(node,),
            cluster_id=self._cluster_id,
            controller_id=NODE,
            topics=tuple(self._described(request, name) for name in names),
        )

    def _described(self, request: Request, name: str) -> Any:
        make, topic = request.answer, self._topics.get(name)
        partitions = [
            make(
                "MetadataResponsePartition",
                error_code=ErrorCode.none,
                partition_index=number,
                leader_id=NODE,
                replica_nodes=(NODE,),
                isr_nodes=(NODE,),
                offline_replicas=(),
            )
            for number in range(len(topic.partitions) if topic is not None else 0)
        ]
        error = ErrorCode.unknown_topic_or_partition if topic is None else ErrorCode.none
        return make("MetadataResponseTopic", error_code=error, name=name, partitions=tuple(partitions))

    async def _create_topics(self, request: Request) -> Any:
        make = request.answer
        made = [
            make("CreatableTopicResult", name=topic.name, error_code=error, error_message=message)
            for topic in request.body.topics
            for error, message in [self._create(topic, only_ask=request.body.validate_only)]
        ]
        return make("CreateTopicsResponse", throttle_time=_NONE, topics=tuple(made))

    def _create(self, topic: Any, *, only_ask: bool) -> tuple[ErrorCode, str | None]:
        partitions = len(topic.assignments) or (1 if topic.num_partitions == -1 else topic.num_partitions)
        if self._topics.get(topic.name) is not None:
            return ErrorCode.topic_already_exists, f"topic {topic.name} exists"
        if not 1 <= partitions <= _MAX_PARTITIONS:
            return ErrorCode.invalid_partitions, f"expected 1 to {_MAX_PARTITIONS} partitions, got {partitions}"
        config = {setting.name: setting.value for setting in topic.configs}
        try:
            self._topics.create(topic.name, partitions, config, only_check=only_ask)
        except BadConfig as error:
            return ErrorCode.invalid_config, str(error)
        return ErrorCode.none, None

    async def _init_producer_id(self, request: Request) -> Any:
        # Transactions are not spoken here.
        refused = request.body.transactional_id is not None
        return request.answer(
            "InitProducerIdResponse",
            throttle_time=_NONE,
            error_code=ErrorCode.transactional_id_authorization_failed if refused else ErrorCode.none,
            producer_id=-1 if refused else next(self._producers),
            producer_epoch=-1 if refused else 0,
        )

    async def _find_coordinator(self, request: Request) -> Any:
        return request.answer(
            "FindCoordinatorResponse",
            throttle_time=_NONE,
            error_code=ErrorCode.coordinator_not_available,
            error_message="this broker keeps no consumer groups: assign partitions",
            node_id=-1,
            host="",
            port=-1,
        )

    async def _produce(self, request: Request) -> Any:
        make = request.answer
        answers = tuple(
            make(
                "TopicProduceResponse",
                name=topic.name,
                partition_responses=tuple(self._append(request, topic.name, part) for part in topic.partition_data),
            )
            for topic in request.body.topic_data
        )
        return None if request.body.acks == 0 else make("ProduceResponse", responses=answers, throttle_time=_NONE)

    def _append(self, request: Request, name: str, part: Any) -> Any:
        topic, partition = self._topics.get(name), self._topics.partition(name, part.index)
        offset, start, appended_at, message = -1, -1, None, None
        if topic is None or partition is None:
            error = ErrorCode.unknown_topic_or_partition
        else:
            appended_at, start = topic.appended_at(self._topics.now()), partition.log.start
            try:
                offset = partition.append(part.records or b"", appended_at=appended_at, max_bytes=topic.max_bytes)
                error = ErrorCode.none
            except tuple(_REFUSED) as refusal:
                error, message = _REFUSED[type(refusal)], str(refusal)
            except OSError as failure:
                error, message = ErrorCode.kafka_storage_error, str(failure)
        return request.answer(
            "PartitionProduceResponse",
            index=part.index,
            error_code=error,
            base_offset=offset,
            log_append_time=None if appended_at is None else datetime.fromtimestamp(appended_at / 1000, UTC),
            log_start_offset=start,
            record_errors=(),
            error_message=message,
        )

    async def _fetch(self, request: Request) -> Any:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.body.max_wait.total_seconds()
        while not self._is_enough(request) and loop.time() < deadline:
            await self._next_batch(request, deadline)
        return self._read(request)

    def _is_enough(self, request: Request) -> bool:
        """Return whether there is what was asked for at least, or the client must be told that it asked for what is not."""
        enough: int = request.body.min_bytes
        size = 0
        for topic in request.body.topics:
            for asked in topic.partitions:
                partition = self._topics.partition(topic.topic, asked.partition)
                if partition is None or not partition.log.start <= asked.fetch_offset <= partition.log.end:
                    return True
                size += partition.log.bytes_from(asked.fetch_offset)
        return size >= enough

    async def _next_batch(self, request: Request, deadline: float) -> None:
        """Return when one comes to any of the partitions asked for, or at the deadline."""
        loop = asyncio.get_running_loop()
        came: asyncio.Future[None] = loop.create_future()
        partitions = [
            partition
            for topic in request.body.topics
            for asked in topic.partitions
            if (partition := self._topics.partition(topic.topic, asked.partition)) is not None
        ]
        timer = loop.call_at(deadline, wake, came)
        try:
            for partition in partitions:
                partition.waiting.add(came)
            await came
        finally:
            timer.cancel()
            for partition in partitions:
                partition.waiting.discard(came)

    def _read(self, request: Request) -> Any:
        make, size, topics = request.answer, 0, []
        for topic in request.body.topics:
            partitions = []
            for asked in topic.partitions:
                partition = self._topics.partition(topic.topic, asked.partition)
                records, error, start, end = b"", ErrorCode.none, -1, -1
                if partition is None:
                    error = ErrorCode.unknown_topic_or_partition
                else:
                    start, end = partition.log.start, partition.log.end
                    room = max(0, request.body.max_bytes - size)
                    try:
                        records = partition.log.read(asked.fetch_offset, min(asked.partition_max_bytes, room))
                    except OffsetOutOfRange:
                        error = ErrorCode.offset_out_of_range
                    # The first batch of all comes whatever its size, or a reader would never get past it.
                    if size and len(records) > room:
                        records = b""
                size += len(records)
                partitions.append(
                    make(
                        "PartitionData",
                        partition_index=asked.partition,
                        error_code=error,
                        high_watermark=end,
                        last_stable_offset=end,
                        log_start_offset=start,
                        aborted_transactions=None,
                        records=records,
                    )
                )
            topics.append(make("FetchableTopicResponse", topic=topic.topic, partitions=tuple(partitions)))
        return make("FetchResponse", throttle_time=_NONE, error_code=ErrorCode.none, session_id=0, responses=tuple(topics))

    async def _list_offsets(self, request: Request) -> Any:
        make = request.answer
        topics = [
            make(
                "ListOffsetsTopicResponse",
                name=topic.name,
                partitions=tuple(self._offset(request, topic.name, asked) for asked in topic.partitions),
            )
            for topic in request.body.topics
        ]
        return make("ListOffsetsResponse", throttle_time=_NONE, topics=tuple(topics))

    def _offset(self, request: Request, name: str, asked: Any) -> Any:
        partition = self._topics.partition(name, asked.partition_index)
        offset, time, error = -1, -1, ErrorCode.none
        if partition is None:
            error = ErrorCode.unknown_topic_or_partition
        elif asked.timestamp == _LATEST:
            offset = partition.log.end
        elif asked.timestamp == _EARLIEST:
            offset = partition.log.start
        elif (found := partition.log.offset_at(asked.timestamp)) is not None:
            offset, time = found
        return request.answer(
            "ListOffsetsPartitionResponse",
            partition_index=asked.partition_index,
            error_code=error,
            timestamp=time,
            offset=offset,
        )
