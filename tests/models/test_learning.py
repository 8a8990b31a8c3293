"""Towers learned from a house's own logs: what is read, how it is cut, and what the gate lets through."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from feature_repo.log import FeatureLog
from feature_repo.settings import FeatureStoreSettings
from models.learning import towers
from models.learning.gate import LEAST_CASES, Learned, TooLittle, judged
from models.learning.towers import cut_by_time, learn, recipe_for
from models.learning.watches import Watches, size_of, watches_of
from models.retrieval.checkpoint import CHECKPOINT, Checkpoint
from models.retrieval.incremental import IDS, Refresh
from models.retrieval.recipe import Recipe
from models.retrieval.served import ABOUT, ServedTowers
from models.retrieval.training import steps
from streams.events import Feedback, Outcome
from streams.features import VideoContent
from streams.flows.feedback_log import FeedbackLog

NOW = 1_790_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
LATER = NOW + HOUR // 2
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
    learned = learn(watches, replace(SMALL), running=None, now_ms=NOW, done=losses.append)
    assert learned.verdict.passed, learned.verdict
    assert losses[-1] < losses[0]
    for name, file in learned.files.items():
        (tmp_path / name).write_bytes(file)
    again = learn(watches, replace(SMALL, seed=1), running=tmp_path, now_ms=LATER)
    assert again.verdict.figures["hr_at_20_running"] == pytest.approx(learned.verdict.figures["hr_at_20"], abs=0.02)
    assert ServedTowers(tmp_path, dimensions=384).width == SMALL.width


def test_towers_that_serve_and_can_not_be_read_are_no_reason_never_to_learn_again(logs: Logs, tmp_path: Path) -> None:
    watches = logs.write(cycles(), [content(video) for video in range(VIDEOS)])
    (tmp_path / ABOUT).write_text('{"format": 99}')
    learned = learn(watches, SMALL, running=tmp_path, now_ms=LATER)
    assert learned.verdict.passed
    assert "hr_at_20_running" not in learned.verdict.figures


# ── going on ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """The files of towers that learned from `cycles`."""
    watches = Logs(tmp_path_factory.mktemp("first")).write(cycles(), [content(video) for video in range(VIDEOS)])
    return learn(watches, SMALL, running=None, now_ms=NOW).files


@pytest.fixture
def before(first: Mapping[str, bytes], tmp_path: Path) -> Checkpoint:
    """What those towers ended with, which serve from the test's folder."""
    for name, file in first.items():
        (tmp_path / name).write_bytes(file)
    return Checkpoint.read(tmp_path / CHECKPOINT)


@pytest.fixture
def since(logs: Logs) -> Watches:
    """What they learned from, and what came since."""
    logs.write(cycles(), [content(video) for video in range(VIDEOS)])
    return logs.write(later(), [content(VIDEOS)])


def later(viewers: int = 200, *, begin: int = 10) -> list[Feedback]:
    """More viewers of the same order, some minutes later, with a video that was not there."""
    return [
        page(1_000 * begin + viewer, [(viewer + place) % (VIDEOS + 1)], at=NOW + (begin + place) * MINUTE + viewer)
        for viewer in range(viewers)
        for place in range(6)
    ]


def kept_by(learned: Learned, folder: Path) -> Checkpoint:
    (folder / "kept.pt").write_bytes(learned.files[CHECKPOINT])
    return Checkpoint.read(folder / "kept.pt")


def test_towers_that_serve_go_on_with_what_came_since(before: Checkpoint, since: Watches, tmp_path: Path) -> None:
    planned: list[int] = []
    losses: list[float] = []
    learned = learn(since, SMALL, running=tmp_path, now_ms=LATER, afresh_ms=HOUR, planned=planned.append, done=losses.append)
    assert learned.verdict.passed, learned.verdict
    after = kept_by(learned, tmp_path)
    assert (after.began, after.video_ids[:VIDEOS]) == (NOW, before.video_ids)
    assert after.until > before.until
    assert len(after.video_ids) == VIDEOS + 1
    assert planned == [pytest.approx(len(losses), abs=2)]
    assert not torch.equal(after.weights[IDS][:VIDEOS], before.weights[IDS])
    assert learned.verdict.figures["went_on"]
    assert learned.verdict.figures["hr_at_20"] > learned.verdict.figures["hr_at_20_running"] - 0.02


def test_what_went_on_goes_on_with_what_its_optimiser_remembers(
    before: Checkpoint, since: Watches, logs: Logs, tmp_path: Path
) -> None:
    assert not before.moments
    once = learn(since, SMALL, running=tmp_path, now_ms=LATER, afresh_ms=HOUR)
    (tmp_path / CHECKPOINT).write_bytes(once.files[CHECKPOINT])
    steps = int(kept_by(once, tmp_path).moments[IDS]["step"])
    assert steps
    # Its own newest watches were held out the first time, so that there is something new for a second one.
    watches = logs.write(later(200, begin=45), [content(VIDEOS), content(VIDEOS + 1)])
    second = kept_by(learn(watches, SMALL, running=tmp_path, now_ms=LATER, afresh_ms=HOUR), tmp_path)
    assert int(second.moments[IDS]["step"]) > steps
    assert len(second.moments[IDS]["exp_avg"]) == len(second.video_ids) == VIDEOS + 2


def test_where_too_little_came_since_nothing_is_learned_and_the_error_says_what_to_do(
    before: Checkpoint, logs: Logs, tmp_path: Path
) -> None:
    watches = logs.write(cycles(), [content(video) for video in range(VIDEOS)])
    with pytest.raises(TooLittle, match=r"since the towers that serve learned, got 0; .*towers_afresh_s"):
        learn(watches, SMALL, running=tmp_path, now_ms=LATER, afresh_ms=HOUR)


@pytest.mark.parametrize("why", ["old", "another recipe", "a clock ahead", "no checkpoint", "other weights"])
def test_what_can_not_be_gone_on_from_is_learned_from_nothing(
    before: Checkpoint, since: Watches, tmp_path: Path, why: str
) -> None:
    recipe, afresh_ms = SMALL, HOUR
    match why:
        case "old":
            afresh_ms = 10 * MINUTE
        case "another recipe":
            recipe = replace(SMALL, heads=1)
        case "a clock ahead":
            (tmp_path / CHECKPOINT).write_bytes(replace(before, until=NOW + 9 * HOUR).written())
        case "no checkpoint":
            (tmp_path / CHECKPOINT).unlink()
        case "other weights":
            strange = {name: weight for name, weight in before.weights.items() if name != IDS}
            (tmp_path / CHECKPOINT).write_bytes(replace(before, weights=strange).written())
    planned: list[int] = []
    learned = learn(since, recipe, running=tmp_path, now_ms=LATER, afresh_ms=afresh_ms, planned=planned.append)
    assert planned == [steps(cut_by_time(since.log)[0], recipe)]
    assert (kept_by(learned, tmp_path).began, learned.verdict.figures["went_on"]) == (LATER, 0.0)


def test_an_update_that_goes_astray_gives_way_to_learning_from_nothing(
    before: Checkpoint, since: Watches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(towers, "REFRESH", Refresh(learning_rate=30.0))
    planned: list[int] = []
    learned = learn(since, SMALL, running=tmp_path, now_ms=LATER, afresh_ms=HOUR, planned=planned.append)
    assert len(planned) == 2
    assert kept_by(learned, tmp_path).began == LATER


def test_where_what_began_anew_is_refused_those_that_serve_go_on(
    before: Checkpoint, since: Watches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What learns nothing is refused, and the towers that serve learn on at another rate.
    learned = learn(since, replace(SMALL, learning_rate=0.0), running=tmp_path, now_ms=LATER, afresh_ms=0)
    assert not learned.verdict.passed
    (tmp_path / CHECKPOINT).write_bytes(replace(before, recipe=replace(SMALL, learning_rate=0.0)).written())
    learned = learn(since, replace(SMALL, learning_rate=0.0), running=tmp_path, now_ms=LATER, afresh_ms=0)
    assert learned.verdict.passed
    assert learned.verdict.figures["went_on"]


def test_videos_that_are_gone_are_not_in_what_began_anew(before: Checkpoint, since: Watches, tmp_path: Path) -> None:
    # By their ids: the parts of a log are read in any order.
    stay = np.array([int(video.removeprefix("v")) >= 40 for video in since.log.video_ids])
    left, gone = np.flatnonzero(stay), np.flatnonzero(~stay)
    kept = np.isin(since.log.videos, left)
    lengths = np.add.reduceat(kept, since.log.bounds[:-1])
    log = replace(
        since.log.arranged(np.concatenate([left, gone])),
        video_ids=tuple(since.log.video_ids[row] for row in left),
        texts=tuple(since.log.texts[row] for row in left),
        bounds=np.concatenate([[0], np.cumsum(lengths)]),
    )
    log = replace(log, videos=log.videos[kept], at=log.at[kept], interest=log.interest[kept])
    fewer = Watches(log, since.embeddings[left])
    on, anew = (
        kept_by(learn(fewer, SMALL, running=tmp_path, now_ms=LATER, afresh_ms=afresh_ms), tmp_path) for afresh_ms in (HOUR, 0)
    )
    assert len(on.video_ids) == VIDEOS + 1
    assert anew.video_ids == fewer.log.video_ids


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
    learned = learn(logs.write(at_random, [content(video) for video in range(200)]), SMALL, running=None, now_ms=NOW)
    assert not learned.verdict.passed
    assert "not surely above" in learned.verdict.reason


def test_viewers_of_one_time_only_are_too_few(logs: Logs) -> None:
    with pytest.raises(TooLittle, match="before and after"):
        learn(logs.write([page(0, [0, 1], at=NOW)], [content(0), content(1)]), SMALL, running=None, now_ms=NOW)


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
