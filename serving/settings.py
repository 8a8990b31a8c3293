"""How the API answers and how a page is made. Each number that is a trade-off says what breaks if it is changed."""

import re
from ipaddress import ip_network
from typing import Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

Scope = Literal["ingest", "feed", "admin"]


class ApiKey(BaseModel):
    """One client's key and what it may do."""

    # Without repr: whatever prints settings must not print keys.
    key: str = Field(
        min_length=16, repr=False, description="the key itself, too long to be guessed, or 'sha256:' and the hex digest of it"
    )
    scopes: frozenset[Scope] = Field(description="ingest: uploads, interactions, instructions; feed: pages; admin: all of it")
    name: str = Field("", description="whose key it is, for the logs")

    @field_validator("key")
    @classmethod
    def _digest_is_one(cls, key: str) -> str:
        if key.startswith("sha256:") and not re.fullmatch(r"sha256:[0-9a-f]{64}", key):
            raise ValueError("expected 64 digits of hex after 'sha256:', as `printf KEY | sha256sum` prints them")
        return key


class ApiSettings(BaseModel):
    """Options of the HTTP server."""

    host: str = Field("127.0.0.1", description="address to listen on; one that is not loopback needs keys")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    keys: list[ApiKey] = Field(
        default_factory=list,
        description="who may come in; empty lets everyone on loopback in. Each is "
        '{ key = "…" of 16 characters or more, or "sha256:" and its digest, scopes = ["ingest", "feed", "admin"], name = "…" }',
    )
    session_secret: str = Field(
        "",
        repr=False,
        description="signs the pages' cookies, the same on all nodes; empty: by the key, or, where only its digest is given, "
        "by a secret of the process, so that such sessions end with it",
    )
    session_h: float = Field(12.0, gt=0, description="how long a browser stays signed in: longer, and a lost one is in longer")
    proxies: tuple[str, ...] = Field(
        ("127.0.0.1",),
        description="addresses or networks of proxies in front, whose X-Forwarded-Proto and -For are believed: behind one that "
        "ends TLS and is not named here, cookies lack Secure",
    )
    max_body_bytes: int = Field(2_000_000, ge=1_000, description="largest JSON body: 1,000 interactions are about 300 kB")
    max_batch: int = Field(
        1000, ge=1, le=1000, description="most interactions in one request; duplicates are known among a viewer's last 1,024"
    )
    media_dir: str = Field("var/media", description="folder for the files that clients upload")
    posters_dir: str = Field("var/posters", description="folder for stills of uploaded videos; it may be emptied any time")
    poster_wait_s: float = Field(10.0, gt=0, description="longest wait for a still that is not made yet, before a 503")
    media_origins: tuple[str, ...] = Field(
        (), description="other hosts whose videos the page may play: https://cdn.example.com"
    )
    key_requests_per_s: float = Field(
        2000.0, gt=0, description="requests under one key, ten seconds' worth at once; 429 above. Without keys: no limit"
    )
    user_events_per_minute: int = Field(
        3000, ge=1, description="interactions and instructions of one viewer, 429 above: no thumb is as fast, a replay may be"
    )
    user_pages_per_minute: int = Field(600, ge=1, description="pages for one viewer, 429 above: each is milliseconds of a core")
    accept_timeout_s: float = Field(5.0, gt=0, description="longest wait for the broker before a 503; then clients try again")
    retry_after_s: int = Field(1, ge=1, description="what a 503 tells clients to wait; longer, and events pile up on phones")
    max_queued_events: int = Field(50_000, ge=1, description="past this many events waiting for the broker: 503 at once")
    max_streams: int = Field(200, ge=0, description="open event streams; each holds a connection and a few kB")
    purge_wait_s: float = Field(2.0, ge=0, description="how long a takedown or erasure waits for the proofs of every store")
    stop_grace_s: float = Field(
        4.0, gt=0, description="time for the requests in flight, then again for the broker to take the rest, at a stop"
    )

    @field_validator("proxies")
    @classmethod
    def _proxies_are_addresses(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ip_network(proxy)
            except ValueError as error:
                raise ValueError(f"expected addresses or networks, as 10.0.0.7 or 10.0.0.0/24: {error}") from error
        return proxies

    @model_validator(mode="after")
    def _closed_to_the_world_without_keys(self) -> Self:
        if not self.keys and self.host not in LOOPBACK:
            raise ValueError(
                f"api.host is {self.host!r} and api.keys is empty: anyone could take videos down. "
                "Add a key with its scopes to api.keys, or listen on 127.0.0.1"
            )
        return self


class ColdStartSettings(BaseModel):
    """The exploration budget of new videos, and the places of a page kept for it."""

    impressions: int = Field(200, ge=0, description="a video is new until it was shown this often: enough to tell 5% from 10%")
    max_age_h: float = Field(48.0, gt=0, description="and no longer than this, or an unloved video is explored for ever")
    positions: tuple[int, ...] = Field((1, 5), description="places, from 0, kept for new videos on each page of ten")
    draws: int = Field(64, ge=1, description="posterior draws behind a propensity: fewer are coarser, more cost time")
    min_similarity: float = Field(0.1, ge=-1, le=1, description="how near a viewer's interests a new video must be, cosine")
    candidates: int = Field(50, ge=1, description="new videos that compete for a slot, nearest to the viewer first")
    debut_boost: float = Field(4.0, ge=0, description="head start of a video just uploaded and not shown yet; 0: no hurry")
    debut_half_life_h: float = Field(1.0, gt=0, description="the head start halves in this time")
    prior: tuple[float, float] = Field((1.0, 4.0), description="Beta prior of a new video's success: 1 in 5, weakly held")


class FairnessSettings(BaseModel):
    """Who is shown: always measured, and steered to a target where there is one. Exposure is what this node served."""

    new_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of exposure that new videos shall have; 0: no target, the places of feed.cold_start stay",
    )
    author_gini: float = Field(1.0, gt=0, le=1, description="largest Gini of exposure over authors; 1: no target")
    half_life_s: float = Field(
        1800.0, gt=0, description="exposure so long ago counts half: shorter, and chance moves the feed; longer steers late"
    )
    persistence: float = Field(
        1.0, gt=0, le=1, description="chance that a viewer goes on to the next place, which weighs it; 1: all places alike"
    )
    max_places: int = Field(
        5, ge=0, le=10, description="most places of ten that are kept for new videos: more may reach the share, at more cost"
    )
    max_author_weight: float = Field(
        1.0, ge=0, description="most that an author's exposure moves a value: more may reach the Gini, at more cost"
    )

    @model_validator(mode="after")
    def _share_in_reach(self) -> Self:
        if self.new_share * 10 > self.max_places:
            raise ValueError(
                f"feed.fairness.new_share is {self.new_share:g}, and max_places {self.max_places} keeps at most "
                f"{self.max_places / 10:g} of a page for new videos: raise max_places, or lower new_share"
            )
        return self


class WeightSettings(BaseModel):
    """What makes a candidate worth showing: each part is in 0..1 (or -1..1) before it is weighed."""

    interest: float = Field(1.0, description="cosine to the viewer's short and long interests")
    wanted: float = Field(1.0, description="how much the towers say that it is wanted next, more than the average video")
    engagement: float = Field(0.6, description="decayed engagement, smoothed towards the average of all videos")
    freshness: float = Field(0.25, description="1 at upload, halved each freshness half-life")
    followed: float = Field(0.3, description="by an author whom the viewer follows")
    live: float = Field(0.15, description="a live room can't be shown later")
    plan: float = Field(0.8, description="rank in the viewer's plan")
    steering: float = Field(1.5, description="cosine to what the viewer asked for, more or less of it")


class ObjectiveSettings(BaseModel):
    """What a candidate is worth by what the ranker expects of it: each objective's probability, or share, times its weight.

    The order and the ratios follow X's For You, cut short at the ends as the rewards are; a good video is worth about 1, as
    by hand, so that `plan`, `steering` and `mmr_lambda` mean the same with a ranker as without.
    """

    complete: float = Field(0.4, description="watched to the end")
    watch_share: float = Field(0.6, description="the share of it that is watched")
    like: float = Field(0.5, description="liked")
    share: float = Field(2.0, description="passed on")
    follow: float = Field(2.0, description="its author followed")
    skip: float = Field(-0.5, description="skipped, or not of interest")
    report: float = Field(-10.0, description="reported; with For You's -234, a few false reports would bury a video")


class FeedSettings(BaseModel):
    """Options of the feed pipeline."""

    default_limit: int = Field(10, ge=1, description="videos on a page")
    max_limit: int = Field(50, ge=1, description="most videos a client may ask for on one page")
    max_age_h: float = Field(168.0, gt=0, description="videos older than this leave; longer costs memory: 4 kB a video")
    unsafe_above: float = Field(0.8, ge=0, le=1, description="a video whose worst safety score is above this is not shown")
    source_size: int = Field(60, ge=1, description="candidates a source brings; more find more and cost time")
    recent_likes: int = Field(4, ge=0, description="last liked videos whose neighbours are candidates")
    pool_size: int = Field(200, ge=1, description="candidates in the slate event: what the rerank flow may choose from")
    mmr_top: int = Field(150, ge=1, description="candidates among which a page is chosen for diversity")
    mmr_lambda: float = Field(0.75, ge=0, le=1, description="1: value only; 0: diversity only")
    author_gap: int = Field(2, ge=0, description="places between two videos of one author, where others are to be had")
    author_decay: float = Field(0.5, ge=0, le=1, description="value of an author's second video on a page, third squared …")
    author_floor: float = Field(0.25, ge=0, le=1, description="and not below this")
    freshness_half_life_h: float = Field(6.0, gt=0, description="age at which freshness is one half")
    smoothing: float = Field(20.0, gt=0, description="impressions' worth of average added to each video's engagement")
    shelf_size: int = Field(
        1000, ge=1, description="videos on each shared shelf (popular, fresh, new); more cost each request time"
    )
    shelf_every_s: float = Field(2.0, gt=0, description="how often the shared lists (popular, fresh, new, live) are renewed")
    features_timeout_s: float = Field(0.1, gt=0, description="longest wait for a viewer's features; then those in memory do")
    viewers_in_memory: int = Field(50_000, ge=1, description="viewers whose last features, plan and pages are remembered")
    served_memory: int = Field(200, ge=0, description="videos remembered as served to a viewer, until they reach the history")
    served_memory_s: float = Field(600.0, ge=0, description="a served video that was not seen may come again after this long")
    off: frozenset[str] = Field(default_factory=frozenset, description="names of stages to leave out")
    policy_version: str = Field(
        "interest-1",
        max_length=60,
        description="written on each slate, with the models that serve the viewer: outcomes are told apart by it",
    )
    index_connectivity: int = Field(16, ge=2, description="links a node in the vector index: fewer is faster, and finds less")
    index_expansion_add: int = Field(64, ge=4, description="search width while adding: a larger one doubles a start's time")
    index_expansion_search: int = Field(40, ge=4, description="search width of a query: larger finds more, takes longer")
    weights: WeightSettings = Field(default_factory=WeightSettings, description="the parts of a candidate's value")
    objectives: ObjectiveSettings = Field(default_factory=ObjectiveSettings, description="its value by the ranker")
    cold_start: ColdStartSettings = Field(default_factory=ColdStartSettings, description="places kept for new videos")
    fairness: FairnessSettings = Field(default_factory=FairnessSettings, description="targets of exposure")
