"""The one writer: feature rows into Feast's online store in batches, and into the feature log."""

import logging
import time
from collections.abc import Sequence
from threading import Event
from typing import Any

from feast.infra.online_stores.redis import RedisOnlineStore
from redis.exceptions import RedisError

from feature_repo.layout import entity_of, field_names, fields, redis_key
from feature_repo.log import FeatureLog
from feature_repo.schema import STRUCTS, USER_VIEWS, VIEW_OF
from feature_repo.settings import FeatureStoreSettings
from feature_repo.store import PROJECT, config, online_client
from feature_repo.unsure import Rows, Unsure
from streams.features import FeatureRow

log = logging.getLogger(__name__)

# Tries while Redis is away: the first soon, for a restart takes a second; later ones rarely, for a full disk takes an hour.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0
_SAY_EVERY_S = 10.0


# What an operator calls these views.
_SHOWN = {"video_content": "video features", "video_engagement": "video statistics"}


class FeaturesAway(ConnectionError):
    """Redis was away when the writer was told to stop: what it was given is not written."""


class FeatureWriter:
    """Writes feature rows; of several of one entity and view in a call the last counts. Safe to use from several threads.

    It owns its keys in order: the flows send one entity's rows through one worker, and nobody else writes them.
    """

    def __init__(self, settings: FeatureStoreSettings, *, stopping: Event | None = None) -> None:
        """Write to `settings`' Redis; once `stopping` is set, a write waits for it no longer."""
        self._stopping = stopping or Event()
        store = config(settings)
        self._unsure = Unsure()
        self._redis = online_client(RedisOnlineStore(), store.online_store)
        self._redis.connection_pool.connection_kwargs["redis_connect_func"] = self._connected
        self._fields = {struct: fields(struct) for struct in VIEW_OF}
        self._log = FeatureLog(settings)

    def write(self, rows: Sequence[FeatureRow]) -> None:
        """Write `rows`, one command an entity, in one round trip.

        While Redis is away, or takes no writes, this waits, and with it the flow, whose input stays in Kafka.

        Raises:
            FeaturesAway: Redis was still away when the flow was told to stop.
        """
        newest: Rows = {(type(row), entity_of(row)): row for row in rows}
        written = newest
        self._put(written)
        if erasures := self._unsure.erased():
            # What Redis forgot may also be that it forgot somebody, who may have begun anew since.
            self._execute(erasures)
            self._put(written)
        while again := self._unsure.written(written):
            log.info("Redis was away: the %d rows that it had acknowledged last are written again", len(again))
            written = again
            self._put(written)
        self._log.add(list(newest.values()))

    def _connected(self, connection: Any) -> None:
        connection.on_connect()
        self._unsure.connected()

    def _put(self, rows: Rows) -> None:
        commands: dict[tuple[str, str], list[Any]] = {}
        for (struct, entity), row in rows.items():
            command = commands.get(entity)
            if command is None:
                command = commands[entity] = ["HSET", redis_key(PROJECT, *entity)]
            self._fields[struct](row, command)
        self._execute(list(commands.values()))

    def _execute(self, commands: list[list[Any]]) -> list[Any]:
        wait_s, since = _FIRST_WAIT_S, time.monotonic()
        said = since - _SAY_EVERY_S
        while True:
            try:
                with self._redis.pipeline(transaction=False) as pipe:
                    for command in commands:
                        pipe.execute_command(*command)
                    answers = list(pipe.execute())
            except (RedisError, OSError) as error:
                now = time.monotonic()
                if now - said >= _SAY_EVERY_S:
                    said = now
                    log.warning(
                        "features can't be written for %.0f s, the flow waits with its input: %s", now - since, _reason(error)
                    )
                if self._stopping.wait(wait_s):
                    raise FeaturesAway(
                        "Redis is away at a stop: what waits is read from Kafka again at the next start"
                    ) from error
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            else:
                if wait_s != _FIRST_WAIT_S:
                    log.info("features are written again after %.1f s", time.monotonic() - since)
                return answers

    def erase_user(self, user_id: str) -> dict[str, int]:
        """Forget a viewer; return how many rows went from Redis and from the log."""
        return {
            "redis: user features": self._delete("user_id", user_id, USER_VIEWS),
            "feature log": self._log.erase(USER_VIEWS, user_id),
        }

    def erase_video(self, video_id: str, kind: type[FeatureRow]) -> dict[str, int]:
        """Forget a video's rows of one kind; return how many went. What viewers did with it stays in their histories."""
        view = VIEW_OF[kind]
        return {
            f"redis: {_SHOWN[view]}": self._delete("video_id", video_id, [view]),
            f"feature log: {_SHOWN[view]}": self._log.erase([view], video_id),
        }

    def _delete(self, key: str, value: str, views: Sequence[str]) -> int:
        # Feast keeps all views of an entity in one hash, and offers no deletion of a single entity. A hash without fields goes.
        name = redis_key(PROJECT, key, value)
        commands: list[list[Any]] = [["HDEL", name, *field_names(STRUCTS[view])] for view in views]
        self._unsure.forget((key, value), [STRUCTS[view] for view in views], commands)
        gone = sum(int(fields) > 0 for fields in self._execute(commands))
        # Names are kept for speed: of who was forgotten, not even that.
        redis_key.cache_clear()
        return gone

    def close(self) -> None:
        """Write what the log still has in memory."""
        self._log.close()


def _reason(error: Exception) -> str:
    """Return why, without the command, which names a viewer: a log is not purged when the viewer is."""
    return str(error).rpartition(" of pipeline caused error: ")[2] or type(error).__name__
