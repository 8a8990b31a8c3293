"""How perception reaches its encoders and its media. Each number says what breaks if it is larger or smaller."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

# Instead of an address: the stack's own server, whose address is known when it runs.
LOCAL = "local"


class TritonSettings(BaseModel):
    """Where the encoders are and how long they may take."""

    grpc_url: str = Field("", description="host:port of Triton's gRPC; empty starts the embedded one under `headwater up`")
    http_url: str = Field("", description="host:port of Triton's HTTP, for health checks; empty as grpc_url")
    timeout_s: float = Field(
        10.0,
        gt=0,
        description="deadline of one try of a request: shorter fails on a busy machine, longer waits for a hung server",
    )
    hedge_after_s: float = Field(
        0.0, ge=0, description="send a request again beside the first after so long, and take whichever answers; 0 never does"
    )
    attempts: int = Field(3, ge=1, description="tries of one request before its caller is told that the encoders are away")
    breaker_failures: int = Field(5, ge=1, description="failed requests in a row after which none is sent for a while")
    breaker_reset_s: float = Field(
        2.0, gt=0, description="how long none is sent: longer delays the recovery, shorter hammers a starting server"
    )


class CanarySettings(BaseModel):
    """How long, in seconds, a new release of a model is watched before all get it, three times as long at most; 0: all at once.

    The model learns nothing new meanwhile.
    """

    agent: float = Field(3_600.0, ge=0, description="it takes many minutes to learn, and few viewers are planned for at a time")
    ranker: float = Field(
        900.0,
        ge=0,
        description="shorter and it is fresher, longer and a bad one is found more surely; a page counts once it is in the "
        "feedback log, ten minutes after it was served at most",
    )
    towers: float = Field(900.0, ge=0, description="as of the ranker; each node keeps its videos in two spaces meanwhile")

    def of(self, model: str) -> float:
        """Return that of a model by its name, 0 where it has none."""
        return float(getattr(self, model, 0.0))


class LearningSettings(BaseModel):
    """How models learn from what viewers did while the house runs."""

    every_s: float = Field(
        300.0,
        ge=0,
        description="how often models learn; more often is fresher and takes the cores longer; 0: only `headwater learn`",
    )
    least_places: int = Field(
        5_000, ge=1, description="places of pages with feedback that came since the last time; fewer teach nothing new"
    )
    days: int = Field(
        30, ge=1, description="how far back feedback is learned from: longer knows more tastes, takes longer, and ages"
    )
    towers_afresh_s: float = Field(
        86_400.0,
        ge=0,
        description="age from which towers learn from nothing again, and the words they know; before it they go on from what "
        "serves, in a fraction of the time; 0: always from nothing",
    )
    releases: Path = Field(Path("var/releases"), description="folder of what was learned; every node of the API must see it")
    runs: Path = Field(
        Path("var/learning"), description="folder of what is being learned: curves, which /ops shows, and where to go on"
    )
    canary_share: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="share of viewers who get a new release first: more, and it is known sooner what it is worth, and more "
        "have it if it is bad; 0: all get it at once",
    )
    canary_s: CanarySettings = CanarySettings()
    seed: int = Field(0, ge=0, description="of all that is drawn while learning")


class AgentSettings(BaseModel):
    """Who decides as a viewer would: a language model on vLLM, off the request path. Without one, interests rank the plans."""

    url: str = Field(
        "",
        pattern=r"^(|local|https?://.+)$",
        description="a vLLM server: http://host:port; local: the stack's own, with a small model (`make llm`); empty: none",
    )
    model: str = Field("Qwen/Qwen2.5-7B-Instruct", min_length=1, max_length=512, description="the model to ask that server for")
    api_key: str = Field("", description="its key, if it wants one")
    thought: int = Field(
        0,
        ge=0,
        le=2_000,
        description="characters of thought before an answer: more may decide better, and takes longer; 0: none",
    )
    memory_tokens: int = Field(
        400,
        ge=50,
        description="about how many tokens tell of a viewer: more tell of more videos, and are computed for each plan",
    )
    judged: int = Field(
        20,
        ge=1,
        le=200,
        description="videos of a pool that the model judges for a plan, the first (8 at most by the stack's own server); the "
        "others follow as they were",
    )
    together: int = Field(
        16, ge=1, description="questions about one viewer that are asked at once: a server answers them in one batch"
    )
    timeout_s: float = Field(10.0, gt=0, description="longest wait for one answer")
    plan_within_s: float = Field(
        5.0,
        gt=0,
        description="longest time for one plan, all its answers: past it interests rank; plans wait for each other, so longer "
        "holds up other viewers' plans and instructions as long",
    )
    tokens_per_minute: int = Field(
        1_000_000,
        ge=0,
        description="tokens a minute that questions for plans may have, over all viewers: the cap on a server's bill; past it "
        "interests rank; 0: no cap",
    )
    lora_rank: int = Field(16, ge=1, description="highest rank of an adapter that the server takes (vLLM's --max-lora-rank)")
    untested: bool = Field(
        False,
        description="let it plan for all viewers, also where it was not measured to help, and without an adapter",
    )
    max_tokens: int = Field(300, ge=8, description="longest answer: shorter cuts thoughts off, which are then no answer")
    breaker_failures: int = Field(3, ge=1, description="failed answers in a row after which none is asked for, for a while")
    breaker_reset_s: float = Field(10.0, gt=0, description="how long none is asked for")


class TuningSettings(BaseModel):
    """How the agent's language model learns: from answers that were right (SFT), then from the rewards of its own (GRPO)."""

    base: str = Field(
        "",
        description="folder of the weights of agent.model, in Hugging Face's form; empty: those of the stack's own small "
        "model, and of no other",
    )
    questions: int = Field(
        2_000, ge=1, description="most questions learned from, drawn from all: more teach more, and take longer in proportion"
    )
    held_out: float = Field(0.2, gt=0, lt=1, description="share of the questions, the newest, by which the gate judges")
    judged: int = Field(
        400, ge=50, description="most questions by which the gate judges: fewer are judged sooner, and less surely"
    )
    choices: float = Field(
        0.2, ge=0, le=1, description="share of the questions that are asked whole, which comes next; of the others each video"
    )
    candidates: int = Field(4, ge=2, le=20, description="videos of a question: more are a harder choice, and a longer prompt")
    rank: int = Field(16, ge=1, le=256, description="rank of the LoRA adapter; the server takes none of a higher one")
    layers: int = Field(
        0, ge=0, description="layers that learn, the last: what is below them is computed in half the time; 0: all"
    )
    warm_start: float = Field(
        0.5, ge=0, le=1, description="share of the questions, the oldest, that SFT learns from; GRPO learns from the others"
    )
    epochs: float = Field(1.0, ge=0, description="times that the questions are gone through in SFT; 0: no SFT")
    batch: int = Field(
        2, ge=1, description="questions a step, in SFT and GRPO: a small model learns sooner from many steps of few questions"
    )
    sft_rate: float = Field(2e-3, gt=0, description="learning rate of SFT; a larger model wants a smaller one")
    steps: int = Field(100, ge=0, description="steps of GRPO; 0: no GRPO")
    group: int = Field(
        16,
        ge=2,
        description="answers to each prompt, of which GRPO learns: fewer are often all equal, and short ones cost little",
    )
    grpo_rate: float = Field(
        3e-4, gt=0, description="learning rate of GRPO at first: larger, and a small model soon gives one answer to all"
    )
    kl: float = Field(
        0.2,
        ge=0,
        description="how much straying from the model before GRPO costs: with less it is soon sure of all, and tries no more",
    )
    rollouts: Literal["local", "server"] = Field(
        "local",
        description="what samples the answers that GRPO learns from: local: the model that learns; server: the vLLM server at "
        "agent.url, which holds them to their form; it must see learning.runs, and answers plans more slowly meanwhile",
    )
    loss: Literal["grpo", "dr_grpo", "dapo", "gspo"] = Field(
        "dr_grpo",
        description="which form of GRPO: dr_grpo takes what answers are worth as it is; the others divide by its spread in a "
        "group, which soon makes a small model sure of all",
    )
    rewards: dict[str, float] = Field(
        default_factory=lambda: {"accuracy": 1.0},
        description="what an answer is worth: weights of form, accuracy, rank_quality, diversity, novelty, watch_time, "
        'creator_fairness, or of a platform\'s own function as "package.module:function"',
    )
    save_steps: int = Field(20, ge=1, description="steps after which a run that is ended goes on from there")


class StepSettings(BaseModel):
    """How long each step of understanding a video's frames may take. One that takes longer is left out of its perception.

    The first, the glance, has the encoders' own deadline: without it there is no perception.
    """

    key_frames_s: float = Field(5.0, gt=0, description="choosing key frames; without, what the glance saw stands")
    perceive_s: float = Field(5.0, gt=0, description="looking at key frames; without, what the glance saw stands")
    read_s: float = Field(5.0, gt=0, description="reading the text in key frames: each line takes a tenth of a second")
    listen_s: float = Field(3.0, gt=0, description="telling speech from music")


class MediaSettings(BaseModel):
    """Which media may be read, and how much of it."""

    allowed_schemes: tuple[str, ...] = Field(("file", "http", "https"), description="schemes of a media_uri")
    roots: tuple[Path, ...] = Field((Path("var/media"),), description="folders that file: URIs may read below; none other")
    private_hosts: tuple[str, ...] = Field(
        (), description="names of hosts that may have a private address, such as an object store of your own"
    )
    max_bytes: int = Field(200_000_000, ge=1, description="largest media file; a larger one fills the disk while it is fetched")
    max_duration_ms: int = Field(3_600_000, ge=1, description="longest video; live rooms have no bound")
    max_pixels: int = Field(36_000_000, ge=1, description="largest width x height; 8K is 33 million")
    max_redirects: int = Field(3, ge=0, description="redirects followed, each checked as the first address was")
    fetch_timeout_s: float = Field(20.0, gt=0, description="longest fetch of one file, all redirects and tries together")
    decode_timeout_s: float = Field(15.0, gt=0, description="longest probe or decode of one file, in seconds of CPU")
    decode_memory_bytes: int = Field(
        1_500_000_000, ge=300_000_000, description="address space of a decoder: 8K needs 1 GB, a bomb takes all there is"
    )
    frames: int = Field(8, ge=1, le=64, description="frames seen of one clip: more costs encoder time, fewer miss scenes")
    listened_s: float = Field(20.0, ge=0, le=300, description="seconds of sound heard of one clip, in parts spread over it")
    live_window_ms: int = Field(10_000, ge=1000, description="how much of a live room's end is seen each time")


class UnderstandingSettings(BaseModel):
    """Who writes what a viewer would care about: nothing here costs nothing; a language model knows what frames mean."""

    url: str = Field(
        "",
        pattern=r"^(|local|https?://.+)$",
        description="a server of OpenAI's chat protocol, such as vLLM: http://host:port; local: the stack's own, with a "
        "small model (`make llm`); empty: none",
    )
    model: str = Field(
        "Qwen/Qwen2.5-VL-7B-Instruct", min_length=1, max_length=512, description="the model to ask that server for"
    )
    api_key: str = Field("", description="its key, if it wants one")
    sees_frames: bool = Field(True, description="send the key frames too; false for a model of words only")
    timeout_s: float = Field(
        30.0,
        gt=0,
        description="longest wait for one rewrite, the perception then stands without: a busy small machine needs more, a "
        "server that hangs holds up videos as long",
    )
    max_tokens: int = Field(300, ge=50, description="longest answer: shorter cuts rewrites off, which are then none")
    breaker_failures: int = Field(3, ge=1, description="failed rewrites in a row after which none is asked for, for a while")
    breaker_reset_s: float = Field(10.0, gt=0, description="how long none is asked for")
