"""Features through real Feast and real Redis: what the writer writes, Feast reads, and the other way round."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from feature_repo.schema import STRUCTS, USER_VIEWS
from feature_repo.settings import FeatureStoreSettings
from streams.features import UserActivity, UserHistory, UserInterests, VideoEngagement

pytestmark = pytest.mark.stack

NOW = int(datetime.now(UTC).timestamp() * 1000)
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(stack: Any, tmp_path: Path) -> FeatureStoreSettings:
    from feature_repo import store

    own = stack.settings.features.model_copy(
        update={"log": str(tmp_path / "log"), "registry": str(tmp_path / "registry.db"), "log_every_s": 0.0}
    )
    store.apply(own)
    return own


@pytest.fixture
def writer(settings: FeatureStoreSettings) -> Any:
    from feature_repo.writer import FeatureWriter

    made = FeatureWriter(settings)
    yield made
    made.close()


@pytest.fixture
def reader(settings: FeatureStoreSettings) -> Any:
    from feature_repo.reader import FeatureReader

    return FeatureReader(settings)


def activity(user_id: str, likes: int = 1, *, as_of: int = NOW) -> UserActivity:
    return UserActivity(
        user_id=user_id, as_of=as_of, events=likes, impressions=0, plays=300, completes=20_000, likes=likes, skips=0,
        skip_streak=0, session_id="séance", session_events=1, session_watch_ms=5_000_000_000,
    )  # fmt: skip


def interests(user_id: str) -> UserInterests:
    vector = np.random.default_rng(1).normal(size=384).astype(np.float32)
    return UserInterests(
        user_id=user_id, as_of=NOW, short=vector, long=-vector, short_weight=0.25, long_weight=-1e9, topics=["cooking", "été"]
    )


def history(user_id: str, size: int) -> UserHistory:
    return UserHistory(
        user_id=user_id, as_of=NOW, video_ids=[f"video-{n}" for n in range(size)], weights=[n / 200 for n in range(size)],
        seen_at=[NOW - n for n in range(size)], followed=["bob"], blocked=[],
    )  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 200])
def test_what_is_written_is_read_back(writer: Any, reader: Any, size: int) -> None:
    user = f"back-{size}"
    writer.write([activity(user), interests(user), history(user, size)])
    viewer = reader.viewer(user)
    assert viewer.activity == activity(user)
    assert viewer.history == history(user, size)
    np.testing.assert_array_equal(viewer.interests.short, interests(user).short)
    assert (viewer.interests.topics, viewer.interests.long_weight) == (["cooking", "été"], -1e9)
    assert viewer.as_of == NOW


def test_a_viewer_never_seen_has_no_features(reader: Any) -> None:
    viewer = reader.viewer("nobody")
    assert (viewer.activity, viewer.interests, viewer.history, viewer.as_of) == (None, None, None, 0)


def test_of_two_rows_of_a_viewer_the_last_counts(writer: Any, reader: Any) -> None:
    writer.write([activity("twice", 1), activity("twice", 2)])
    assert reader.viewer("twice").activity.likes == 2


def test_the_writer_leaves_the_bytes_that_feast_itself_would(settings: FeatureStoreSettings, writer: Any) -> None:
    from feast.infra.online_stores.redis import RedisOnlineStore

    from feature_repo.layout import redis_key
    from feature_repo.store import open_store

    feast = open_store(settings)
    redis = RedisOnlineStore()._get_client(feast.config.online_store)
    stats = VideoEngagement(
        video_id="bytes", as_of=NOW, impressions=1.5, plays=0.0, completions=-0.0, watch_share=1e-300, likes=3.0, shares=0.0,
        comments=0.0, skips=0.0, reports=0.0, total_impressions=200,
    )  # fmt: skip
    for view, row, key in [
        ("user_activity", activity("bytes"), "user_id"),
        ("user_history", history("bytes", 3), "user_id"),
        ("user_interests", interests("bytes"), "user_id"),
        ("video_engagement", stats, "video_id"),
    ]:
        name = redis_key("headwater", key, "bytes")
        redis.delete(name)
        writer.write([row])
        ours = redis.hgetall(name)
        redis.delete(name)
        columns = {field: [getattr(row, field)] for field in STRUCTS[view].__struct_fields__ if field != "as_of"}
        frame = pd.DataFrame(columns | {"event_timestamp": [datetime.fromtimestamp(NOW / 1000, UTC)]})
        feast.write_to_online_store(view, frame)
        assert redis.hgetall(name) == ours, view


def test_an_erased_viewer_is_gone_from_redis_and_from_the_log(writer: Any, reader: Any, settings: FeatureStoreSettings) -> None:
    writer.write([activity("erased"), history("erased", 3), activity("stays")])
    assert writer.erase_user("erased") == {"redis: user features": 2, "feature log": 2}
    assert reader.viewer("erased").activity is None
    assert reader.viewer("stays").activity is not None
    files = Path(settings.log).glob("user_activity/day=*/*.parquet")
    assert set(pd.concat(pd.read_parquet(file) for file in files)["user_id"]) == {"stays"}


def test_training_data_is_as_it_was_at_the_time(settings: FeatureStoreSettings, writer: Any) -> None:
    from feature_repo.store import open_store

    for minutes, likes in ((30, 1), (20, 2), (10, 3)):
        writer.write([activity("trained", likes, as_of=NOW - minutes * 60_000)])
    writer.close()
    at = [datetime.fromtimestamp(NOW / 1000, UTC) - timedelta(minutes=minutes) for minutes in (25, 15, 5)]
    asked = pd.DataFrame({"user_id": ["trained"] * 3, "event_timestamp": at})
    joined = open_store(settings).get_historical_features(asked, ["user_activity:likes"]).to_df()
    assert list(joined.sort_values("event_timestamp")["likes"]) == [1, 2, 3]


def test_the_log_keeps_one_row_of_a_viewer_in_a_while(settings: FeatureStoreSettings) -> None:
    from feature_repo.log import FeatureLog

    log = FeatureLog(settings.model_copy(update={"log_every_s": 10.0}))
    log.add([activity("often", n, as_of=NOW + n * 1000) for n in range(25)])
    log.close()
    files = Path(settings.log).glob("user_activity/day=*/*.parquet")
    assert list(pd.concat(pd.read_parquet(file) for file in files)["likes"]) == [0, 10, 20]


def test_materialize_brings_back_what_redis_lost(settings: FeatureStoreSettings, writer: Any, reader: Any) -> None:
    from feature_repo.store import open_store

    writer.write([activity("lost", 5, as_of=NOW - 60_000)])
    writer.close()
    writer._delete("user_id", "lost", USER_VIEWS)
    assert reader.viewer("lost").activity is None
    now = datetime.now(UTC)
    open_store(settings).materialize(now - timedelta(hours=1), now)
    assert reader.viewer("lost").activity.likes == 5


def test_materialize_never_overwrites_what_is_newer(settings: FeatureStoreSettings, writer: Any, reader: Any) -> None:
    from feature_repo.store import open_store

    writer.write([activity("newer", 5, as_of=NOW - 60_000)])
    writer._log.flush()
    writer._log.add = lambda rows: None
    writer.write([activity("newer", 6, as_of=NOW - 1000)])
    now = datetime.now(UTC)
    open_store(settings).materialize(now - timedelta(hours=1), now)
    assert reader.viewer("newer").activity.likes == 6


def test_feasts_own_command_applies_this_folder(stack: Any, tmp_path: Path) -> None:
    repo = CHECKOUT / "feature_repo"
    environment = {
        "PATH": str(Path(sys.executable).parent),
        "HEADWATER_REDIS": stack.settings.features.connection_string,
        "HEADWATER_FEATURES__LOG": stack.settings.features.log,
        "FEAST_USAGE": "False",
    }
    yaml = tmp_path / "feature_store.yaml"
    yaml.write_text((repo / "feature_store.yaml").read_text().replace("../var/feast", str(tmp_path)))
    done = subprocess.run(
        [sys.executable, "-m", "feast.cli.cli", "--feature-store-yaml", str(yaml), "apply"],
        cwd=repo, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in STRUCTS:
        assert name in done.stdout
