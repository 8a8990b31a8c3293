"""The one reader of a viewer's features, through Feast."""

from collections.abc import Callable
from typing import Any

import numpy as np
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value
from redis.exceptions import RedisError

from feature_repo.schema import STRUCTS, USER_VIEWS, feature_types
from feature_repo.settings import FeatureStoreSettings
from feature_repo.store import online_client, open_store
from streams.features import FeatureRow, Vector, ViewerFeatures

DECODERS: dict[Any, Callable[[Value], Any]] = {
    int: lambda value: value.int64_val,
    float: lambda value: value.double_val,
    str: lambda value: value.string_val,
    Vector: lambda value: np.array(value.float_list_val.val, dtype=np.float32),
    list[str]: lambda value: list(value.string_list_val.val),
    list[int]: lambda value: list(value.int64_list_val.val),
    list[float]: lambda value: list(value.double_list_val.val),
}


class FeatureReader:
    """Reads viewers. Safe to use from several threads."""

    def __init__(self, settings: FeatureStoreSettings) -> None:
        self._store = open_store(settings)
        self._service = self._store.get_feature_service("viewer")
        self._redis = online_client(self._store._get_provider().online_store, self._store.config.online_store)

    def viewer(self, user_id: str) -> ViewerFeatures:
        """Return what is stored of one viewer, in about half a millisecond.

        Raises:
            ConnectionError: Redis can't be reached, or does not answer within `features.read_timeout_s`.
        """
        try:
            answer = self._store.get_online_features(self._service, [{"user_id": user_id}], full_feature_names=True)
        except RedisError as error:
            raise ConnectionError(f"features of viewer {user_id} can't be read: {error}") from error
        return _viewer(user_id, answer.proto)

    def ping(self) -> None:
        """Return once Redis answers.

        Raises:
            ConnectionError: it does not within `features.read_timeout_s`.
        """
        try:
            self._redis.ping()
        except RedisError as error:
            raise ConnectionError(f"Redis does not answer: {error}") from error


def _viewer(user_id: str, answer: GetOnlineFeaturesResponse) -> ViewerFeatures:
    columns = dict(zip(answer.metadata.feature_names.val, answer.results, strict=True))
    rows: dict[str, Any] = {view: _row(user_id, view, columns) for view in USER_VIEWS}
    return ViewerFeatures(
        user_id=user_id,
        activity=rows["user_activity"],
        interests=rows["user_interests"],
        history=rows["user_history"],
    )


def _row(user_id: str, view: str, columns: dict[str, Any]) -> FeatureRow | None:
    struct: Any = STRUCTS[view]
    kinds = feature_types(struct)
    of_view = {name: columns[f"{view}__{name}"] for name in kinds}
    first = next(iter(of_view.values()))
    as_of = first.event_timestamps[0].ToMilliseconds()
    # An entity whose other views are written already, and this one not yet, is "present" here with no values, as of 1970.
    if first.statuses[0] != FieldStatus.PRESENT or as_of == 0:
        return None
    values = {name: DECODERS[kinds[name]](column.values[0]) for name, column in of_view.items()}
    row: FeatureRow = struct(user_id=user_id, as_of=as_of, **values)
    return row
