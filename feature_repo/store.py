"""The Feast store as the rest of Headwater opens it: by settings instead of a file. Importing this costs seconds of CPU."""

from pathlib import Path
from typing import Any

from feast import FeatureStore, RepoConfig
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.repo_config import RegistryConfig
from redis.backoff import NoBackoff
from redis.retry import Retry

from feature_repo.log import FeatureLog
from feature_repo.settings import FeatureStoreSettings
from feature_repo.views import VIDEO, VIEWER, build_views, viewer_service

PROJECT = "headwater"


def config(settings: FeatureStoreSettings, *, single_writer: bool = False) -> RepoConfig:
    """Return Feast's configuration.

    A `single_writer` owns its keys in order, so it skips the look at each stored timestamp: one round trip, not two.
    `feast materialize`, which does not, must look.
    """
    if not settings.connection_string:
        raise ConnectionError("features.connection_string is empty: start the local stack with `headwater up`, or name a Redis")
    timeout = f"socket_timeout={settings.read_timeout_s},socket_connect_timeout={settings.read_timeout_s}"
    return RepoConfig(
        project=PROJECT,
        provider="local",
        registry=RegistryConfig(path=str(Path(settings.registry).resolve()), cache_ttl_seconds=0),
        online_store=RedisOnlineStoreConfig(
            connection_string=f"{settings.connection_string},{timeout}", skip_dedup=single_writer
        ),
        offline_store="file",
        entity_key_serialization_version=3,
    )


def online_client(store: OnlineStore, settings: Any) -> Any:
    """Return the Redis client that `store` uses, which tries once more at once, and then says that Redis is away.

    By default it would try for ten seconds: a thread that reads for a page would be lost to the pages after it.
    """
    assert isinstance(store, RedisOnlineStore), f"the online store is a {type(store).__name__}"
    client = store._get_client(settings)
    client.set_retry(Retry(NoBackoff(), 1))
    return client


def open_store(settings: FeatureStoreSettings) -> FeatureStore:
    """Return Feast's own store over these settings: for training data, materialization, and comparison."""
    return FeatureStore(config=config(settings))


def apply(settings: FeatureStoreSettings) -> None:
    """Register entities, views and the service, as `feast apply` does; doing it again changes nothing."""
    Path(settings.registry).parent.mkdir(parents=True, exist_ok=True)
    FeatureLog(settings).ensure_readable()
    views = build_views(Path(settings.log).resolve())
    open_store(settings).apply([VIEWER, VIDEO, *views.values(), viewer_service(views)])
