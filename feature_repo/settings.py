"""Where the feature store keeps its rows."""

from pydantic import BaseModel, Field


class FeatureStoreSettings(BaseModel):
    """Options of the online store (Redis) and of the feature log (Parquet)."""

    connection_string: str = Field(
        "", description="Redis as host:port[,password=…,ssl=True]; empty starts one under `headwater up`"
    )
    log: str = Field("var/feature_log", description="folder of the feature log in Parquet, the source of training data")
    registry: str = Field("var/feast/registry.db", description="Feast's registry: a file, or any address Feast knows")
    log_every_s: float = Field(
        30.0, ge=0, description="an entity's row is logged at most this often: shorter is truer in training, and larger"
    )
    log_flush_s: float = Field(30.0, gt=0, description="longest time a row waits in memory before it is in the log")
    read_timeout_s: float = Field(0.5, gt=0, description="longest wait for Redis; past it the feed goes on from memory")
