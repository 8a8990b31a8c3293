"""The ranker learned from a house's feedback log: what passes its gate, and what it goes on from."""

from pathlib import Path

import numpy as np
import pytest

from models.learning.gate import TooLittle
from models.learning.ranker import learn
from models.ranking.features import AT, VERSION, pack
from models.ranking.ranker import MANIFEST, Ranker
from models.ranking.recipe import Recipe
from streams.events import Feedback, Name, Outcome
from streams.flows.feedback_log import FeedbackLog
from tests.models.planted import NOW, features

SMALL = Recipe(epochs=4)
PLACES = 10


def feedback(pages: int, *, began_at: int = NOW, taste: bool = True, seed: int = 0) -> list[Feedback]:
    """Return pages a second apart of whose videos those near the viewer's interests are watched to the end, others skipped."""
    rng = np.random.default_rng(seed)
    made = features(rng, pages * PLACES)
    watched = made[:, AT["interest"]] > 0 if taste else rng.random(len(made)) < 0.5
    packed = pack(made)
    told = []
    for page in range(pages):
        items = []
        for place in range(PLACES):
            row = page * PLACES + place
            actions: tuple[Name, ...] = ("impression", "play", "complete") if watched[row] else ("impression", "skip")
            items.append(
                Outcome(
                    video_id=f"v{row}", position=place, propensity=1.0, source="fresh", actions=actions, watch_ms=1_000,
                    reward=0.0, parts={}, features=packed[row],
                )
            )  # fmt: skip
        at = began_at + page * 1_000
        told.append(
            Feedback(
                request_id=f"r{at}", user_id=f"u{page % 40}", items=tuple(items), served_at=at, closed_at=at + 60_000,
                features_version=VERSION,
            )
        )  # fmt: skip
    return told


def test_a_ranker_that_learned_passes_and_serves_and_the_next_goes_on_from_it(tmp_path: Path) -> None:
    FeedbackLog(tmp_path / "log").add(feedback(600))
    learned = learn(tmp_path / "log", SMALL, running=None)
    assert learned.verdict.passed, learned.verdict
    assert learned.verdict.figures["complete_auc"] > 0.9
    assert learned.verdict.figures["cases"] == 60
    (tmp_path / "ranker").mkdir()
    for name, content in learned.files.items():
        (tmp_path / "ranker" / name).write_bytes(content)
    Ranker.load(tmp_path / "ranker")
    FeedbackLog(tmp_path / "log").add(feedback(600, began_at=NOW + 700_000, seed=1))
    again = learn(tmp_path / "log", SMALL, running=tmp_path / "ranker")
    assert again.verdict.figures["log_likelihood_running"] < 0
    assert again.verdict.figures["rows_learned"] > 0


def test_where_nothing_says_what_is_watched_no_ranker_passes(tmp_path: Path) -> None:
    FeedbackLog(tmp_path).add(feedback(600, taste=False))
    assert not learn(tmp_path, SMALL, running=None).verdict.passed


def test_a_few_pages_are_too_few_to_pass(tmp_path: Path) -> None:
    FeedbackLog(tmp_path).add(feedback(40))
    verdict = learn(tmp_path, SMALL, running=None).verdict
    assert not verdict.passed


def test_no_pages_are_too_little_and_so_are_those_before_the_first_day(tmp_path: Path) -> None:
    with pytest.raises(TooLittle):
        learn(tmp_path / "log", SMALL, running=None)
    FeedbackLog(tmp_path / "log").add(feedback(600))
    with pytest.raises(TooLittle):
        learn(tmp_path / "log", SMALL, running=None, since="2200-01-01")


def test_a_running_ranker_that_can_not_be_read_is_learned_without(tmp_path: Path) -> None:
    (tmp_path / "ranker").mkdir()
    (tmp_path / "ranker" / MANIFEST).write_text('{"format": 99}')
    FeedbackLog(tmp_path / "log").add(feedback(600))
    learned = learn(tmp_path / "log", SMALL, running=tmp_path / "ranker")
    assert learned.verdict.passed
    assert "log_likelihood_running" not in learned.verdict.figures
