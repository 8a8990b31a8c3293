"""How the flows run: recovery, windows, rate limits. Each number says what breaks if it is larger or smaller."""

from pydantic import BaseModel, Field


class FlowSettings(BaseModel):
    """Options of the four flows."""

    workers: int = Field(1, ge=1, description="Bytewax worker threads a flow; more than its topic's partitions idle")
    snapshot_ms: int = Field(
        250, ge=50, description="recovery snapshot interval: longer holds up events longer each time, shorter writes more"
    )
    background_snapshot_ms: int = Field(
        2000, ge=50, description="the same for rerank and feedback, for whose output nobody waits"
    )
    perceive_concurrency: int = Field(2, ge=1, description="videos decoded and encoded at once; more than cores only queue")
    perceive_live_every_s: float = Field(30.0, gt=0, description="how often a live room is perceived again")
    perceive_retry_max_s: float = Field(60.0, gt=0, description="longest wait between tries while the encoders are away")
    plan_min_interval_s: float = Field(20.0, ge=0, description="least time between plans for one viewer, instructions aside")
    plan_budget_per_minute: int = Field(600, ge=1, description="plans a minute over all viewers: the cap on the ranker's cost")
    plan_ttl_s: float = Field(600.0, gt=0, description="a plan's life: longer and it outlives the mood it was made in")
    instruction_ttl_s: float = Field(7200.0, gt=0, description="how long an instruction steers a viewer's plans")
    feedback_silence_s: float = Field(60.0, gt=0, description="a slate closes after this long without an interaction")
    feedback_live_silence_s: float = Field(30.0, gt=0, description="the same for a slate with a live room in it")
    feedback_max_s: float = Field(600.0, gt=0, description="a slate closes this long after it was served, come what may")
    feedback_grace_s: float = Field(
        15.0, ge=0, description="no window closes this soon after a start, while what came meanwhile is read"
    )
    feedback_log: str = Field("var/feedback_log", description="folder of the Parquet log of feedback, partitioned by day")
