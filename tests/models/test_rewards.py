"""No trick that is known scores: what can't be parsed is the worst there is, and form alone earns nothing."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.learning.rewards import REWARDS, UNPARSEABLE, composed, total
from models.viewers.answers import Form

POLICIES = st.dictionaries(st.sampled_from(sorted(REWARDS)), st.floats(0, 10), min_size=1)
TRICKS = [
    "",
    "<think></think><answer></answer>",
    "<think></think><answer>1,2,3,4</answer>",
    "<think></think><answer>3,3</answer>",
    "<think></think><answer>yes,no</answer>",
    "<think>I choose <answer>3</answer></think>",
    "<think>3</think>",
    "3",
    "<think></think><answer>video number 3</answer>",
    "<think></think><answer>3</answer><answer>3</answer>",
    "<think></think><answer>3</answer> or 1",
]


def question(candidates: int = 4, places: int = 1, *, wanted: int = 2, seed: int = 0) -> dict[str, Any]:
    """One question's columns, as a batch of one."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(candidates, 8))
    return {
        "candidates": [candidates],
        "places": [places],
        "wanted": [wanted],
        "gains": [[float(at == wanted) for at in range(candidates)]],
        "embeddings": [(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).tolist()],
        "popularity": [rng.integers(0, 100, candidates).tolist()],
        "watch_shares": [rng.random(candidates).tolist()],
        "exposure": [rng.random(candidates).tolist()],
    }


@pytest.mark.parametrize("trick", TRICKS)
@given(policy=POLICIES, seed=st.integers(0, 50))
def test_a_trick_is_worth_less_than_any_choice_under_any_policy(trick: str, policy: dict[str, float], seed: int) -> None:
    rewards, asked = composed(policy), question(seed=seed)
    worst = min(total([Form(4).written("", [choice])], rewards, **asked)[0] for choice in range(4))
    assert total([trick], rewards, **asked)[0] < worst


@pytest.mark.parametrize("trick", [*TRICKS, "<think></think><answer>1</answer>"])
def test_a_trick_is_worth_less_than_the_wrong_one_of_yes_and_no(trick: str) -> None:
    asked = {"candidates": [0], "places": [1], "wanted": [1]}
    rewards = composed({"accuracy": 1.0})
    wrong = total([Form().written("", False)], rewards, **asked)[0]
    assert total([trick], rewards, **asked)[0] < wrong < total([Form().written("", True)], rewards, **asked)[0]


@given(st.integers(0, 3), st.text(max_size=50))
def test_form_alone_earns_nothing(choice: int, thought: str) -> None:
    asked = question(wanted=(choice + 1) % 4)
    completion = [Form(4).written(thought, [choice])]
    assert REWARDS["form"](completion, **asked) == [0.0]
    assert REWARDS["accuracy"](completion, **asked) == [0.0]
    assert REWARDS["rank_quality"](completion, **asked) == [0.0]


@given(st.permutations(range(5)), st.integers(1, 5), st.integers(0, 20))
def test_each_part_of_an_answer_in_form_is_in_0_to_1(order: list[int], places: int, seed: int) -> None:
    asked = question(5, places, seed=seed)
    for name, reward in REWARDS.items():
        (earned,) = reward([Form(5, places).written("", order[:places])], **asked)
        assert -1e-9 <= earned <= 1 + 1e-9, name


def test_the_right_order_is_worth_one_and_what_is_wanted_last_less() -> None:
    asked = question(4, 4)
    best, worst = Form(4, 4).written("", [2, 0, 1, 3]), Form(4, 4).written("", [0, 1, 3, 2])
    (most,), (least,) = (REWARDS["rank_quality"]([each], **asked) for each in (best, worst))
    assert most == pytest.approx(1.0)
    assert least == pytest.approx(1 / np.log2(5))


def test_the_diverse_the_unknown_the_watched_and_the_unshown_are_worth_more() -> None:
    asked = {
        "candidates": [3],
        "places": [2],
        "embeddings": [[[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]],
        "popularity": [[10, 5, 1]],
        "watch_shares": [[0.1, 0.2, 0.9]],
        "exposure": [[3.0, 3.0, 0.0]],
    }
    alike, apart = Form(3, 2).written("", [0, 1]), Form(3, 2).written("", [2, 1])
    for name in ("diversity", "novelty", "watch_time", "creator_fairness"):
        assert REWARDS[name]([apart], **asked)[0] > REWARDS[name]([alike], **asked)[0], name
    assert REWARDS["diversity"]([alike, apart], **{name: values * 2 for name, values in asked.items()}) == [0.0, 1.0]


def test_chats_are_read_by_their_last_message() -> None:
    chat = [{"role": "assistant", "content": Form(4).written("", [2])}]
    assert REWARDS["accuracy"]([chat], **question()) == [1.0]


def lucky_numbers(completions: list[str], **columns: Any) -> list[float]:
    """A platform's own rule, out of bounds."""
    return [7.0 for _ in completions]


def test_a_rule_of_ones_own_is_named_by_its_module_and_kept_in_bounds() -> None:
    rewards = composed({f"{__name__}:lucky_numbers": 0.5})
    right, trick = total([Form(4).written("", [2])], rewards, **question()), total([""], rewards, **question())
    assert right == [0.5]
    assert trick == [1.5 * UNPARSEABLE]


def test_what_is_no_rule_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"expected one of form, accuracy, .*no_such_module"):
        composed({"no_such_module:rule": 1.0})
    with pytest.raises(ValueError, match="diversity"):
        composed({"diversity": -0.1})
