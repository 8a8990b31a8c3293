from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from models.perception.encoders import TextEncoder
from models.viewers.interest_ranker import InterestRanker
from streams.codec import unpack_vector
from streams.features import UserInterests, ViewerFeatures
from streams.ports import PlanRequest, Video

TITLES = {
    "noodles": "cooking beef noodles",
    "senate": "politics in the senate",
    "kitten": "a kitten jumps",
    "cake": "cooking a cake",
}


NEW_VIEWER = ViewerFeatures(user_id="u")


def viewer(encoder: TextEncoder, short: str, long: str, topics: list[str]) -> ViewerFeatures:
    vectors = encoder.texts([short, long])
    interests = UserInterests(
        user_id="u", as_of=1, short=vectors[0], long=vectors[1], short_weight=1.0, long_weight=1.0, topics=topics
    )
    return ViewerFeatures(user_id="u", interests=interests)


def request(ranker: InterestRanker, instruction: str = "", pool: Sequence[str] = tuple(TITLES)) -> PlanRequest:
    steering = ranker.steer([instruction])[0]
    return PlanRequest(user_id="u", trigger="instruction", pool=tuple(pool), asked_at=0, steering=steering)


@pytest.fixture
def ranker(encoder: TextEncoder) -> InterestRanker:
    videos = {
        name: Video(
            video_id=name,
            author_id="a",
            title=title,
            embedding=vector,
            topics=(title.split()[0],),
            duration_ms=None,
            kind="video",
        )
        for (name, title), vector in zip(TITLES.items(), encoder.texts(list(TITLES.values())), strict=True)
    }
    return InterestRanker(encoder, videos)


def test_what_is_like_a_viewers_interests_comes_first_with_its_reason(ranker: InterestRanker, encoder: TextEncoder) -> None:
    plan = ranker.rank(request(ranker), viewer(encoder, "a kitten jumps", "cooking", ["cooking"])).items
    assert plan[0].video_id == "kitten"
    assert plan[0].reason == "Like what you watched just now"
    assert {item.video_id: item.reason for item in plan}["cake"] == "Because you like cooking"
    assert [item.score for item in plan] == sorted((item.score for item in plan), reverse=True)


def test_a_wish_outweighs_every_interest(ranker: InterestRanker, encoder: TextEncoder) -> None:
    fan = viewer(encoder, "politics in the senate", "politics in the senate", ["politics"])
    assert ranker.rank(request(ranker), fan).items[0].video_id == "senate"
    plan = ranker.rank(request(ranker, "less politics, more cooking"), fan).items
    assert {plan[0].video_id, plan[1].video_id} == {"noodles", "cake"}
    assert plan[-1].video_id == "senate"
    assert plan[0].reason == "You asked for more cooking"
    assert plan[-1].reason == "You asked for less politics"


def test_a_new_viewer_gets_the_pool_in_its_order(ranker: InterestRanker) -> None:
    plan = ranker.rank(request(ranker), NEW_VIEWER).items
    assert [item.video_id for item in plan] == list(TITLES)
    assert {item.reason for item in plan} == {"Something new for you"}


def test_videos_that_are_gone_are_left_out(ranker: InterestRanker) -> None:
    assert [item.video_id for item in ranker.rank(request(ranker, pool=["gone", "cake"]), NEW_VIEWER).items] == ["cake"]
    assert ranker.rank(request(ranker, pool=["gone"]), NEW_VIEWER).items == ()


def test_many_instructions_cost_one_request(ranker: InterestRanker, encoder: Any) -> None:
    ranker.steer(["more cats"])
    before = encoder.requests
    steering = ranker.steer(["less politics, more cooking", "", "more politics"])
    assert encoder.requests == before + 1
    assert [[(wish.text, wish.weight) for wish in wanted] for wanted in steering] == [
        [("politics", -1.0), ("cooking", 1.0)],
        [],
        [("politics", 1.0)],
    ]
    assert np.linalg.norm(unpack_vector(steering[0][0].embedding)) == pytest.approx(1, abs=1e-3)


def test_an_instruction_that_asks_for_nothing_costs_none(ranker: InterestRanker, encoder: Any) -> None:
    before = encoder.requests
    assert ranker.steer(["", "???"]) == [(), ()]
    assert encoder.requests == before
