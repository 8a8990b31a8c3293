"""The entities and feature views: one view a struct of `streams.features`, so that a feature is written down once.

Each view's history is the feature log in Parquet, from which Feast draws point-in-time training data and materializes.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import Array, FeastType, Float32, Float64, Int64, String

from feature_repo.schema import STRUCTS, USER_VIEWS, entity_key, feature_types
from streams.features import FeatureRow, Vector

DTYPES: dict[Any, FeastType] = {
    int: Int64,
    float: Float64,
    str: String,
    Vector: Array(Float32),
    list[str]: Array(String),
    list[int]: Array(Int64),
    list[float]: Array(Float64),
}

VIEWER = Entity(name="viewer", join_keys=["user_id"], value_type=ValueType.STRING, description="One who watches")
VIDEO = Entity(name="video", join_keys=["video_id"], value_type=ValueType.STRING, description="A video or live room")

# Older features than this are not served: as long as the long interests' half-life keeps a meaning.
TTL = timedelta(days=90)


def build_views(log: Path) -> dict[str, FeatureView]:
    """Return the feature views by name, with their history below the folder `log`."""
    return {name: _view(name, struct, log / name) for name, struct in STRUCTS.items()}


def _view(name: str, struct: type[FeatureRow], folder: Path) -> FeatureView:
    history = FileSource(name=f"{name}_log", path=str(folder), timestamp_field="event_timestamp")
    return FeatureView(
        name=name,
        description=(struct.__doc__ or "").splitlines()[0],
        entities=[VIEWER if entity_key(struct) == "user_id" else VIDEO],
        ttl=TTL,
        schema=[Field(name=feature, dtype=DTYPES[kind]) for feature, kind in feature_types(struct).items()],
        source=PushSource(name=f"{name}_push", batch_source=history),
    )


def viewer_service(views: dict[str, FeatureView]) -> FeatureService:
    """Return the features that a page is made from."""
    return FeatureService(name="viewer", features=[views[name] for name in USER_VIEWS])
