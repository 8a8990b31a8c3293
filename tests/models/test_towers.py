"""The towers' parts on small logs: what each knows, that nothing leaks from the future, and that they learn."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.ranking.evaluation.leave_one_out import judge, split
from models.ranking.evaluation.two_towers import TwoTowers
from models.retrieval.appearance import appeared
from models.retrieval.gaps import NONE, gaps
from models.retrieval.gradients import Sparse, softmax_loss
from models.retrieval.log import WatchLog
from models.retrieval.neighbours import neighbours
from models.retrieval.packing import ROW, packed
from models.retrieval.recipe import HISTORY, SASREC_IDS, SASREC_TITLES, Recipe
from models.retrieval.terms import Terms
from models.retrieval.towers import bumps
from models.retrieval.training import steps, train
from tests.models.test_leave_one_out import log_of

CPU = torch.device("cpu")
SMALL = Recipe(
    actions=True, gaps=True, width=32, heads=2, epochs=20, learning_rate=1e-2, weight_decay=0.01, warm_up=2, places=128
)
NOWHERE = np.zeros((12, 8), np.float32)


def cycles(viewers: int = 300, videos: int = 24) -> WatchLog:
    """Viewers who watch six videos in a row, each beginning somewhere else: the next one is never in doubt."""
    rng = np.random.default_rng(0)
    return log_of(*([(start + at) % videos for at in range(6)] for start in rng.integers(videos, size=viewers)), videos=videos)


def titles(videos: int = 24) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(1).normal(size=(videos, 8)).astype(np.float32)


# ── what is known of videos ──────────────────────────────────────────────────────────────────────────────────────────


def test_terms_weigh_what_is_rare_more_and_each_group_the_same() -> None:
    texts = ["beef noodles", "beef soup", "beef stew", "chess noodles", "noodles and chess", "chess"]
    weights = Terms.made_of(texts, ("words",)).of(["chess beef noodles", "unknown words only", "beef beef"]).toarray()
    assert np.linalg.norm(weights, axis=1) == pytest.approx([1, 0, 1])
    assert len(Terms.made_of(texts, ("words", "pairs", "grams"))) >= len(Terms.made_of(texts, ("words",)))


def test_terms_of_any_script_are_words() -> None:
    texts = ["牛肉 面条", "牛肉 汤", "牛肉 饭", "как дела", "как", "как ты", "x", "y"]
    assert (Terms.made_of(texts, ("words",)).of(["牛肉", "КАК"]).toarray().sum(axis=1) > 0).all()


def test_no_groups_are_no_terms() -> None:
    assert Terms.made_of(["a title"], ()).of(["a title", "another"]).shape == (2, 0)


def test_videos_appear_in_the_order_in_which_they_are_watched() -> None:
    log = log_of(*([0, 1, 2, 3], [1, 2, 4], [0, 2, 3, 4]), videos=6)
    places = appeared(log)
    assert list(np.argsort(places[:5])) == [0, 1, 2, 3, 4]
    assert places[5] == 1.0


def test_neighbours_are_what_is_watched_near_and_no_row_is_more_than_one() -> None:
    graph = neighbours(log_of([0, 1, 2], [0, 1, 3], [4, 5], videos=7)).toarray()
    assert graph[0, 1] > graph[0, 2] > 0
    assert graph[0, 4] == 0
    assert (graph.sum(axis=1) <= 1 + 1e-6).all()
    assert graph[6].sum() == 0


# ── how they learn ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_packing_keeps_every_step_of_every_viewer_once_and_none_between_viewers() -> None:
    log = log_of([0, 1, 2, 3], [4], [5, 6], [7, 8, 9], videos=10)
    rows = packed(log, np.random.default_rng(0))
    flat = [part.reshape(-1, *part.shape[2:]) for part in (rows.watched, rows.wanted, rows.segments)]
    real = flat[2] >= 0
    steps_ = {(int(watched), int(wanted[0])) for watched, wanted in zip(flat[0][real], flat[1][real], strict=True)}
    assert steps_ == {(0, 1), (1, 2), (2, 3), (5, 6), (7, 8), (8, 9)}
    seconds = {(int(watched), int(wanted[1])) for watched, wanted in zip(flat[0][real], flat[1][real], strict=True)}
    assert {pair for pair in seconds if pair[1] >= 0} == {(0, 2), (1, 3), (7, 9)}
    assert rows.watched.shape[1] == ROW


def test_a_long_history_starts_anew_where_serving_could_not_see_on() -> None:
    rows = packed(log_of([at % 12 for at in range(2 * HISTORY + 5)]), np.random.default_rng(0))
    assert int(rows.places.max()) < HISTORY
    assert len(set(rows.segments[rows.segments >= 0].tolist())) == 3


@pytest.mark.parametrize("length", [2, HISTORY, HISTORY + 1, 2 * HISTORY + 5])
def test_a_watch_is_seen_in_training_as_it_will_be_when_serving(length: int) -> None:
    rng = np.random.default_rng(0)
    log = log_of(
        rng.integers(12, size=length).tolist(),
        at=np.sort(rng.integers(10**9, size=length)).tolist(),
        interest=rng.choice([0.6, 0.8, 1.0], length).tolist(),
    )
    rows, known = packed(log, rng), log.history(0)[:-1]
    whole = [known[start : start + HISTORY] for start in range(0, len(known), HISTORY)]
    real = rows.segments >= 0
    for part, expected in (
        (rows.watched, [each.videos for each in whole]),
        (rows.interest, [each.interest for each in whole]),
        (rows.gaps, [gaps(each.at, np.arange(len(each))) for each in whole]),
    ):
        assert part[real].tolist() == np.concatenate(expected).tolist()


def test_gaps_are_between_none_and_a_month_and_the_first_has_none() -> None:
    day = 86_400_000
    found = gaps(
        np.array([5 * day, 5 * day, 4 * day, 4 * day + 1_000, 5 * day, 90 * day, 900 * day]), np.array([0, *range(1, 7)])
    )
    assert found[:3].tolist() == [NONE, 0, 0]
    assert 0 < found[3] < 0.001 < found[4] < found[5] == found[6] == 1
    # The first adds nothing to what the tower sees of a video, as no bump is near.
    assert not bumps(torch.tensor(NONE)).any()


@pytest.mark.parametrize("part", ["actions", "gaps"])
def test_what_was_done_and_when_can_say_what_is_wanted(part: str) -> None:
    """After the same video, what is next depends on what was done with it, or on how long before it the last one was."""
    rng = np.random.default_rng(0)
    sure = rng.random(400) < 0.5
    if part == "actions":
        log = log_of(
            *([0, 1, 2 + each, 4] for each in sure), interest=[x for each in sure for x in (0.6, 1 - 0.4 * each, 0.6, 0.6)]
        )
    else:
        log = log_of(
            *([0, 1, 2 + each, 4] for each in sure),
            at=[x for each in sure for x in (0, 1 + 10**9 * each, 2 * 10**9, 3 * 10**9)],
        )
    cut, hits = split(log), []
    for told in (True, False):
        model = TwoTowers("towers", dataclasses.replace(SMALL, **{part: told}), titles(12))
        model.fit(log, cut.validation)
        hits.append(judge(model, cut.validation).hits(1).mean())
    assert hits[0] > 0.95 > 0.75 > hits[1]


def test_the_softmax_has_the_gradients_of_plain_operations() -> None:
    torch.manual_seed(0)
    viewers, videos = torch.randn(5, 4, requires_grad=True), torch.randn(7, 4, requires_grad=True)
    wanted, weights = torch.randint(7, (5, 2)), torch.tensor([[1.0, 0.4]] * 4 + [[1.0, 0.0]])
    plain = -((viewers @ videos.T).log_softmax(-1).gather(1, wanted) * weights).sum()
    expected = torch.autograd.grad(plain, (viewers, videos))
    ours = softmax_loss(viewers, videos, wanted, weights)
    assert float(ours.detach()) == pytest.approx(float(plain.detach()), rel=1e-5)
    for one, other in zip(torch.autograd.grad(ours, (viewers, videos)), expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_sparse_product_has_the_gradient_of_a_dense_one() -> None:
    matrix = neighbours(log_of([0, 1, 2], [1, 2, 3], videos=4))
    dense = torch.randn(4, 3, requires_grad=True)
    (expected,) = torch.autograd.grad((torch.from_numpy(matrix.toarray()) @ dense).square().sum(), dense)
    (ours,) = torch.autograd.grad(Sparse(matrix, CPU).times(dense).square().sum(), dense)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("recipe", [SMALL, dataclasses.replace(SMALL, negatives=12), dataclasses.replace(SMALL, averaging=0.5)])
def test_what_always_follows_is_found_first(recipe: Recipe) -> None:
    cut = split(cycles())
    model = TwoTowers("towers", recipe, titles())
    model.fit(cut.train, cut.validation)
    assert judge(model, cut.test).hits(1).mean() > 0.9


@pytest.mark.parametrize("recipe", [SASREC_IDS, SASREC_TITLES])
def test_the_baselines_learn_by_the_same_code(recipe: Recipe) -> None:
    small = dataclasses.replace(
        recipe, width=32, epochs=20, learning_rate=1e-2, weight_decay=0.01, warm_up=2, dropout=0.1, averaging=0.5, places=128
    )
    cut = split(cycles())
    model = TwoTowers("sasrec", small, titles())
    model.fit(cut.train, cut.validation)
    assert judge(model, cut.test).hits(1).mean() > 0.9


def test_the_same_seed_gives_the_same_towers() -> None:
    log = cycles(40)
    one, same, other = (
        train(log, titles(), dataclasses.replace(SMALL, epochs=1, seed=seed), device=CPU).video().detach() for seed in (3, 3, 4)
    )
    torch.testing.assert_close(one, same)
    assert not torch.allclose(one, other)


def test_no_tower_knows_the_future() -> None:
    """What is held out may be anything, of any time and interest: no vector and no score changes."""
    rng = np.random.default_rng(0)
    past = [list(rng.permutation(12)[:4]) for _ in range(30)]
    at, interest = rng.integers(10**7, size=(30, 4)), rng.choice([0.6, 0.8, 1.0], (30, 4))
    vectors, scores = [], []
    for _ in range(2):
        log = log_of(
            *(before + list(rng.permutation(12)[:2]) for before in past),
            at=np.sort(np.hstack([at, 10**7 + rng.integers(10**9, size=(30, 2))])).ravel().tolist(),
            interest=np.hstack([interest, rng.choice([0.6, 0.8, 1.0], (30, 2))]).ravel().tolist(),
        )
        cut, model = split(log), TwoTowers("towers", dataclasses.replace(SMALL, epochs=1), titles(12))
        model.fit(cut.train, cut.validation)
        vectors.append(model.towers.video().detach())
        scores.append(model.scores(cut.validation.histories))
    torch.testing.assert_close(vectors[0], vectors[1])
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)


def test_a_new_video_has_a_vector_by_its_content_and_its_place_alone() -> None:
    log = cycles(40, videos=24)
    watched = log_of(*(log.of(viewer) for viewer in range(40)), videos=25)
    towers = train(watched, titles(25), dataclasses.replace(SMALL, epochs=2), device=CPU)
    with torch.inference_mode():
        vectors, content = towers.video(), towers.video.content()
        assert towers.video.when is not None
        placed = towers.video.when(torch.eye(16)[-1:])
    assert torch.linalg.norm(vectors[24]) > 0
    # Its place is the last of sixteen bumps and their overlap; of an id or neighbours it has nothing.
    assert torch.linalg.norm(vectors[24] - content[24] - placed) < torch.linalg.norm(placed) * 2


def test_viewers_of_one_video_have_nothing_to_be_learned_from() -> None:
    log = log_of([0], [1], [2])
    assert steps(log, SMALL) == 0
    towers = train(log, NOWHERE, SMALL, device=CPU)
    assert torch.isfinite(towers.video()).all()


@given(st.lists(st.integers(1, 3 * HISTORY), min_size=1, max_size=8))
def test_steps_are_as_many_as_the_batches(lengths: list[int]) -> None:
    log = log_of(*([at % 12 for at in range(length)] for length in lengths))
    recipe = dataclasses.replace(SMALL, epochs=1)
    batches = packed(log, np.random.default_rng(0)).batches(recipe.places // ROW, CPU)
    assert len(batches) == steps(log, recipe)


def test_a_history_of_more_than_fifty_counts_by_its_end() -> None:
    towers = train(cycles(40), titles(), dataclasses.replace(SMALL, epochs=1), device=CPU)
    long = log_of([at % 24 for at in range(80)], videos=24, at=[at**3 * 1_000 for at in range(80)]).history(0)
    with torch.inference_mode():
        videos = towers.video()
        whole, end = (towers.wanted_next(videos, [history]) for history in (long, long[-HISTORY:]))
    torch.testing.assert_close(whole, end)
