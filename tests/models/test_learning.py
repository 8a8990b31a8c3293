"""Towers learned from a house's own logs: what is read, how it is cut, and what the gate lets through."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feature_repo.log import FeatureLog
from feature_repo.settings import FeatureStoreSettings
from models.learning import towers
from models.learning.gate import LEAST_CASES, TooLittle, judged
from models.learning.towers import cut_by_time, learn, recipe_for
from models.learning.watches import Watches, size_of, watches_of
from models.retrieval.checkpoint import CHECKPOINT, Checkpoint
from models.retrieval.incremental import Refresh
from models.retrieval.recipe import Recipe
from models.retrieval.served import ABOUT, ServedTowers
from streams.events import Feedback, Outcome
from streams.features import VideoContent
from streams.flows.feedback_log import FeedbackLog

NOW = 1_790_000_000_000
MINUTE = 60_000
VIDEOS = 100
SMALL = Recipe(width=32, epochs=12, learning_rate=1e-2, weight_decay=0.01, warm_up=2, places=256, terms=())


def content(video: int, *, as_of: int = NOW, summary: str = "") -> VideoContent:
    vector = np.random.default_rng(video).normal(size=384).astype(np.float32)
    return VideoContent(
        video_id=f"v{video}", as_of=as_of, author_id="ann", stage="title", summary=summary or f"video {video}", topics=[],
        embedding=vector / np.linalg.norm(vector), unsafe=0.0, duration_ms=10_000,
    )  # fmt: skip


def page(viewer: int, videos: Sequence[int], *, at: int, actions: tuple[str, ...] = ("impression", "complete")) -> Feedback:
    items = tuple(
        Outcome(
            video_id=f"v{video}", position=place, propensity=1.0, source="fresh", actions=actions, watch_ms=9_000, reward=1.0,
            parts={},
        )
        for place, video in enumerate(videos)
    )  # fmt: skip
    return Feedback(request_id=f"r{viewer}-{at}", user_id=f"u{viewer}", items=items, served_at=at, closed_at=at + MINUTE)


class Logs:
    """The logs of a house, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.feedback, self._features = folder / "feedback", FeatureStoreSettings(log=str(folder / "features"), log_every_s=0)
        self.content = folder / "features" / "video_content"

    def write(self, pages: Sequence[Feedback], videos: Sequence[VideoContent]) -> Watches:
        log = FeatureLog(self._features)
        log.add(videos)
        log.close()
        if pages:
            FeedbackLog(self.feedback).add(list(pages))
        return watches_of(self.feedback, self.content)


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def cycles(viewers: int = 600) -> list[Feedback]:
    """Viewers who watch the videos in one order, one a minute, each from somewhere else."""
    rng = np.random.default_rng(0)
    starts = rng.integers(VIDEOS, size=viewers)
    return [
        page(viewer, [(start + place) % VIDEOS], at=NOW + place * MINUTE + viewer)
        for viewer, start in enumerate(starts.tolist())
        for place in range(6)
    ]


# ── what is read ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_watched_is_read_with_the_newest_that_is_known_of_each_video(logs: Logs) -> None:
    renamed = replace_summary(content(1, as_of=NOW + 5), "a better word")
    watches = logs.write([page(0, [0, 1], at=NOW), page(1, [1], at=NOW + 1)], [content(0), content(1), renamed])
    assert dict(zip(watches.log.video_ids, watches.log.texts, strict=True)) == {"v0": "video 0", "v1": "a better word"}
    assert len(watches.log) == 3
    row = watches.log.video_ids.index("v1")
    assert watches.embeddings[row] == pytest.approx(content(1).embedding)
    assert size_of(logs.feedback) == 3


def replace_summary(row: VideoContent, summary: str) -> VideoContent:
    return VideoContent(**({name: getattr(row, name) for name in row.__struct_fields__} | {"summary": summary}))


def test_of_all_that_was_done_in_a_place_the_strongest_counts(logs: Logs) -> None:
    pages = [
        page(0, [0], at=NOW, actions=("impression", "complete", "like", "skip")),
        page(0, [1], at=NOW + MINUTE, actions=("complete", "comment")),
    ]
    assert logs.write(pages, [content(0), content(1)]).log.history(0).interest == pytest.approx([1.0, 0.8])


def test_what_was_only_shown_or_skipped_is_not_watched(logs: Logs) -> None:
    pages = [page(0, [0], at=NOW, actions=("impression",)), page(0, [1], at=NOW + 1, actions=("impression", "skip"))]
    with pytest.raises(TooLittle, match="no viewer watched"):
        logs.write(pages, [content(0), content(1)])


def test_watches_of_videos_that_are_not_known_any_more_are_left_out_and_counted(logs: Logs) -> None:
    watches = logs.write([page(0, [0, 7], at=NOW)], [content(0)])
    assert watches.log.dropped["of unknown videos"] == 1


def test_without_logs_the_error_says_what_is_missing(logs: Logs) -> None:
    with pytest.raises(TooLittle, match="video_content"):
        watches_of(logs.feedback, logs.content)
    with pytest.raises(TooLittle, match="feedback"):
        logs.write([], [content(0)])
    assert size_of(logs.feedback) == 0


# ── how it is cut ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_held_out_is_later_than_all_that_is_learned_from(logs: Logs) -> None:
    log = logs.write(cycles(), [content(video) for video in range(VIDEOS)]).log
    train, held = cut_by_time(log)
    assert train.at.max() < min(log.at[log.bounds[v] + train.lengths[v]] for v in np.flatnonzero(train.lengths < log.lengths))
    assert len(held.wanted) == 360
    assert all(len(history) == 5 for history in held.histories)


def test_a_small_log_is_learned_from_in_smaller_batches() -> None:
    assert recipe_for(3_000_000) == Recipe(negatives=4_096)
    assert recipe_for(5_000).places < recipe_for(100_000).places < 4_096
    assert recipe_for(10).places > 0


# ── the gate ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_towers_that_learned_are_let_through_and_find_what_serves_as_good_as_they_are(logs: Logs, tmp_path: Path) -> None:
    watches = logs.write(cycles(), [content(video) for video in range(VIDEOS)])
    losses: list[float] = []
    learned = learn(watches, replace(SMALL), running=None, done=losses.append)
    assert learned.verdict.passed, learned.verdict
    assert losses[-1] < losses[0]
    for name, file in learned.files.items():
        (tmp_path / name).write_bytes(file)
    again = learn(watches, replace(SMALL, seed=1), running=tmp_path)
    assert again.verdict.figures["hr_at_20_running"] == pytest.approx(learned.verdict.figures["hr_at_20"], abs=0.02)
    assert ServedTowers(tmp_path, dimensions=384).width == SMALL.width


def test_towers_that_serve_and_can_not_be_read_are_no_reason_never_to_learn_again(logs: Logs, tmp_path: Path) -> None:
    watches = logs.write(cycles(), [content(video) for video in range(VIDEOS)])
    (tmp_path / ABOUT).write_text('{"format": 99}')
    learned = learn(watches, SMALL, running=tmp_path)
    assert learned.verdict.passed
    assert "hr_at_20_running" not in learned.verdict.figures


# ── going on ─────────────────────────────────────────────────────────────────────────────────────────────────────────

HOUR = 60 * MINUTE


def serving(watches: Watches, folder: Path) -> Checkpoint:
    """Let towers that learned from watches serve."""
    for name, file in learn(watches, SMALL, running=None).files.items():
        (folder / name).write_bytes(file)
    return Checkpoint.read(folder / CHECKPOINT)


def later(viewers: int = 200) -> list[Feedback]:
    """More viewers of the same order, half an hour later, with a video that was not there."""
    return [
        page(1_000 + viewer, [(viewer + place) % (VIDEOS + 1)], at=NOW + (30 + place) * MINUTE + viewer)
        for viewer in range(viewers)
        for place in range(6)
    ]


def test_towers_that_serve_go_on_with_what_came_since(logs: Logs, tmp_path: Path) -> None:
    before = serving(logs.write(cycles(), [content(video) for video in range(VIDEOS)]), tmp_path)
    planned: list[int] = []
    losses: list[float] = []
    watches = logs.write(later(), [content(VIDEOS)])
    learned = learn(watches, SMALL, running=tmp_path, afresh_ms=HOUR, planned=planned.append, done=losses.append)
    assert learned.verdict.passed, learned.verdict
    (tmp_path / CHECKPOINT).write_bytes(learned.files[CHECKPOINT])
    after = Checkpoint.read(tmp_path / CHECKPOINT)
    assert (after.began, after.video_ids[:VIDEOS]) == (before.began, before.video_ids)
    assert after.until > before.until
    assert len(after.video_ids) == VIDEOS + 1
    assert planned[0] == pytest.approx(len(losses), abs=2)
    assert learned.verdict.figures["hr_at_20"] > learned.verdict.figures["hr_at_20_running"] - 0.02


def test_where_nothing_came_since_nothing_is_learned(logs: Logs, tmp_path: Path) -> None:
    watches = logs.write(cycles(), [content(video) for video in range(VIDEOS)])
    serving(watches, tmp_path)
    with pytest.raises(TooLittle, match="none is newer"):
        learn(watches, SMALL, running=tmp_path, afresh_ms=HOUR)


def test_old_towers_and_those_of_another_recipe_learn_from_nothing(logs: Logs, tmp_path: Path) -> None:
    serving(logs.write(cycles(), [content(video) for video in range(VIDEOS)]), tmp_path)
    watches = logs.write(later(), [content(VIDEOS)])
    for recipe, afresh_ms in ((SMALL, 10 * MINUTE), (replace(SMALL, heads=1), HOUR)):
        (tmp_path / "again.pt").write_bytes(
            learn(watches, recipe, running=tmp_path, afresh_ms=afresh_ms).files[CHECKPOINT],
        )
        again = Checkpoint.read(tmp_path / "again.pt")
        assert again.began == again.until


def test_an_update_that_goes_astray_gives_way_to_learning_from_nothing(
    logs: Logs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving(logs.write(cycles(), [content(video) for video in range(VIDEOS)]), tmp_path)
    watches = logs.write(later(), [content(VIDEOS)])
    monkeypatch.setattr(towers, "REFRESH", Refresh(learning_rate=30.0))
    (tmp_path / "again.pt").write_bytes(learn(watches, SMALL, running=tmp_path, afresh_ms=HOUR).files[CHECKPOINT])
    again = Checkpoint.read(tmp_path / "again.pt")
    assert again.began == again.until


def test_of_a_video_that_is_gone_a_row_is_left(logs: Logs) -> None:
    watches = logs.write([page(0, [0, 1], at=NOW)], [content(0), content(1)])
    arranged = watches.beginning_with(["gone", "v1"])
    assert arranged.log.video_ids == ("gone", "v1", "v0")
    assert arranged.log.texts == ("", "video 1", "video 0")
    assert [arranged.log.video_ids[row] for row in arranged.log.videos] == ["v0", "v1"]
    assert not arranged.embeddings[0].any()
    assert arranged.embeddings[2] == pytest.approx(content(0).embedding)


# ── the gate, again ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_where_there_is_nothing_to_learn_the_gate_stays_shut(logs: Logs) -> None:
    rng = np.random.default_rng(0)
    at_random = [page(v, [int(rng.integers(200))], at=NOW + place * MINUTE + v) for v in range(300) for place in range(6)]
    learned = learn(logs.write(at_random, [content(video) for video in range(200)]), SMALL, running=None)
    assert not learned.verdict.passed
    assert "not surely above" in learned.verdict.reason


def test_viewers_of_one_time_only_are_too_few(logs: Logs) -> None:
    with pytest.raises(TooLittle, match="before and after"):
        learn(logs.write([page(0, [0, 1], at=NOW)], [content(0), content(1)]), SMALL, running=None)


def test_a_worse_candidate_than_what_serves_is_refused_and_an_equal_one_is_not() -> None:
    rng = np.random.default_rng(0)
    good, poor, none = ((rng.random(2_000) < rate).astype(float) for rate in (0.5, 0.3, 0.1))
    assert not judged(poor, baseline=none, running=good, name="hr").passed
    assert judged(good, baseline=none, running=good, name="hr").passed
    assert judged(good, baseline=none, running=poor, name="hr").passed


@pytest.mark.parametrize("cases", [0, 1, LEAST_CASES - 1])
def test_too_few_cases_say_nothing(cases: int) -> None:
    verdict = judged(np.ones(cases), baseline=np.zeros(cases), running=None, name="hr")
    assert not verdict.passed
    assert str(LEAST_CASES) in verdict.reason


def test_what_is_no_number_is_not_let_through() -> None:
    values = np.ones(LEAST_CASES)
    values[3] = np.nan
    assert not judged(values, baseline=np.zeros(LEAST_CASES), running=None, name="hr").passed
