"""Deciders judged: figures against those computed by hand, what is not decided, and the agent against a server."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.chat import ChatServer
from models.ranking.evaluation.baselines.popular import Popular
from models.ranking.evaluation.drawn_again import Floats
from models.ranking.evaluation.leave_one_out import split
from models.retrieval.log import Rows
from models.settings import AgentSettings
from models.viewers.agent import UserAgent
from models.viewers.evaluation import report
from models.viewers.evaluation.agents import Agent
from models.viewers.evaluation.asked import Asked, asked, moments
from models.viewers.evaluation.deciders import (
    INTERESTS,
    NONE,
    POPULAR,
    RECOMMENDER,
    REVERSED,
    Decider,
    Scored,
    compared,
    wordless,
)
from models.viewers.evaluation.judging import (
    ALL,
    CHANCE,
    COLD_VIDEO,
    Judged,
    Whose,
    chance,
    evaluate,
    likelier,
    threshold_of,
    thresholds_of,
)
from models.viewers.evaluation.protocol import Negatives
from models.viewers.questions import Question
from tests.models.test_understanding import Server
from tests.models.test_user_agent import answer
from tests.models.test_viewer_questions import ended, find, pasts


def question(number: int = 0, *, user: str | None = None, known: int = 3, cold: bool = False, wanted: int = 2) -> Question:
    ids = tuple(f"{number}-{row}" for row in range(11))
    return Question(
        user_id=user if user is not None else f"u{number}",
        viewer=f"viewer {number}",
        video_ids=ids,
        videos=tuple(f'"{name}"' for name in ids),
        wanted=wanted,
        gains=tuple(float(row == wanted) for row in range(11)),
        at=number,
        known=known,
        cold=cold,
    )


class Fixed:
    """Chooses by a rule, and is told how probable each pair is."""

    def __init__(self, name: str, choose: Callable[[Question], int], likes: Sequence[tuple[float, float]]) -> None:
        self.name = name
        self._choose = choose
        self._likes = np.array(likes, np.float64)
        self.asked = 0

    def choose(self, questions: Sequence[Question]) -> Rows:
        return np.array([self._choose(question) for question in questions], np.int64)

    def likes(self, questions: Sequence[Question]) -> Floats:
        self.asked += len(questions)
        return self._likes[self.asked - len(questions) : self.asked]


def values(judged: Judged) -> dict[str, float]:
    return {name: of.value for name, of in judged.figures().items()}


def test_who_is_always_right_is_at_one_in_all() -> None:
    (judged,) = evaluate([question(n) for n in range(5)], [Fixed("right", lambda q: q.wanted, [(0.9, 0.1)] * 5)])
    assert set(values(judged).values()) == {1.0}


def test_who_never_answers_is_wrong_everywhere_and_dropped_nowhere() -> None:
    (judged,) = evaluate([question(n) for n in range(5)], [Fixed("mute", lambda q: NONE, [(math.nan, math.nan)] * 5)])
    assert set(values(judged).values()) == {0.0}
    assert len(judged.likes) == 5


def test_what_was_not_decided_is_wrong_on_either_side() -> None:
    (judged,) = evaluate([question(0), question(1)], [Fixed("half", lambda q: q.wanted, [(math.nan, 0.1), (0.9, math.nan)])])
    figures = values(judged)
    assert (figures["yes_no"], figures["wanted_likelier"]) == (0.5, 0.0)
    # One hit, one miss, one false alarm.
    assert figures["yes_no_f1"] == 2 * 1 / (2 * 1 + 1 + 1)
    assert figures["decided"] == 0.75


def test_always_the_first_is_as_good_as_chance_where_places_tell_nothing() -> None:
    rng = np.random.default_rng(0)
    questions = [question(n).shuffled(rng) for n in range(800)]
    (judged,) = evaluate(questions, [Fixed("first", lambda q: 0, [(0.5, 0.5)] * 800)])
    assert abs(values(judged)["one_of_4"] - 0.25) < 5 * (0.25 * 0.75 / 800) ** 0.5


def test_figures_are_those_computed_by_hand() -> None:
    # Right of 4: the first two; of 5: none. Yes said rightly twice of three times, no once.
    questions = [question(n, user=f"u{n // 2}") for n in range(3)]
    likes = [(0.9, 0.8), (0.6, 0.7), (0.2, 0.1)]
    (judged,) = evaluate(
        questions, [Fixed("d", lambda q: q.wanted if len(q.videos) == 4 and q.at < 2 else NONE, likes)], thresholds={"d": 0.75}
    )
    figures = values(judged)
    assert figures["one_of_4"] == pytest.approx(2 / 3)
    assert figures["one_of_5"] == 0
    assert figures["yes_no"] == pytest.approx(3 / 6)
    assert figures["yes_no_f1"] == pytest.approx(2 * 2 / (2 * 2 + 2 + 1))
    # From .75 on: one hit, one false alarm, two misses.
    assert figures["yes_no_tuned"] == pytest.approx(3 / 6)
    assert figures["yes_no_tuned_f1"] == pytest.approx(2 * 1 / (2 * 1 + 1 + 2))
    assert figures["wanted_likelier"] == pytest.approx(2 / 3)
    assert figures["decided"] == pytest.approx((3 / 4 + 3 / 4 + 2 / 4) / 3)


def test_chance_is_exact() -> None:
    figures = chance([question(n) for n in range(3)]).figures()
    names = ("one_of_4", "one_of_5", "yes_no", "yes_no_f1", "wanted_likelier")
    assert [figures[name].value for name in names] == pytest.approx([0.25, 0.2, 0.5, 0.5, 0.5])
    assert figures["one_of_4"].low == figures["one_of_4"].high == 0.25


def test_intervals_are_over_viewers_and_differences_over_the_same_ones() -> None:
    rng = np.random.default_rng(0)
    questions = [question(n, user=f"u{n // 10}") for n in range(400)]
    good = set(rng.permutation(40)[:24].tolist())
    # A viewer is right in all ten or in none: 40 cases, not 400.
    (judged, same) = evaluate(
        questions, [Fixed(name, lambda q: q.wanted if q.at // 10 in good else NONE, [(0.9, 0.1)] * 400) for name in "ab"]
    )
    figure = judged.figures()["one_of_4"]
    half = 1.96 * (0.6 * 0.4 / 40) ** 0.5
    assert figure.value == pytest.approx(0.6)
    assert (figure.high - figure.low) / 2 == pytest.approx(half, rel=0.2)
    nothing = judged.over(same)["one_of_4"]
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    more = judged.over(chance(questions))["one_of_4"]
    assert more.value == pytest.approx(0.35)
    assert more.low > 0


def test_segments_are_by_what_is_known_and_by_new_videos() -> None:
    whose = Whose.of([question(n, known=known, cold=known > 20) for n, known in enumerate((0, 5, 6, 10, 11, 20, 21, 999))])
    counts = {name: int(among.sum()) for name, among in whose.segments().items()}
    assert counts == {ALL: 8, "known 0-5": 2, "known 6-10": 2, "known 11-20": 2, "known 21+": 2, COLD_VIDEO: 2}


def test_the_threshold_is_where_most_is_right_and_half_where_it_is_as_good() -> None:
    assert threshold_of(np.array([[0.9, 0.8], [0.95, 0.7]])) == pytest.approx(0.85)
    assert threshold_of(np.array([[0.9, 0.1]])) == 0.5
    assert threshold_of(np.empty((0, 2))) == 0.5
    learned = Fixed("d", lambda q: 0, [(0.3, 0.2), (0.4, math.nan)])
    assert thresholds_of([question(0), question(1)], [learned]) == {"d": pytest.approx(0.25)}


@given(st.lists(st.tuples(*[st.floats(0, 1) | st.just(math.nan)] * 2), min_size=1, max_size=20))
def test_no_figure_leaves_its_bounds_and_the_learned_threshold_is_no_worse(pairs: list[tuple[float, float]]) -> None:
    likes = np.array(pairs)
    judged = Judged(
        "d", Whose.of([question(n) for n in range(len(pairs))]), {}, likes, np.ones(len(pairs)), 0.0, threshold_of(likes)
    )
    figures = {name: over.sum() / under.sum() for name, (over, under) in judged.parts().items()}
    assert all(0 <= value <= 1 for value in figures.values())
    assert figures["yes_no_tuned"] >= figures["yes_no"] - 1e-9
    assert ((likelier(likes) >= 0) & (likelier(likes) <= 1)).all()


def asked_of(negatives: Negatives = Negatives.FIRST) -> tuple[list[Asked], list[Decider]]:
    """Return questions by counts of watches, and those who know no words."""
    log = ended(pasts(300), 0, last=2)
    cut = split(log)
    popular = Popular()
    popular.fit(cut.train, cut.validation)
    _, test = moments(log, cut)
    questions = asked(test, log, popular, find, seed=0, negatives=negatives)
    return questions, wordless(questions, cut.train, find)


def test_those_who_know_no_words_decide_by_what_they_know() -> None:
    questions, deciders = asked_of()
    by_name = {judged.name: judged for judged in evaluate([each.question for each in questions], deciders)}
    assert list(by_name) == [RECOMMENDER, REVERSED, POPULAR, INTERESTS]
    ours, round_ = (values(by_name[name]) for name in (RECOMMENDER, REVERSED))
    # The recommender here is popularity, in whose list the wanted one is anywhere: reversed, it is right most of the time.
    assert values(by_name[POPULAR])["wanted_likelier"] == pytest.approx(ours["wanted_likelier"], abs=0.1)
    assert ours["one_of_4"] < 0.25 < 0.4 < round_["one_of_4"]
    assert ours["wanted_likelier"] == pytest.approx(1 - round_["wanted_likelier"])
    assert all(judged.figures()["decided"].value == 1 for judged in by_name.values())


def test_interests_like_what_is_like_what_was_watched() -> None:
    questions, deciders = asked_of()
    (interests,) = (decider for decider in deciders if decider.name == INTERESTS)
    one = questions[0]
    assert one.viewer.interests is not None
    scores = [
        float((0.6 * one.viewer.interests.short + 0.4 * one.viewer.interests.long) @ find(v).embedding)
        for v in one.question.video_ids
    ]
    (row,), (likes,) = interests.choose([one.question]), interests.likes([one.question])
    assert row == int(np.argmax(scores))
    assert likes == pytest.approx([(1 + scores[at]) / 2 for at in compared(one.question)])


def test_equals_are_told_apart_by_places_which_tell_nothing() -> None:
    alike = Scored("alike", lambda question: np.zeros(len(question.videos)))
    rng = np.random.default_rng(1)
    (judged,) = evaluate([question(n).shuffled(rng) for n in range(800)], [alike])
    assert abs(values(judged)["one_of_5"] - 0.2) < 5 * (0.2 * 0.8 / 800) ** 0.5
    assert values(judged)["wanted_likelier"] == 0.5


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def agent_of(server: Server, counted: Counter[str], **options: Any) -> tuple[UserAgent, Agent]:
    settings = AgentSettings(url=server.url, model="small", breaker_failures=1_000)
    chat = ChatServer(settings.url, settings.model, api_key="", breaker_failures=1_000, breaker_reset_s=60, section="agent")

    def count(name: str, by: int = 1) -> None:
        counted[name] += by

    agent = UserAgent(chat, settings, count=count)
    return agent, Agent("agent", agent, together=1, count=count, **options)


def knows(request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Whatever ends with -2 is what viewers watch next, but nothing in form comes of viewer 3."""
    asked = request["messages"][1]["content"]
    if "viewer 3" in asked:
        return answer("both</answer>")
    if "Which one" in asked:
        listed = [line for line in asked.splitlines() if line[:1].isdigit()]
        right = next(at for at, line in enumerate(listed, 1) if '-2"' in line)
        return answer(f"{right}</answer>")
    odds = {"yes": -0.1, "no": -2.0} if '-2"' in asked else {"yes": -2.0, "no": -0.1}
    said = max(odds, key=lambda token: odds[token])
    return answer(f"{said}</answer>", (said, odds))


def test_an_agent_is_asked_of_everything_and_what_is_no_answer_counts(server: Server) -> None:
    server.answer = knows
    counted: Counter[str] = Counter()
    done: list[int] = []
    agent, decider = agent_of(server, counted, done=lambda: done.append(1))
    with agent:
        (judged,) = evaluate([question(n) for n in range(5)], [decider])
    figures = values(judged)
    assert {figures[name] for name in ("one_of_4", "one_of_5", "yes_no", "wanted_likelier", "decided")} == {0.8}
    assert (counted["agent/answered"], counted["agent/unparseable"], len(done)) == (16, 4, 20)


def test_calibration_makes_other_odds_of_an_agents(server: Server) -> None:
    server.answer = knows
    agent, decider = agent_of(server, Counter(), calibrated=lambda logit: 0.5 * logit + 1)
    with agent:
        ((wanted, other),) = decider.likes([question(0)])
    assert wanted == pytest.approx(1 / (1 + math.exp(-(0.5 * 1.9 + 1))))
    assert other == pytest.approx(1 / (1 + math.exp(-(0.5 * -1.9 + 1))))


def test_after_its_time_an_agent_is_asked_nothing_more(server: Server) -> None:
    server.answer = knows
    counted: Counter[str] = Counter()
    agent, decider = agent_of(server, counted, within_s=-1.0)
    with agent:
        (judged,) = evaluate([question(n) for n in range(3)], [decider])
    assert (counted, values(judged)["decided"]) == (Counter({"agent/not_asked": 12}), 0.0)
    assert not server.requests


def test_a_report_has_every_segment_and_the_page_every_decider(tmp_path: Path) -> None:
    questions = [question(n, known=3 + n % 30, cold=n % 3 == 0) for n in range(60)]
    right = Fixed("base <b>", lambda q: q.wanted if q.at % 2 else NONE, [(0.9, 0.1)] * 60)
    judged = [chance(questions), *evaluate(questions, [right])]
    rows = report.rows(judged, compared_with=[CHANCE, "nobody"], counts={"base <b>": {"answered": 7}})
    assert rows["base <b>"]["answered"] == 7
    assert rows["base <b>"]["segments"][ALL]["one_of_4"][0] == 0.5
    assert sum(rows[CHANCE]["segments"][f"known {span}"]["viewers"] for span in ("0-5", "6-10", "11-20", "21+")) == 60
    assert list(rows["base <b>"]["over"]) == [CHANCE]
    assert rows[CHANCE]["over"] == {}
    assert '"one_of_4": [0.5,' in json.dumps(rows["base <b>"])
    report.write(rows, tmp_path / "out" / "page.html", facts={"data": "<i>mine</i>"}, ours=["base <b>"])
    page = (tmp_path / "out" / "page.html").read_text()
    assert page.count('class="track') == 2 * len(report.TITLES)
    assert page.count("<polyline") == 2 * len(report.BY_KNOWN)
    assert "&lt;i&gt;mine" in page
    assert "base <b>" not in page
