"""Which struct is which feature view, and the columns of its history."""

from functools import cache
from typing import Any, get_type_hints

import pyarrow as pa

from streams.features import FeatureRow, UserActivity, UserHistory, UserInterests, Vector, VideoContent, VideoEngagement

STRUCTS: dict[str, type[FeatureRow]] = {
    "user_activity": UserActivity,
    "user_interests": UserInterests,
    "user_history": UserHistory,
    "video_engagement": VideoEngagement,
    "video_content": VideoContent,
}
VIEW_OF: dict[type[FeatureRow], str] = {struct: name for name, struct in STRUCTS.items()}
USER_VIEWS = tuple(name for name, struct in STRUCTS.items() if struct.__struct_fields__[0] == "user_id")

_ARROW: dict[Any, pa.DataType] = {
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    Vector: pa.list_(pa.float32()),
    list[str]: pa.list_(pa.string()),
    list[int]: pa.list_(pa.int64()),
    list[float]: pa.list_(pa.float64()),
}


def entity_key(struct: type[FeatureRow]) -> str:
    """Return the field that says whom a row of `struct` is about."""
    return struct.__struct_fields__[0]


@cache
def feature_types(struct: type[FeatureRow]) -> dict[str, Any]:
    """Return the features of `struct` by name with their Python types: all but whose they are and when they were true."""
    hints = get_type_hints(struct)
    return {name: hints[name] for name in struct.__struct_fields__[2:]}


def log_schema(struct: type[FeatureRow]) -> pa.Schema:
    """Return the columns of the feature log of `struct`, with the timestamp Feast joins on."""
    features = [(name, _ARROW[kind]) for name, kind in feature_types(struct).items()]
    return pa.schema([(entity_key(struct), pa.string()), ("event_timestamp", pa.timestamp("ms", tz="UTC")), *features])
