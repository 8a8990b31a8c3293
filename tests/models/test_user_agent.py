"""The user simulation agent against a server that speaks the protocol: what it asks, and what it makes of answers."""

import json
from collections import Counter
from typing import Any

import pytest

from models.chat import ChatServer
from models.settings import AgentSettings
from models.viewers.agent import NotDecided, UserAgent
from tests.models.chat_server import Server, answer

VIEWER = "Likes most: cooking."


def agent(server: Server, counted: Counter[str] | None = None, **settings: Any) -> UserAgent:
    made = AgentSettings(url=server.url, model="small", **settings)
    chat = ChatServer(
        made.url, made.model, api_key="", breaker_failures=made.breaker_failures, breaker_reset_s=60, section="agent"
    )
    counts = counted if counted is not None else Counter()
    return UserAgent(chat, made, count=lambda name, by=1: counts.update({name: by}))


def judged_by(request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Like whatever is about cats, half as surely as not."""
    likes = "cats" in request["messages"][1]["content"]
    first = ("yes", {"yes": -0.2, "no": -1.7}) if likes else ("no", {"yes": -1.7, "no": -0.2})
    return answer(f"{first[0]}</answer>", first, ("</", {"</": 0.0}))


def test_a_video_is_judged_by_how_likely_the_first_token_of_the_answer_is(server: Server) -> None:
    server.answer = judged_by
    counted: Counter[str] = Counter()
    with agent(server, counted) as judge:
        probably = judge.judge(VIEWER, ['"cats"', '"news"', '"more cats"'])
    assert probably == pytest.approx([0.818, 0.182, 0.818], abs=1e-3)
    assert counted == {"agent/answered": 3, "agent_tokens/asked": 300, "agent_tokens/answered": 9}


def test_all_that_is_asked_about_one_viewer_begins_alike(server: Server) -> None:
    server.answer = judged_by
    with agent(server) as judge:
        judge.judge(VIEWER, ['"a"', '"b"'])
    first, second = (json.dumps(request["messages"][:2]) for request in server.requests)
    alike = next(at for at, (one, other) in enumerate(zip(first, second, strict=True)) if one != other)
    assert first[:alike].endswith('like this?\\n\\"')
    assert VIEWER in first[:alike]


def test_without_thought_the_server_goes_on_from_where_the_answer_begins(server: Server) -> None:
    server.answer = judged_by
    with agent(server) as judge:
        judge.judge(VIEWER, ['"a"'])
    (request,) = server.requests
    assert request["messages"][-1] == {"role": "assistant", "content": "<think></think><answer>"}
    assert (request["continue_final_message"], request["add_generation_prompt"]) == (True, False)
    assert request["structured_outputs"] == {"regex": "(yes|no)</answer>"}


def test_with_thought_the_answers_token_is_found_after_it(server: Server) -> None:
    sure = {"yes": -0.1, "no": -2.4}
    thought = [
        ("<think>", {"<think>": 0.0}),
        ("no", {"no": -0.1, "yes": -9.0}),
        ("</think><answer>", {"</think><answer>": 0.0}),
    ]
    server.answer = lambda request: answer("<think>no</think><answer>yes</answer>", *thought, ("yes", sure))
    with agent(server, thought=100) as judge:
        assert judge.judge(VIEWER, ['"a"']) == pytest.approx([1 / (1 + 2.718281828**-2.3)])
    assert server.requests[0]["structured_outputs"]["regex"].startswith("<think>[^<>]{0,100}</think>")


def test_a_choice_is_a_row_of_the_videos(server: Server) -> None:
    server.answer = lambda request: answer("3</answer>")
    with agent(server) as chooser:
        assert chooser.choose(VIEWER, ['"a"', '"b"', '"c"', '"d"']) == (2,)
    assert '3. "c"' in server.requests[0]["messages"][1]["content"]


def test_a_ranking_is_by_what_is_judged_and_keeps_ties_as_they_were(server: Server) -> None:
    server.answer = judged_by
    with agent(server) as ranker:
        assert [row for row, _ in ranker.rank(VIEWER, ['"news"', '"cats"', '"sports"', '"old cats"'])] == [1, 3, 0, 2]


@pytest.mark.parametrize(
    ("answered", "counter"),
    [
        ((500, {}), "agent/unanswered"),
        ((200, {"choices": []}), "agent/unanswered"),
        (answer("maybe</answer>"), "agent/unparseable"),
        (answer("yes"), "agent/unparseable"),
        (answer("yes</answer>"), "agent/unparseable"),
    ],
)
def test_what_is_no_answer_is_no_decision_and_is_counted(
    server: Server, answered: tuple[int, dict[str, Any]], counter: str
) -> None:
    server.answer = lambda request: answered
    counted: Counter[str] = Counter()
    with agent(server, counted) as judge, pytest.raises(NotDecided):
        judge.judge(VIEWER, ['"a"'])
    assert counted[counter] == 1
    assert not counted["agent/answered"]


def test_a_slow_server_is_waited_for_no_longer_than_allowed(server: Server) -> None:
    server.answer = judged_by
    with agent(server, timeout_s=0.001) as judge, pytest.raises(NotDecided):
        judge.judge(VIEWER, ['"a"'])
