import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.feed.diversity import arrange
from serving.feed.exploration import RIVALS_KEPT, Contest, Lottery
from serving.settings import FeedSettings

SETTINGS = FeedSettings()
counts = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 5)), min_size=1, max_size=30)


def unit_vectors(n, seed):
    vectors = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def opened(known, *, seed, places=2, draws=64):
    successes, failures, authors = (np.array(column) for column in zip(*known, strict=True))
    return Contest(
        np.random.default_rng(seed),
        successes=successes.astype(np.float32),
        failures=failures.astype(np.float32),
        merit=np.ones(len(known), dtype=np.float32),
        authors=authors.astype(np.int32),
        places=places,
        draws=draws,
        prior=(1.0, 4.0),
    )


def contest(known, *, seed, places=2, draws=64):
    return opened(known, seed=seed, places=places, draws=draws).fill(places)


@given(authors=st.lists(st.integers(0, 6), min_size=1, max_size=60), limit=st.integers(1, 20), seed=st.integers(0, 99))
def test_a_page_has_no_duplicates_and_is_full(authors, limit, seed):
    rng = np.random.default_rng(seed)
    value = rng.normal(size=len(authors)).astype(np.float32)
    reserved = {place: index for index, place in enumerate(range(1, min(limit, len(authors)), 4))}
    order = arrange(
        value, unit_vectors(len(authors), seed), np.array(authors, np.int32), limit=limit, reserved=reserved, settings=SETTINGS
    )
    assert len(order) == len(set(order)) == min(limit, len(authors))
    if len(authors) >= limit:
        assert all(order[place] == index for place, index in reserved.items())


@given(seed=st.integers(0, 999), limit=st.integers(1, 20))
def test_two_videos_of_an_author_are_apart_while_there_are_others(seed, limit):
    rng = np.random.default_rng(seed)
    authors = rng.permutation(np.repeat(np.arange(12, dtype=np.int32), 5))
    value = rng.normal(size=60).astype(np.float32)
    order = arrange(value, unit_vectors(60, seed), authors, limit=limit, reserved={1: 7, 5: 9}, settings=SETTINGS)
    for place in range(len(order)):
        around = order[max(0, place - SETTINGS.author_gap) : place]
        if place not in (1, 5):
            assert authors[order[place]] not in authors[around]


def test_what_repeats_the_page_gives_way_to_what_does_not():
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    value = np.array([1.0, 0.95, 0.9], dtype=np.float32)
    order = arrange(value, vectors, np.arange(3, dtype=np.int32), limit=3, reserved={}, settings=SETTINGS)
    assert order == [0, 2, 1]


@given(known=counts, seed=st.integers(0, 99), places=st.integers(0, 4))
def test_winners_are_different_videos_of_different_authors_with_a_propensity(known, seed, places):
    picks = contest(known, seed=seed, places=places)
    authors = [known[pick.index][2] for pick in picks]
    assert len(set(authors)) == len(authors) == min(places, len({author for *_, author in known}))
    assert all(0.0 < pick.propensity <= 1.0 for pick in picks)


@settings(max_examples=5)
@given(seed=st.integers(0, 9))
def test_videos_win_as_often_as_their_propensity_says(seed):
    known = [(0, 0, 0), (2, 8, 1), (10, 20, 2), (1, 30, 3)]
    runs = 1500
    picks = [contest(known, seed=seed * runs + run, places=1, draws=256)[0] for run in range(runs)]
    for index in range(len(known)):
        share = np.mean([pick.index == index for pick in picks])
        said = [pick.propensity for pick in picks if pick.index == index]
        # Four standard errors of a share over 1,500 runs, and the draw that is counted in, 1/256.
        assert not said or abs(np.mean(said) - share) < 4 * np.sqrt(share * (1 - share) / runs) + 0.012


@given(known=counts, seed=st.integers(0, 99), places=st.integers(1, 4))
def test_a_winner_and_its_rivals_share_all_of_the_probability(known, seed, places):
    for pick in contest(known, seed=seed, places=places):
        assert pick.index not in pick.rivals
        assert np.isclose(pick.propensity + sum(pick.rivals.values()), 1.0)
        assert all(propensity > 0.0 for propensity in pick.rivals.values())


def test_no_more_rivals_are_told_of_than_a_slate_may_hold():
    (pick,) = contest([(0, 0, author) for author in range(300)], seed=0, places=1, draws=1_000)
    assert len(pick.rivals) == RIVALS_KEPT
    assert min(pick.rivals.values()) >= 1 / 1_000


def test_with_few_draws_too_propensities_weigh_winners_to_any_other_policy():
    known = [(0, 0, 0), (2, 8, 1), (10, 20, 2), (1, 30, 3)]
    picks = [contest(known, seed=seed, places=2, draws=6) for seed in range(6_000)]
    for place in range(2):
        # A policy that draws evenly among those that could win: its weights are 1 in the mean where propensities are right.
        weights = np.array([1 / (1 + len(both[place].rivals)) / both[place].propensity for both in picks])
        assert abs(weights.mean() - 1) < 4 * weights.std() / np.sqrt(len(weights))


def test_a_place_that_chance_may_keep_tells_of_all_who_could_have_got_it():
    known = [(0, 0, 0), (2, 8, 1), (10, 20, 2), (1, 30, 3)]
    rng, picks = np.random.default_rng(0), []
    for seed in range(3_000):
        # By value the fifth, who does not compete, or one who does.
        by_value = 4 if seed % 2 else 1
        lottery = Lottery(opened(known, seed=seed, places=1, draws=8), 0.3, kept=bool(rng.random() < 0.3))
        assert lottery.draw(by_value, np.zeros(5, dtype=np.bool_)) == lottery.pick.index
        everybody = {lottery.pick.index: lottery.pick.propensity} | lottery.pick.rivals
        assert np.isclose(sum(everybody.values()), 1.0)
        assert everybody[by_value] >= 0.7
        picks.append(lottery.pick)
    weights = np.array([1 / (1 + len(pick.rivals)) / pick.propensity for pick in picks])
    assert abs(weights.mean() - 1) < 4 * weights.std() / np.sqrt(len(weights))


def test_what_is_loved_wins_more_often_than_what_is_not():
    wins = [contest([(20, 20, 0), (1, 60, 1)], seed=seed, places=1)[0].index for seed in range(50)]
    assert wins.count(0) == 50
