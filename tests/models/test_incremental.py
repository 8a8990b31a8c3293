"""Towers that learn on: from stretches of histories, with a guard, as videos and viewers join."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.retrieval.checkpoint import CHECKPOINT, BadCheckpoint, Checkpoint
from models.retrieval.incremental import Refresh, RunningTowers, held_out
from models.retrieval.log import WatchLog
from models.retrieval.packing import packed
from models.retrieval.recipe import HISTORY, Recipe
from models.retrieval.windows import LEARNED, joined, windows, windows_of
from tests.models.test_leave_one_out import log_of

CPU = torch.device("cpu")
RECIPE = Recipe(
    width=16, heads=2, dropout=0.1, id_dropout=0.0, epochs=5, learning_rate=1e-2, weight_decay=0.01, warm_up=2, places=128
)
REFRESH = Refresh(learning_rate=1e-2, rows=2)


def cycles(videos: int, viewers: int = 60, *, seed: int = 0) -> WatchLog:
    """Viewers who watch six videos in a row, each beginning somewhere else; one watch a second, by whoever."""
    rng = np.random.default_rng(seed)
    at = np.concatenate([np.sort(rng.integers(10_000, size=6)) * 1_000 for _ in range(viewers)])
    starts = rng.integers(videos, size=viewers)
    return log_of(*([(start + step) % videos for step in range(6)] for start in starts), videos=videos, at=at.tolist())


def titles(videos: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(1).normal(size=(videos, 8)).astype(np.float32)


def running(log: WatchLog, refresh: Refresh = REFRESH) -> RunningTowers:
    towers = RunningTowers(RECIPE, refresh, device=CPU)
    towers.start(log, titles(len(log.video_ids)))
    return towers


def newest(log: WatchLog, share: float = 0.3) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return log.at > np.quantile(log.at, 1 - share)


# ── stretches ────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.integers(1, 3 * HISTORY), min_size=1, max_size=4), st.integers(0, 10_000), st.floats(0, 1))
def test_each_watch_is_learned_from_once_with_what_was_before_it(lengths: list[int], seed: int, share: float) -> None:
    log = log_of(*(range(length) for length in lengths), videos=max(lengths))
    learned = np.random.default_rng(seed).random(len(log)) < share
    stretches, of_them = windows_of(log, learned)
    places = stretches.videos[of_them]
    expected = np.concatenate([np.flatnonzero(learned[a:b]) for a, b in zip(log.bounds, log.bounds[1:], strict=False)])
    assert sorted(places.tolist()) == sorted(expected.tolist())
    assert stretches.lengths.max(initial=0) <= HISTORY + 1
    before = np.arange(len(stretches)) - stretches.bounds[stretches.viewers()]
    # A video's row is its place in the history here: what is learned from has as much before it as there is, or enough.
    assert (before[of_them] >= np.minimum(places, HISTORY + 1 - LEARNED)).all()


def test_only_what_is_learned_from_is_wanted() -> None:
    log = log_of([0, 1, 2, 3], [4, 5, 6])
    learned = np.array([False, False, True, False, False, False, True])
    rows = packed(log, np.random.default_rng(0), learned=learned)
    wanted = {
        (int(seen), int(next_))
        for seen, (next_, _) in zip(rows.watched.flatten(), rows.wanted.flatten(0, 1), strict=True)
        if next_ >= 0
    }
    assert wanted == {(1, 2), (5, 6)}


def test_stretches_end_to_end_keep_their_own() -> None:
    log = log_of([0, 1, 2], [3, 4], at=[0, 1, 2, 3, 4], interest=[0.6, 0.8, 1, 0.6, 0.8])
    both, learned = joined(
        windows_of(log, np.array([False, True, False, False, False])), (windows(log, np.array([4]))[0], np.array([False, True]))
    )
    assert [both.of(viewer).tolist() for viewer in range(2)] == [[0, 1], [3, 4]]
    assert both.at.tolist() == [0, 1, 3, 4]
    assert both.interest.tolist() == log.interest[both.at].tolist()
    assert learned.tolist() == [False, True, False, True]


# ── updates ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_changed_since_the_start_is_learned() -> None:
    """First each video is followed by the next, then by the one before: updates turn what follows."""
    first = cycles(12)
    turned = log_of(
        *(list(first.of(viewer)) for viewer in range(60)),
        *(list(first.of(viewer)[::-1]) for viewer in range(60)),
        videos=12,
        at=[*first.at, *(first.at + 20_000_000)],
    )
    towers = running(first)
    new = np.arange(len(turned)) >= len(first)
    updates = [towers.update(turned, titles(12), new) for _ in range(20)]
    assert updates[-1].before < updates[0].before - 0.5
    assert not updates[0].refused
    assert updates[0].learned > int(new.sum()) * 0.8
    assert updates[0].seconds > 0


def test_the_same_seed_learns_the_same() -> None:
    log = cycles(12)
    vectors = []
    for others in range(2):
        towers = running(log)
        torch.rand(others)
        towers.update(log, titles(12), newest(log))
        vectors.append(towers.towers.video().detach())
    assert torch.equal(vectors[0], vectors[1])


@pytest.mark.parametrize(("rate", "reason"), [(30.0, "rose from"), (float("inf"), "no number")])
def test_an_update_that_breaks_the_towers_is_thrown_away(rate: float, reason: str) -> None:
    log = cycles(12)
    towers = running(log, dataclasses.replace(REFRESH, learning_rate=rate))
    with torch.no_grad():
        towers.update(log, titles(12), np.zeros(len(log), bool))
        before = {name: weight.clone() for name, weight in towers.towers.state_dict().items()}
    refused = towers.update(log, titles(12), newest(log))
    assert reason in refused.refused
    assert all(torch.equal(weight, before[name]) for name, weight in towers.towers.state_dict().items())


def test_after_a_refused_update_the_next_one_learns() -> None:
    log = cycles(12)
    towers = running(log)
    for group in towers.optimiser.param_groups:
        group["lr"] = 30.0
    assert towers.update(log, titles(12), newest(log)).refused
    for group in towers.optimiser.param_groups:
        group["lr"] = REFRESH.learning_rate
    assert not towers.update(log, titles(12), newest(log)).refused


def ids_of(towers: RunningTowers) -> torch.Tensor:
    ids = towers.towers.video.ids
    assert ids is not None
    return ids.detach().clone()


def test_new_videos_join_and_the_old_keep_what_was_learned() -> None:
    log, more = cycles(12), cycles(15, viewers=80)
    towers = running(log)
    towers.update(log, titles(12), newest(log))
    before = ids_of(towers)
    nothing = np.zeros(len(more), bool)
    towers.update(more, titles(15), nothing)
    after = ids_of(towers)
    assert after.shape == (15, 16)
    assert torch.equal(after[:12], before)
    assert torch.isfinite(towers.towers.video()).all()
    assert not towers.update(more, titles(15), newest(more)).refused
    assert not torch.equal(ids_of(towers)[12:], after[12:])


def test_nothing_new_changes_nothing() -> None:
    log = cycles(12)
    towers = running(log)
    before = towers.towers.video().detach()
    update = towers.update(log, titles(12), np.zeros(len(log), bool))
    assert (update.learned, update.refused, update.before) == (0, "", update.after)
    assert torch.equal(towers.towers.video().detach(), before)


def test_what_is_held_out_stays_so_until_newer_watches_take_its_place() -> None:
    log = cycles(12, viewers=100)
    held = held_out(log, 10)
    assert held.sum() == 10
    assert log.at[held].min() > np.median(log.at)
    longer = log_of(*(list(log.of(viewer)) for viewer in range(100)), [0, 1], videos=12, at=[*log.at, 0, 1_000])
    assert (held_out(longer, 10)[: len(log)] == held).all()
    assert not held_out(log, 0).any()


# ── going on in another process ──────────────────────────────────────────────────────────────────────────────────────


def kept(towers: RunningTowers, log: WatchLog, folder: Path) -> Checkpoint:
    path = folder / CHECKPOINT
    path.write_bytes(Checkpoint.of(towers.towers, log.video_ids, began=1, until=int(log.at.max())).written())
    return Checkpoint.read(path)


def test_towers_go_on_from_their_file_as_they_were(tmp_path: Path) -> None:
    log = cycles(12)
    towers, resumed = running(log), RunningTowers(RECIPE, REFRESH, device=CPU)
    checkpoint = kept(towers, log, tmp_path)
    assert checkpoint.fits(dataclasses.replace(RECIPE, places=1, seed=7))
    assert not checkpoint.fits(dataclasses.replace(RECIPE, width=32))
    resumed.resume(checkpoint, log, titles(12))
    assert torch.equal(resumed.towers.video(), towers.towers.video())
    assert not resumed.update(log, titles(12), newest(log)).refused


def test_of_videos_that_came_since_the_ids_begin_and_the_others_stay(tmp_path: Path) -> None:
    log, more = cycles(12), cycles(15, viewers=80)
    towers, resumed = running(log), RunningTowers(RECIPE, REFRESH, device=CPU)
    resumed.resume(kept(towers, log, tmp_path), more, titles(15))
    assert ids_of(resumed).shape == (15, 16)
    assert torch.equal(ids_of(resumed)[:12], ids_of(towers))
    assert not resumed.update(more, titles(15), newest(more)).refused


@pytest.mark.parametrize("broken", [b"", b"no file of weights", b"half"])
def test_a_broken_file_is_nothing_to_go_on_from(broken: bytes, tmp_path: Path) -> None:
    log = cycles(12)
    whole = Checkpoint.of(running(log).towers, log.video_ids, began=1, until=2).written()
    path = tmp_path / CHECKPOINT
    path.write_bytes(whole[: len(whole) // 2] if broken == b"half" else broken)
    with pytest.raises(BadCheckpoint, match="expected a whole checkpoint"):
        Checkpoint.read(path)
    with pytest.raises(BadCheckpoint, match="No such file"):
        Checkpoint.read(tmp_path / "none")


def test_a_file_of_another_version_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    torch.save({"format": 99, "recipe": {}}, path)
    with pytest.raises(BadCheckpoint, match="of this version"):
        Checkpoint.read(path)
