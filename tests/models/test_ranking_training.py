"""The ranker's training: that it learns what is there to learn, not more, and says when it did not."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import torch

from models.ranking.features import AT, FEATURES, VERSION, pack
from models.ranking.objectives import OBJECTIVES
from models.ranking.recipe import Recipe
from models.ranking.rows import LeftOut, Rows, read
from models.ranking.training import Candidate, cut, train
from streams.events import Feedback, Outcome
from streams.flows.feedback_log import FeedbackLog
from tests.models.planted import CAUSES, NOW, PLACES, features, places, rows_of

# Many are judged by: with few, chance alone is off by as much as a bad calibration.
RECIPE = Recipe(epochs=6, learning_rate=1e-2, judged_share=0.3)
SIZE = len(FEATURES)


@pytest.fixture(scope="module")
def rows() -> Rows:
    return places()


@pytest.fixture(scope="module")
def learned(rows: Rows) -> Candidate:
    return train(rows, RECIPE)


def test_each_objective_is_told_apart_by_what_it_goes_by(learned: Candidate) -> None:
    assert learned.refused == ""
    for name in CAUSES:
        found = learned.figures[name]["auc"]
        assert found.low > 0.6, (name, found)
        assert found.low <= found.value <= found.high
        assert learned.figures[name]["log_loss_over_base"].value < 0.97, name
    assert learned.rows_per_s > 0


def test_what_is_predicted_comes_as_often_as_predicted(learned: Candidate) -> None:
    for name in CAUSES:
        assert learned.figures[name]["ece"].value < 0.06, name


def test_an_objective_that_was_never_seen_stays_at_its_base_rate(rows: Rows, learned: Candidate) -> None:
    reports = learned.network.predict(rows.features[:200])[:, OBJECTIVES.index("report")]
    assert np.ptp(reports) == 0.0
    assert 0.0 < reports[0] < 1e-3
    assert np.isnan(learned.figures["report"]["auc"].value)


def test_a_place_by_itself_is_not_credited_to_what_stands_there() -> None:
    # What was popular stood first, and first places are watched more; popularity itself moves nobody.
    rng = np.random.default_rng(0)
    made = features(rng, 8_000)
    positions = np.tile(np.arange(PLACES), 800)
    popular = AT["video_impressions"]
    made[:, popular] = 5 - 0.5 * positions + rng.normal(0, 1.0, 8_000)
    values = np.zeros((8_000, len(OBJECTIVES)), np.float32)
    values[:, 0] = rng.random(8_000) < 1 / (1 + np.exp(-(1.5 - 0.4 * positions + 2 * made[:, AT["interest"]])))
    told = train(rows_of(made, values, positions=positions), RECIPE).network
    untold = train(rows_of(made, values, positions=np.zeros(8_000, np.int64)), RECIPE).network
    high, low = made[:500].copy(), made[:500].copy()
    high[:, popular], low[:, popular] = 4.5, 0.5
    credited = [float((net.predict(high) - net.predict(low))[:, 0].mean()) for net in (told, untold)]
    assert abs(credited[0]) < 0.12 < 0.3 < credited[1]
    # What it is that falls is known: with the place, by 3.6 logits from the first to the tenth.
    assert float((told.places[9, 0] - told.places[0, 0]).detach()) < -2.0


def test_the_same_seed_trains_the_same_ranker(rows: Rows) -> None:
    few = rows.of(np.arange(2_000))
    one, two = (train(few, RECIPE).network.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_newest_pages_judge_and_no_page_is_on_two_sides(rows: Rows) -> None:
    parts = cut(rows, RECIPE)
    ends = [int(part.served_at[at]) for part in (parts.learned, parts.calibrated, parts.judged) for at in (0, -1)]
    assert ends == sorted(set(ends))
    assert len(parts.judged) == pytest.approx(0.3 * len(rows), rel=0.05)


@pytest.mark.parametrize("count", [0, 1, 10])
def test_too_few_pages_are_an_error_that_says_so(rows: Rows, count: int) -> None:
    with pytest.raises(ValueError, match=f"ten times or more to learn from, got {count} places"):
        cut(rows.of(np.arange(count)), RECIPE)


# ── going on from what runs ───────────────────────────────────────────────────────────────────────────────────────────


def test_training_goes_on_from_the_running_weights_with_as_much_old_as_new(rows: Rows, learned: Candidate) -> None:
    newer = places(3_000, seed=1, began_at=NOW + 10_000_000)
    recipe = dataclasses.replace(RECIPE, epochs=1)
    warm = train(rows.and_then(newer), recipe, running=learned.network, learned_until=NOW + 9_000_000)
    cold = train(newer, recipe)
    assert (warm.rows["learned"], warm.rows["used"]) == (1_800, 3_600)
    assert warm.rows["judged"] == cold.rows["judged"]
    assert warm.losses["candidate"] < cold.losses["candidate"]
    assert NOW + 10_000_000 < warm.learned_until < int(newer.served_at[-1])
    assert {"running", "base"} < set(warm.losses)
    assert (warm.network.mean == learned.network.mean).all()


def test_without_anything_new_there_is_nothing_to_go_on_from(rows: Rows, learned: Candidate) -> None:
    with pytest.raises(ValueError, match="got 0 places"):
        train(rows, RECIPE, running=learned.network, learned_until=int(rows.served_at[-1]))


# ── the guard ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_candidate_worse_than_the_running_one_is_refused(rows: Rows, learned: Candidate) -> None:
    few = rows.of(np.arange(len(rows)) >= len(rows) - 600)
    worse = train(few, dataclasses.replace(RECIPE, warm_rate=20.0), running=learned.network)
    assert worse.losses["candidate"] > worse.losses["running"]
    assert "that of the ranker that runs" in worse.refused


def test_a_candidate_that_knows_less_than_base_rates_is_refused(rows: Rows) -> None:
    # What held while it learned no longer does: the newest pages are the other way round.
    turned = rows.values.copy()
    judged = rows.served_at >= cut(rows, RECIPE).judged.served_at[0]
    turned[judged] = 1.0 - turned[judged]
    refused = train(dataclasses.replace(rows, values=turned), RECIPE).refused
    assert "that of base rates alone" in refused


def test_a_candidate_that_is_no_number_is_refused(rows: Rows) -> None:
    broken = rows.of(np.arange(1_000))
    broken.features[3, 0] = np.nan
    assert "no number" in train(broken, RECIPE).refused


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def table_of(*items: Outcome, version: int = VERSION) -> pa.Table:
    """Return the rows of one page, as they come back from disk."""
    page = Feedback(request_id="r", user_id="ann", items=items, served_at=NOW, closed_at=NOW + 1, features_version=version)
    return FeedbackLog.table([page])


def outcome(position: int, *actions: str, packed: bytes | None = None) -> Outcome:
    return Outcome(
        video_id=f"v{position}", position=position, propensity=1.0, source="fresh", actions=actions, watch_ms=0, reward=0.0,
        parts={}, features=pack(np.zeros((1, SIZE), np.float32))[0] if packed is None else packed,
    )  # fmt: skip


def test_rows_that_teach_nothing_are_left_out_and_counted() -> None:
    nan = pack(np.full((1, SIZE), np.nan, np.float32))[0]
    page = table_of(
        outcome(0, "impression", "like"), outcome(1), outcome(2, "skip", packed=b"\x00" * 9), outcome(3, "skip", packed=nan)
    )
    rows, left_out = read(pa.concat_tables([page, table_of(outcome(0, "like"), version=VERSION + 1)]))
    assert left_out == LeftOut(not_seen=1, other_version=1, broken=2)
    assert len(rows) == 1
    assert rows.values[0, OBJECTIVES.index("like")] == 1.0


def test_a_log_of_before_there_were_features_teaches_nothing_and_is_no_error() -> None:
    before = table_of(outcome(0, "like")).drop_columns(["features", "features_version"])
    rows, left_out = read(before)
    assert (len(rows), left_out.other_version) == (0, 1)


def test_a_table_that_is_no_feedback_log_is_an_error_that_names_what_is_missing() -> None:
    with pytest.raises(ValueError, match="there is no user_id"):
        read(table_of(outcome(0, "like")).drop_columns(["user_id"]))


def test_rows_come_in_the_order_of_time() -> None:
    pages = [table_of(outcome(1, "like"), outcome(0, "like"))]
    assert read(pa.concat_tables(pages))[0].positions.tolist() == [0, 1]
