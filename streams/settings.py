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
    scrub_every_s: float = Field(
        60.0, gt=0, description="recovery files are rewritten after an erasure at most this often: shorter, and each waits less"
    )
    perceive_concurrency: int = Field(2, ge=1, description="videos decoded and encoded at once; more than cores only queue")
    perceive_live_every_s: float = Field(30.0, gt=0, description="how often a live room is perceived again")
    perceive_retry_max_s: float = Field(
        5.0, gt=0, description="longest wait between tries while the encoders are away: longer, and uploads wait on after it"
    )
    video_kept_h: float = Field(
        192.0, ge=192.0, description="so long after its upload a video leaves topics and features; at least feed.max_age_h"
    )
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
    feedback_file_s: float = Field(
        60.0, gt=0, description="a file of the feedback log is written at least this often: longer makes fewer, larger files"
    )
    feedback_log: str = Field("var/feedback_log", description="folder of the Parquet log of feedback, partitioned by day")


class TelemetrySettings(BaseModel):
    """Traces: those that pages ask for go to the topic `spans`; to a collector go these and a share of all others."""

    otlp_endpoint: str = Field(
        "", description="OTLP over HTTP, such as http://collector:4318/v1/traces; empty sends traces to no collector"
    )
    sample_share: float = Field(
        0.01, ge=0, le=1, description="share of requests traced for the collector; unused without otlp_endpoint"
    )
    max_sampled_per_s: int = Field(20, ge=0, description="most traces begun by one API node; each is ten events; 0: none")
