import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.viewers.instructions import MOST, wishes

THINGS = st.lists(
    st.sampled_from(["cooking", "politics", "cats", "rock climbing", "magic tricks", "trains", "k-pop"]), unique=True
)
LESS = st.sampled_from(
    ["less ", "No ", "fewer ", "stop showing me ", "I'm not interested in ", "don't show me any ", "hide ", "too much "]
)
MORE = st.sampled_from(
    ["more ", "Show me ", "I want to see more ", "some ", "please show me some ", "only ", "give me a lot of ", ""]
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("less politics, more cooking", [("politics", -1.0), ("cooking", 1.0)]),
        ("cooking", [("cooking", 1.0)]),
        ("more cooking instead of politics", [("cooking", 1.0), ("politics", -1.0)]),
        ("No politics, news or sports", [("politics", -1.0), ("news", -1.0), ("sports", -1.0)]),
        ("no more dancing please", [("dancing", -1.0)]),
        ("stop showing me more politics", [("politics", -1.0)]),
        ("I’m not interested in crypto; more gardening videos", [("crypto", -1.0), ("gardening", 1.0)]),
        ("I don't want to see any prank videos but more music", [("prank", -1.0), ("music", 1.0)]),
        ("less politics more cooking", [("politics", -1.0), ("cooking", 1.0)]),
        ("dogs not cats", [("dogs", 1.0), ("cats", -1.0)]),
        ("more stop motion", [("stop motion", 1.0)]),
        ("notable showers of meteors", [("notable showers of meteors", 1.0)]),
        ("more R&B", [("r&b", 1.0)]),
        ("more cats. no, less cats", [("cats", -1.0)]),
    ],
)
def test_an_instruction_is_read_as_a_viewer_means_it(text: str, expected: list[tuple[str, float]]) -> None:
    assert wishes(text) == expected


@pytest.mark.parametrize("text", ["", "   ", "???", "more", "please", ",,;"])
def test_words_that_ask_for_nothing_are_no_wish(text: str) -> None:
    assert wishes(text) == []


@given(THINGS, st.data())
def test_clauses_with_cues_keep_their_order_and_sign(things: list[str], data: st.DataObject) -> None:
    wanted = [(thing, data.draw(st.sampled_from([-1.0, 1.0]))) for thing in things]
    clauses = [data.draw(MORE if weight > 0 else LESS) + thing for thing, weight in wanted]
    assert wishes("; ".join(clauses)) == wanted


@given(st.sampled_from([",", " and ", " or ", ", and "]), THINGS.filter(bool), LESS)
def test_a_list_is_less_of_all_that_is_in_it(between: str, things: list[str], cue: str) -> None:
    assert wishes(cue + between.join(things)) == [(thing, -1.0) for thing in things]


@given(st.text(max_size=500))
def test_any_text_gives_few_distinct_phrases_of_its_own_words(text: str) -> None:
    found = wishes(text)
    phrases = [phrase for phrase, _ in found]
    assert len(found) <= MOST
    assert len(set(phrases)) == len(phrases)
    for phrase, weight in found:
        assert weight in (-1.0, 1.0)
        assert phrase in text.replace("’", "'").casefold()
        assert any(character.isalnum() for character in phrase)


@given(
    st.lists(
        st.sampled_from(["more", "less", "no", "not", "and", "videos", "please", "stop", "showing", "cats", "of", ","]),
        max_size=80,
    )
)
def test_cues_in_any_order_never_fail(words: list[str]) -> None:
    wishes(" ".join(words))
