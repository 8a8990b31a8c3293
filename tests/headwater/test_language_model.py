"""A language model for a command: what is said where there is none, adapters that come and go, and each form of it judged."""

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console

from deploy.local.binaries import BinaryMissing
from headwater.deciding import judged_agents
from headwater.language_model import adapter_of, expected, language_model_of
from headwater.settings import BadSettings, Settings
from headwater.viewer_questions import Questions
from models.ranking.evaluation.baselines.popular import Popular
from models.ranking.evaluation.leave_one_out import split
from models.viewers import policy
from models.viewers.evaluation.asked import asked, moments
from models.viewers.evaluation.protocol import Words
from models.viewers.policy import BadPolicy, Calibration, Policy
from tests.models.test_user_agent import answer
from tests.models.test_viewer_questions import ended, find, pasts

QUIET = Console(quiet=True)


class Server:
    """Serves the model "small", and keeps what adapters it was told of; one named "bad" it refuses.

    It likes everything, the adapter more surely, and chooses the first of any.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.chats: list[Any] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(200, {"data": [{"id": "small"}]} if self.path == "/v1/models" else {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/v1/chat/completions":
                    outer.chats.append(body)
                    self._say(*said(body))
                    return
                outer.asked.append((self.path, body))
                self._say(400 if body["lora_name"] == "bad" else 200, {"said": "no adapter of this rank"})

            def _say(self, status: int, body: Any) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *args: Any) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"


def said(request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return a choice of the first, or a yes, after a thought where one is wanted."""
    first = "<think>so</think><answer>" if request["structured_outputs"]["regex"].startswith("<think>") else ""
    if "Which one" in request["messages"][1]["content"]:
        return answer(f"{first}1</answer>")
    yes = {"yes": -0.1, "no": -1.1 if request["model"] == "small" else -4.1}
    return answer(f"{first}yes</answer>", *([(first, {first: 0.0})] if first else []), ("yes", yes))


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def settings_of(url: str, model: str = "small", **stack: Any) -> Settings:
    return Settings.model_validate({"agent": {"url": url, "model": model}, "stack": stack})


def adapter(folder: Path, **told: Any) -> Path:
    """Write what a release of the agent has, but for its weights."""
    (folder / policy.CONFIG).write_text("{}")
    (folder / policy.MANIFEST).write_bytes(msgspec.json.encode(Policy(base_model="small", rank=8, **told)))
    return folder


def test_without_a_language_model_it_is_said_what_to_do() -> None:
    with pytest.raises(BadSettings, match=r"agent\.url is empty.*`make llm`.*agent\.url = \"local\".*--without-agent"):
        expected(settings_of(""))


def test_one_that_is_not_installed_is_said_to_be_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(BinaryMissing, match="run `make llm`"):
        expected(settings_of("local", vllm_env=tmp_path))


def test_a_server_that_runs_is_taken_and_one_that_is_away_or_has_another_model_is_named(server: Server) -> None:
    with language_model_of(settings_of(server.url), QUIET) as agent:
        assert (agent.url, agent.model) == (server.url, "small")
    with (
        pytest.raises(ConnectionError, match=r"expected the model large \(agent\.model\), it serves small"),
        language_model_of(settings_of(server.url, "large"), QUIET),
    ):
        pass
    with (
        pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1/v1/models.*start the server \(agent\.url\)"),
        language_model_of(settings_of("http://127.0.0.1:1"), QUIET),
    ):
        pass


def test_an_adapter_is_there_meanwhile_and_brings_its_calibration(server: Server, tmp_path: Path) -> None:
    folder = adapter(tmp_path, calibration=Calibration(0.5, 1.0))
    with adapter_of(settings_of(server.url).agent, "mine", folder) as calibrated:
        assert calibrated(4.0) == 4.0 * 0.5 + 1.0
        assert server.asked == [("/v1/load_lora_adapter", {"lora_name": "mine", "lora_path": str(folder)})]
    assert server.asked[1:] == [("/v1/unload_lora_adapter", {"lora_name": "mine"})]


def test_an_adapter_without_a_manifest_is_as_sure_as_it_says(server: Server, tmp_path: Path) -> None:
    (tmp_path / policy.CONFIG).write_text("{}")
    with adapter_of(settings_of(server.url).agent, "mine", tmp_path) as calibrated:
        assert calibrated(2.0) == 2.0


def test_what_is_no_adapter_or_of_another_model_or_refused_is_named(server: Server, tmp_path: Path) -> None:
    agent = settings_of(server.url).agent
    with (
        pytest.raises(BadPolicy, match=r"expected an adapter, a folder with adapter_config\.json"),
        adapter_of(agent, "mine", tmp_path),
    ):
        pass
    adapter(tmp_path)
    other = agent.model_copy(update={"model": "large"})
    with pytest.raises(BadPolicy, match="expected an adapter of large"), adapter_of(other, "mine", tmp_path):
        pass
    with pytest.raises(ConnectionError, match="no adapter of this rank"), adapter_of(agent, "bad", tmp_path):
        pass
    assert server.asked == [("/v1/load_lora_adapter", {"lora_name": "bad", "lora_path": str(tmp_path)})]


def test_each_form_of_the_agent_is_judged_by_its_own_name(server: Server, tmp_path: Path) -> None:
    log = ended(pasts(40), 0, last=2)
    cut = split(log)
    popular = Popular()
    popular.fit(cut.train, cut.validation)
    validation, test = (asked(of, log, popular, find, seed=0)[:8] for of in moments(log, cut))
    both = {Words.PERCEIVED: test, Words.TITLES: test}
    questions = Questions("data", log, cut, both, dict.fromkeys(both, validation), (), {})
    results, counts = judged_agents(
        questions, settings_of(server.url), QUIET, thoughts=[0, 40], adapters={"mine": adapter(tmp_path)}, within_s=60
    )
    names = [each.name for each in results]
    assert names == [
        f"{name}, thought {thought}, {words}" for name in ("base", "mine") for thought in (0, 40) for words in both
    ]
    assert set(counts) == set(names)
    # Of each form 8 questions to judge by, of four parts, and 8 to learn from, of two.
    assert {counts[name]["answered"] for name in names} == {8 * 4 + 8 * 2}
    assert {request["model"] for request in server.chats} == {"small", "mine"}
    assert all((each.decided == 1).all() for each in results)
    assert results[0].likes == pytest.approx(1 / (1 + math.exp(-1.0)))
    assert results[-1].likes == pytest.approx(1 / (1 + math.exp(-4.0)))
    assert results[0].right[4].mean() == pytest.approx(np.mean([each.question.cut(4).wanted == 0 for each in test]))
    assert [path for path, _ in server.asked] == ["/v1/load_lora_adapter", "/v1/unload_lora_adapter"]
