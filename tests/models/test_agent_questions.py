"""Questions out of the feedback log: what they ask, what was known then, and what a bad log does to them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from models.learning.questions import EACH_PAGE, EACH_VIEWER, cut_by_time, from_log
from models.learning.rewards import REWARDS, composed, total
from models.viewers.answers import Form
from models.viewers.questions import Question
from streams.events import Feedback, Outcome
from streams.flows.feedback_log import FeedbackLog
from streams.ports import Video

NOW = 1_790_000_000_000
MINUTE_MS = 60_000
SAID: Mapping[str, tuple[tuple[str, ...], float]] = {
    "liked": (("impression", "play", "complete", "like"), 1.5),
    "finished": (("impression", "play", "complete"), 1.0),
    "skipped": (("impression", "skip"), -0.5),
    "unseen": ((), 0.0),
}


class Known:
    """Every video named after its topic: "cats-3" is on cats."""

    def __init__(self, *gone: str) -> None:
        self.gone = set(gone)

    def get(self, video_id: str) -> Video | None:
        if video_id in self.gone:
            return None
        vector = np.zeros(384, np.float32)
        topic = video_id.split("-")[0]
        vector[sum(map(ord, topic)) % 384] = 1.0
        return Video(
            video_id=video_id, author_id=topic, title=f"title {video_id}", embedding=vector, topics=(topic,),
            duration_ms=10_000, kind="video",
        )  # fmt: skip

    def is_gone(self, video_id: str) -> bool:
        return video_id in self.gone


def page(at: int, *places: tuple[str, str], user: str = "ann", rivals: Mapping[str, float] | None = None) -> Feedback:
    outcomes = [
        Outcome(
            video_id=video, position=position, propensity=0.5, source="s", actions=SAID[said][0], watch_ms=1_000,
            reward=SAID[said][1], parts={}, rivals=dict(rivals or {}),
        )
        for position, (video, said) in enumerate(places)
    ]  # fmt: skip
    return Feedback(
        request_id=f"{user}-{at}", user_id=user, items=tuple(outcomes), served_at=NOW + at * MINUTE_MS,
        closed_at=NOW + at * MINUTE_MS + 1,
    )  # fmt: skip


def asked(
    folder: Path, pages: Sequence[Feedback], known: Known | None = None, *, candidates: int = 3, seed: int = 0
) -> list[Question]:
    FeedbackLog(folder).add(list(pages))
    return from_log(folder, known or Known(), memory_tokens=200, candidates=candidates, seed=seed).questions


CATS_LIKED = (("cats-1", "liked"), ("news-1", "skipped"), ("news-2", "skipped"), ("cars-1", "unseen"))


def test_a_page_asks_for_what_was_wanted_among_what_was_shown_beside_it_and_not(tmp_path: Path) -> None:
    (question,) = asked(tmp_path, [page(0, *CATS_LIKED)])
    assert question.video_ids[question.wanted] == "cats-1"
    assert set(question.video_ids) == {"cats-1", "news-1", "news-2"}
    assert question.gains[question.wanted] == 1.5
    assert [question.columns["positions"][row] for row in np.argsort(question.video_ids)] == [0, 1, 2]


def test_where_too_little_was_left_what_could_have_been_shown_instead_fills_it(tmp_path: Path) -> None:
    (question,) = asked(
        tmp_path, [page(0, ("cats-1", "liked"), ("news-1", "skipped"), rivals={"cars-9": 0.3, "cars-8": 0.1, "cats-1": 0.2})]
    )
    assert set(question.video_ids) == {"cats-1", "news-1", "cars-9"}
    assert question.gains[question.video_ids.index("cars-9")] == 0.0


def test_a_viewer_is_told_as_they_were_known_before_the_page(tmp_path: Path) -> None:
    first, second = asked(tmp_path, [page(0, *CATS_LIKED), page(9, ("cats-5", "finished"), *CATS_LIKED[1:])])
    assert (first.known, first.viewer) == (0, "A new viewer, of whom nothing is known yet.")
    assert second.known == 3
    assert "Likes most: cats." in second.viewer
    assert "cats-5" not in second.viewer


def test_an_author_is_exposed_by_the_places_they_had_on_pages_before(tmp_path: Path) -> None:
    first, second = asked(tmp_path, [page(0, *CATS_LIKED), page(9, ("cats-5", "finished"), *CATS_LIKED[1:])])
    assert set(first.columns["exposure"]) == {0.0}
    # Of four places three authors had 4/3 in the mean.
    assert dict(zip(second.video_ids, second.columns["exposure"], strict=True)) == {
        "cats-5": 0.75,
        "news-1": 1.5,
        "news-2": 1.5,
    }


def test_every_reward_is_earned_by_what_is_known_of_a_question(tmp_path: Path) -> None:
    _, question = asked(tmp_path, [page(0, *CATS_LIKED), page(9, ("cats-5", "finished"), *CATS_LIKED[1:])])
    form = Form(len(question.videos), 1, 0)
    columns = {name: [values] for name, values in question.columns.items()}
    asked_of = {"candidates": [form.candidates], "places": [1], "wanted": [question.wanted], "gains": [question.gains]}
    (earned,) = total([form.written("", (question.wanted,))], composed(dict.fromkeys(REWARDS, 1.0)), **asked_of, **columns)
    (worst,) = total(["no answer"], composed(dict.fromkeys(REWARDS, 1.0)), **asked_of, **columns)
    assert earned > 2.0 > worst


def test_what_comes_later_changes_no_question_of_before(tmp_path: Path) -> None:
    before = [page(at, *CATS_LIKED, user=user) for at in range(3) for user in ("ann", "bob")]
    after = [page(at, ("news-7", "liked"), ("cats-1", "skipped"), ("cats-2", "skipped")) for at in range(3, 6)]
    alone = asked(tmp_path / "alone", before)
    assert asked(tmp_path / "both", [*after, *before])[: len(alone)] == alone


def test_a_video_that_is_gone_is_neither_asked_for_nor_told_of(tmp_path: Path) -> None:
    pages = [page(0, *CATS_LIKED), page(9, ("cats-5", "liked"), *CATS_LIKED[1:])]
    questions = asked(tmp_path, pages, Known("cats-1"))
    assert [question.video_ids[question.wanted] for question in questions] == ["cats-5"]
    assert "cats-1" not in questions[0].viewer


def test_of_one_page_and_of_one_viewer_there_are_only_so_many(tmp_path: Path) -> None:
    places = [*((f"cats-{row}", "liked") for row in range(6)), ("news-1", "skipped"), ("news-2", "skipped")]
    assert len(asked(tmp_path / "page", [page(0, *places)])) == EACH_PAGE
    many = asked(tmp_path / "viewer", [page(at, *CATS_LIKED) for at in range(EACH_VIEWER + 20)])
    assert len(many) == EACH_VIEWER
    assert many[-1].at == NOW + (EACH_VIEWER + 19) * MINUTE_MS


def test_a_page_that_is_logged_twice_counts_once_and_a_reward_that_is_no_number_never(tmp_path: Path) -> None:
    bad = page(5, *CATS_LIKED)
    bad = replace(bad, items=tuple(replace(item, reward=float("nan")) for item in bad.items))
    log = FeedbackLog(tmp_path)
    log.add([page(0, *CATS_LIKED)])
    assert len(asked(tmp_path, [page(0, *CATS_LIKED), bad])) == 1


def test_places_tell_nothing_and_a_seed_tells_them_all(tmp_path: Path) -> None:
    pages = [page(at, *CATS_LIKED, user=f"v{at % 40}") for at in range(120)]
    questions = asked(tmp_path / "one", pages)
    counts = np.bincount([question.wanted for question in questions], minlength=3)
    assert counts.min() > 25
    assert asked(tmp_path / "two", pages) == questions
    assert asked(tmp_path / "three", pages, seed=1) != questions


def test_the_newest_are_held_out_and_if_asked_nobody_is_on_both_sides(tmp_path: Path) -> None:
    pages = [page(at, *CATS_LIKED, user=f"v{at // 5}") for at in range(42)]
    before, after = cut_by_time(asked(tmp_path, pages), held_out=0.2)
    assert max(question.at for question in before) < min(question.at for question in after)
    assert (len(before), len(after)) == (34, 8)
    apart, after = cut_by_time([*before, *after], held_out=0.2, apart=True)
    assert not {question.user_id for question in apart} & {question.user_id for question in after}
    assert len(apart) == 30


@pytest.mark.parametrize("candidates", [2, 4])
def test_a_page_with_too_few_candidates_asks_nothing(tmp_path: Path, candidates: int) -> None:
    questions = asked(tmp_path, [page(0, ("cats-1", "liked"), ("news-1", "skipped"))], candidates=candidates)
    assert len(questions) == (candidates == 2)


def test_what_was_left_to_chance_is_told_with_its_odds(tmp_path: Path) -> None:
    FeedbackLog(tmp_path).add(
        [page(at, ("cats-1", "liked"), rivals={"news-1": 0.3, "cars-1": 0.1, "x-1": 0.1}) for at in range(5)]
    )
    logged = from_log(tmp_path, Known(), memory_tokens=200, candidates=3, seed=0).logged
    assert len(logged) == 5
    question = logged[0].question
    assert (question.video_ids[question.wanted], logged[0].reward) == ("cats-1", 1.5)
    assert dict(zip(question.video_ids, logged[0].shares, strict=True)) == pytest.approx(
        {"cats-1": 5 / 9, "news-1": 3 / 9, "cars-1": 1 / 9}
    )


def test_a_place_whose_video_was_unlikely_is_not_told_of(tmp_path: Path) -> None:
    rivals = {f"news-{row}": 0.6 for row in range(3)}
    FeedbackLog(tmp_path).add([page(at, ("cats-1", "liked"), rivals=rivals) for at in range(5)])
    assert from_log(tmp_path, Known(), memory_tokens=200, candidates=3, seed=0).logged == []
