import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.viewers.answers import Form, Unparseable

FORMS = st.integers(2, 12).flatmap(lambda n: st.builds(Form, st.just(n), st.integers(1, n)))
THOUGHTS = st.text(max_size=600)


@given(FORMS, THOUGHTS, st.randoms())
def test_what_is_written_in_a_form_is_read_back_and_fits_its_pattern(form: Form, thought: str, random: "object") -> None:
    order = list(range(form.candidates))
    random.shuffle(order)  # type: ignore[attr-defined]
    written = form.written(thought, order[: form.places])
    assert form.chosen(written) == tuple(order[: form.places])
    assert re.fullmatch(form.pattern, written)


@given(THOUGHTS, st.booleans())
def test_a_yes_or_no_is_read_back(thought: str, likes: bool) -> None:
    written = Form().written(thought, likes)
    assert Form().liked(written) is likes
    assert re.fullmatch(Form().pattern, written)


@given(st.text(alphabet="<>/thinkanswer 0123456789,yesno\n", max_size=80))
def test_whatever_comes_is_an_answer_as_it_would_be_written_or_none(text: str) -> None:
    for form in (Form(), Form(4), Form(4, 3)):
        try:
            read = form.chosen(text) if form.candidates else form.liked(text)
        except Unparseable:
            continue
        else:
            assert form.written(re.findall("<think>(.*)</think>", text, re.DOTALL)[0], read) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2",
        "<answer>2</answer>",
        "<think></think><answer></answer>",
        "<think>2</think>",
        "<think>the answer is <answer>2</answer></think>",
        "<think></think><answer>1</answer><answer>2</answer>",
        "<think></think><answer>1,2</answer>",
        "<think></think><answer>1,2,3,4</answer>",
        "<think></think><answer>0</answer>",
        "<think></think><answer>5</answer>",
        "<think></think><answer>-1</answer>",
        "<think></think><answer>02</answer>",
        "<think></think><answer>２</answer>",
        "<think></think><answer> 2</answer>",
        "<think></think><answer>2</answer> ",
        "<think></think><answer>2</answer>\n",
        "<think></think><answer>yes</answer>",
        "<think></think><answer>2 is what they want</answer>",
        f"<think>{'a' * 401}</think><answer>2</answer>",
    ],
)
def test_what_is_no_choice_is_none(text: str) -> None:
    with pytest.raises(Unparseable):
        Form(4).chosen(text)


@pytest.mark.parametrize("answer", ["", "yes no", "yes,no", "Yes", "enjoys", "not yes", "1", "yes</answer><answer>no"])
def test_what_is_no_yes_and_no_no_is_neither(answer: str) -> None:
    with pytest.raises(Unparseable):
        Form().liked(f"<think></think><answer>{answer}</answer>")


def test_of_an_order_no_number_comes_twice() -> None:
    with pytest.raises(Unparseable, match="3 different numbers of 1 to 4"):
        Form(4, 3).chosen("<think></think><answer>1,2,1</answer>")


def test_more_places_than_candidates_are_no_form() -> None:
    with pytest.raises(ValueError, match="1 to 4 places"):
        Form(4, 5)
