"""The one writer: feature rows into Feast's online store in batches, and into the feature log."""

import logging
from collections.abc import Sequence
from typing import Any

import stamina
from feast.infra.online_stores.redis import RedisOnlineStore
from redis.exceptions import RedisError

from feature_repo.layout import entity_of, fields, redis_key
from feature_repo.log import FeatureLog
from feature_repo.schema import VIEW_OF
from feature_repo.settings import FeatureStoreSettings
from feature_repo.store import PROJECT, config
from streams.features import FeatureRow

log = logging.getLogger(__name__)


class FeatureWriter:
    """Writes feature rows; of several of one entity and view in a call the last counts. Safe to use from several threads.

    It owns its keys in order: the flows send one entity's rows through one worker, and nobody else writes them.
    """

    def __init__(self, settings: FeatureStoreSettings) -> None:
        store = config(settings)
        self._redis = RedisOnlineStore()._get_client(store.online_store)
        self._fields = {struct: fields(struct) for struct in VIEW_OF}
        self._log = FeatureLog(settings)

    def write(self, rows: Sequence[FeatureRow]) -> None:
        """Write `rows`, one command an entity, in one round trip.

        While Redis is away this waits, and with it the flow, whose input stays in Kafka.

        Raises:
            redis.exceptions.RedisError: Redis did not come back within a minute.
        """
        newest = {(type(row), entity_of(row)): row for row in rows}
        commands: dict[tuple[str, str], list[Any]] = {}
        for (struct, entity), row in newest.items():
            command = commands.get(entity)
            if command is None:
                command = commands[entity] = ["HSET", redis_key(PROJECT, *entity)]
            self._fields[struct](row, command)
        self._execute(list(commands.values()))
        self._log.add(list(newest.values()))

    @stamina.retry(on=(RedisError, OSError), attempts=None, timeout=60.0, wait_max=2.0)
    def _execute(self, commands: list[list[Any]]) -> list[Any]:
        with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return list(pipe.execute())

    def erase_user(self, user_id: str) -> dict[str, int]:
        """Forget a viewer; return how many rows went from Redis and from the log."""
        return {"redis: user features": self._delete("user_id", user_id), "feature log": self._log.erase_user(user_id)}

    def erase_video(self, video_id: str) -> dict[str, int]:
        """Forget a video; return how many rows went from Redis. What viewers did with it stays in their histories."""
        return {"redis: video features": self._delete("video_id", video_id)}

    def _delete(self, key: str, value: str) -> int:
        # Feast keeps all views of an entity in one hash, and offers no deletion of a single entity.
        return int(self._execute([["DEL", redis_key(PROJECT, key, value)]])[0])

    def close(self) -> None:
        """Write what the log still has in memory."""
        self._log.close()
