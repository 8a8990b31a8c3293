"""The ranker's features: their names and bounds, and the way to bytes and back."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.ranking.features import (
    FEATURES,
    FRESH_HALF_LIFE_H,
    LONGEST_IDLE_S,
    NAMES,
    PRIOR_RATES,
    RECENT,
    VERSION,
    VIDEO_PRIOR,
    VIEWER_PRIOR,
    bounded,
    pack,
    unpack,
)
from models.ranking.objectives import OBJECTIVES, labels
from streams.events import SlateItem
from streams.state.rewards import reward

SIZE = len(FEATURES)


def some_rows(count: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return features anywhere within their bounds."""
    low, high = (np.array([getattr(feature, side) for feature in FEATURES]) for side in ("low", "high"))
    return np.random.default_rng(seed).uniform(low, high, size=(count, SIZE)).astype(np.float32)


def test_what_the_features_are_can_not_change_without_their_version() -> None:
    # A change here needs a higher VERSION, or rows of before are learned from as if they were rows of now.
    numbers = (PRIOR_RATES, VIDEO_PRIOR, VIEWER_PRIOR, RECENT, FRESH_HALF_LIFE_H, LONGEST_IDLE_S)
    said = repr([(feature.name, feature.unit, feature.low, feature.high) for feature in FEATURES]) + repr(numbers)
    assert (VERSION, hashlib.sha256(said.encode()).hexdigest()[:12]) == (1, "1ad623549277")


def test_each_feature_has_a_name_a_unit_and_bounds_that_float16_holds() -> None:
    assert len(set(NAMES)) == SIZE
    for feature in FEATURES:
        assert feature.unit
        assert -65_504 < feature.low < feature.high < 65_504


def test_a_row_fits_on_a_slate() -> None:
    [packed] = pack(some_rows(1))
    item = SlateItem(video_id="v", position=0, score=1.0, propensity=1.0, source="fresh", reason="", features=packed)
    assert len(item.features) == 2 * SIZE <= 128


@given(seed=st.integers(0, 99), count=st.integers(0, 5))
def test_rows_survive_their_way_to_bytes_and_back_within_float16(seed: int, count: int) -> None:
    rows = some_rows(count, seed)
    found, right = unpack(pack(rows))
    assert right.all()
    assert np.allclose(found, rows, rtol=1e-3, atol=1e-3)
    assert (unpack(pack(found))[0] == found).all()


def test_what_is_outside_the_bounds_is_brought_inside() -> None:
    wild = np.array([[1e9, -1e9, np.inf, np.nan]] * SIZE, np.float32)
    assert unpack(pack(bounded(wild)))[1].all()


def test_rows_that_are_broken_are_told_from_those_that_are_right() -> None:
    good = pack(some_rows(1))[0]
    nan = pack(np.full((1, SIZE), np.nan, np.float32))[0]
    huge = pack(np.full((1, SIZE), 60_000.0, np.float32))[0]
    found, right = unpack([good, good[:-2], good + b"\x00\x00", b"", None, nan, huge])
    assert right.tolist() == [True, False, False, False, False, False, False]
    assert not found[1:].any()


@given(st.lists(st.one_of(st.none(), st.binary(max_size=2 * SIZE + 2)), max_size=5))
def test_any_bytes_are_features_in_bounds_or_left_out(rows: list[bytes | None]) -> None:
    found, right = unpack(rows)
    assert np.isfinite(found).all()
    assert len(right) == len(rows)


# ── labels ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def label(*actions: str, watch_ms: int = 0, duration_ms: int | None = 10_000, **features: float) -> dict[str, float | None]:
    """Return what a place teaches by objective, None where nothing."""
    row = np.zeros((1, SIZE), np.float32)
    for name, value in features.items():
        row[0, NAMES.index(name)] = value
    _, parts = reward(actions, watch_ms=watch_ms, duration_ms=duration_ms)
    made = labels([actions], [watch_ms], [parts], row)
    return {name: float(made.values[0, at]) if made.known[0, at] else None for at, name in enumerate(OBJECTIVES)}


def test_each_action_is_a_case_of_its_objective_and_of_no_other() -> None:
    for name in ("like", "share", "follow", "skip", "report"):
        assert {each for each, value in label("impression", name).items() if value} == {name}
    assert {each for each, value in label("impression", "complete").items() if value} == {"complete", "watch_share"}


def test_a_like_that_was_taken_back_is_none() -> None:
    assert label("impression", "like", "unlike")["like"] == 0.0


def test_not_interested_is_a_skip() -> None:
    assert label("impression", "not_interested")["skip"] == 1.0


def test_the_share_watched_is_known_where_length_and_time_are() -> None:
    assert label("impression", "play", "progress", watch_ms=4_000)["watch_share"] == np.float32(0.4)
    assert label("impression", "play", watch_ms=4_000, duration_ms=None)["watch_share"] is None
    assert label("impression", "play")["watch_share"] is None
    assert label("impression", "skip")["watch_share"] == 0.0


def test_a_live_room_has_no_end_and_a_followed_author_is_not_followed_again() -> None:
    live = label("impression", "play", watch_ms=4_000, video_live=1.0)
    assert (live["complete"], live["watch_share"], live["like"]) == (None, None, 0.0)
    assert label("impression", "like", author_followed=1.0)["follow"] is None
