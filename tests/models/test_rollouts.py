"""Answers to learn from come from a server: what it is asked, what comes back, and what its failures leave."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator
from safetensors.numpy import load_file

from models.learning import answering, grpo
from models.learning.rollouts import Rollouts, sampled_by
from models.learning.tuning import Asked, Prompts, SamplingServer, adapter, model_of
from models.viewers import policy
from tests.models.chat_server import Server, sampled
from tests.models.tiny_model import questions, settings

Complete = Callable[[dict[str, Any]], tuple[int, Any]]
EACH = 4


@pytest.fixture(scope="module")
def learner(base: Path) -> SimpleNamespace:
    """What a rollout function uses of TRL's trainer, with a model that learns."""
    from peft import get_peft_model

    model, tokenizer = model_of(base)
    return SimpleNamespace(
        model=get_peft_model(model, adapter(settings(), layers=2)),
        accelerator=Accelerator(cpu=True),
        processing_class=tokenizer,
        num_generations=EACH,
        temperature=1.0,
        max_completion_length=12,
        eos_token_ids=[tokenizer.eos_token_id],
        state=SimpleNamespace(global_step=6),
    )


@pytest.fixture
def asked(learner: SimpleNamespace) -> list[Asked]:
    prompts = Prompts(learner.processing_class, thought=0)
    (question,) = questions(1)
    return [prompts.judgement(question, 0), prompts.judgement(question, 1), prompts.choice(question)]


@pytest.fixture
def rollouts(server: Server, asked: list[Asked], tmp_path: Path) -> Iterator[Rollouts]:
    with sampled_by(patience(server), asked, tmp_path / "rollouts") as rollouts:
        yield rollouts


def patience(server: Server, **changes: Any) -> SamplingServer:
    return SamplingServer(server.url, **{"attempts": 3, "first_pause_s": 0.001, "within_s": 10.0} | changes)


def prompts_of(asked: Sequence[Asked]) -> list[str]:
    return [each.prompt for each in asked for _ in range(EACH)]


def yes_and_no(tokenizer: Any) -> Complete:
    """Return what says yes as often as no, in form, whatever the model would say."""
    said = [tokenizer(f"{word}</answer>", add_special_tokens=False)["input_ids"] for word in ("yes", "no")]

    def complete(request: dict[str, Any]) -> tuple[int, Any]:
        answers = [[*tokens, tokenizer.eos_token_id] for tokens in itertools.islice(itertools.cycle(said), request["n"])]
        return sampled(*((tokens, [-0.7, *[0.0] * (len(tokens) - 1)]) for tokens in answers))

    return complete


def in_turn(*answers: Complete) -> Complete:
    """Return what answers as the first of these, then as the second, and as the last from there on."""
    turns = itertools.chain(answers, itertools.repeat(answers[-1]))
    return lambda request: next(turns)(request)


def fails(request: dict[str, Any]) -> tuple[int, Any]:
    return 503, {"error": {"message": "busy"}}


def test_each_prompt_is_asked_once_for_all_its_answers_held_to_its_form(
    server: Server, rollouts: Rollouts, learner: SimpleNamespace, asked: list[Asked]
) -> None:
    server.complete = yes_and_no(learner.processing_class)
    rollouts(prompts_of(asked), learner)
    (name,) = server.adapters
    requests = {tuple(request["prompt"]): request for request in server.completions}
    assert len(server.completions) == len(requests) == 3
    for each in asked:
        request = requests[tuple(learner.processing_class(each.prompt, add_special_tokens=False)["input_ids"])]
        assert request["structured_outputs"] == {"regex": each.form.rest}
        assert (request["model"], request["n"], request["max_tokens"]) == (name, EACH, 12)
        # Nothing of what a model's folder recommends.
        assert (request["temperature"], request["top_p"], request["top_k"], request["repetition_penalty"]) == (1.0, 1.0, 0, 1.0)


def test_a_thought_is_part_of_the_form(server: Server, learner: SimpleNamespace, tmp_path: Path) -> None:
    server.complete = yes_and_no(learner.processing_class)
    each = Prompts(learner.processing_class, thought=40).judgement(questions(1)[0], 0)
    with sampled_by(patience(server), [each], tmp_path / "rollouts") as rollouts:
        rollouts(prompts_of([each]), learner)
    assert server.completions[0]["structured_outputs"] == {"regex": each.form.pattern}


def test_tokens_and_chances_come_back_as_they_were_sampled(
    server: Server, rollouts: Rollouts, learner: SimpleNamespace, asked: list[Asked]
) -> None:
    def complete(request: dict[str, Any]) -> tuple[int, Any]:
        first = sum(request["prompt"])
        return sampled(*(([first + row, 7, 2], [-0.1 * row - 0.1, -0.5, 0.0]) for row in range(EACH)))

    server.complete = complete
    made = rollouts(prompts_of(asked), learner)
    wanted = [learner.processing_class(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts_of(asked)]
    assert made["prompt_ids"] == wanted
    assert made["completion_ids"] == [[sum(prompt) + row % EACH, 7, 2] for row, prompt in enumerate(wanted)]
    assert made["logprobs"] == [[pytest.approx(-0.1 * (row % EACH) - 0.1), -0.5, 0.0] for row in range(3 * EACH)]


def test_what_the_form_left_no_choice_of_is_not_learned_from(
    server: Server, rollouts: Rollouts, learner: SimpleNamespace, asked: list[Asked]
) -> None:
    server.complete = lambda request: sampled(*[([9, 7, 2], [-0.7, 0.0, 0.0])] * EACH)
    assert rollouts(prompts_of(asked), learner)["env_mask"] == [[1, 0, 0]] * 3 * EACH


def test_an_answer_ends_with_its_end_unless_it_was_cut_off(
    server: Server, rollouts: Rollouts, learner: SimpleNamespace, asked: list[Asked]
) -> None:
    end = learner.processing_class.eos_token_id
    server.complete = lambda request: sampled(*[([9, 7], [-0.7, -0.1])] * EACH)
    made = rollouts(prompts_of(asked), learner)
    assert (made["completion_ids"][0], made["logprobs"][0]) == ([9, 7, end], [-0.7, -0.1, 0.0])
    server.complete = lambda request: sampled(*[([9, 7], [-0.7, -0.1])] * EACH, finish="length")
    assert rollouts(prompts_of(asked), learner)["completion_ids"][0] == [9, 7]


def test_each_step_has_an_adapter_of_its_own_and_the_one_before_leaves(
    server: Server, rollouts: Rollouts, learner: SimpleNamespace, asked: list[Asked], tmp_path: Path
) -> None:
    server.complete = yes_and_no(learner.processing_class)
    for _ in range(3):
        rollouts(prompts_of(asked), learner)
    loaded = [name for what, name in server.changes if what == "load"]
    assert len(set(loaded)) == 3
    assert list(server.adapters) == loaded[-1:]
    assert [folder.name for folder in (tmp_path / "rollouts").iterdir()] == loaded[-1:]
    # Loaded before the one in its place leaves: requests under way are answered.
    assert [what for what, _ in server.changes] == ["load", "load", "unload", "load", "unload"]


def test_what_a_killed_run_left_on_the_server_leaves(
    server: Server, rollouts: Rollouts, learner: SimpleNamespace, asked: list[Asked], tmp_path: Path
) -> None:
    server.complete = yes_and_no(learner.processing_class)
    (tmp_path / "rollouts" / "rollouts-0").mkdir(parents=True)
    server.adapters["rollouts-0"] = "somewhere"
    rollouts(prompts_of(asked), learner)
    assert "rollouts-0" not in server.adapters
    assert not (tmp_path / "rollouts" / "rollouts-0").exists()


def test_a_server_that_fails_twice_is_asked_again_for_all(
    server: Server, rollouts: Rollouts, learner: SimpleNamespace, asked: list[Asked]
) -> None:
    answers = yes_and_no(learner.processing_class)
    server.complete = in_turn(fails, answers, answers, answers, answers, fails, answers)
    made = rollouts(prompts_of(asked), learner)
    assert len(server.completions) == 9
    assert len({request["model"] for request in server.completions}) == 3
    assert len(made["completion_ids"]) == 3 * EACH


def test_a_server_that_was_started_again_is_given_the_adapter_again(
    server: Server, rollouts: Rollouts, learner: SimpleNamespace, asked: list[Asked]
) -> None:
    def forgets(request: dict[str, Any]) -> tuple[int, Any]:
        server.adapters.clear()
        return fails(request)

    server.complete = in_turn(forgets, yes_and_no(learner.processing_class))
    assert len(rollouts(prompts_of(asked), learner)["completion_ids"]) == 3 * EACH


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (fails, "503 for rollouts-"),
        (lambda request: sampled(([9, 2], [-0.7, 0.0])), "expected 4 answers, got 1"),
        (lambda request: sampled(*[([9, 2], [-0.7])] * EACH), "expected a log-probability of each token"),
        (lambda request: (200, {"choices": [{"text": "yes", "finish_reason": "stop"}]}), "token_ids"),
        (lambda request: sampled(*[([9], [-0.7])] * EACH, finish="abort"), "abort"),
    ],
)
def test_a_server_that_fails_for_good_ends_learning_with_what_to_do(
    server: Server, learner: SimpleNamespace, asked: list[Asked], tmp_path: Path, answers: Complete, why: str
) -> None:
    server.complete = answers
    with (
        pytest.raises(ConnectionError, match=rf"before step 7: .*agent\.url.*failed 3 times.*{why}.*tuning\.rollouts"),
        sampled_by(patience(server), asked, tmp_path / "rollouts") as rollouts,
    ):
        rollouts(prompts_of(asked), learner)
    assert not server.adapters
    assert not list((tmp_path / "rollouts").iterdir())


def test_a_server_that_refuses_the_adapter_is_quoted(
    server: Server, rollouts: Rollouts, learner: SimpleNamespace, asked: list[Asked]
) -> None:
    server.refuses = "LoRA rank 64 is greater than max_lora_rank 16"
    with pytest.raises(ConnectionError, match="LoRA rank 64 is greater"):
        rollouts(prompts_of(asked), learner)
    assert not server.completions


def test_a_server_that_sends_a_byte_now_and_then_is_too_slow(
    server: Server, learner: SimpleNamespace, asked: list[Asked], tmp_path: Path
) -> None:
    def slowly(request: dict[str, Any]) -> tuple[int, Any]:
        server.drip_s = 0.02
        return yes_and_no(learner.processing_class)(request)

    server.complete = slowly
    with sampled_by(patience(server, attempts=1, within_s=0.3), asked, tmp_path / "rollouts") as rollouts:
        with pytest.raises(ConnectionError, match="not complete in time"):
            rollouts(prompts_of(asked), learner)
        server.drip_s = 0.0


def test_a_server_that_is_away_ends_learning(learner: SimpleNamespace, asked: list[Asked], tmp_path: Path) -> None:
    gone = Server()
    gone.close()
    with (
        pytest.raises(ConnectionError, match="ConnectError"),
        sampled_by(patience(gone), asked, tmp_path / "rollouts") as rollouts,
    ):
        rollouts(prompts_of(asked), learner)


class Learning:
    """A model that is rewarded for saying yes, to what a server says."""

    def __init__(self, base: Path, server: Server) -> None:
        self.model, self.tokenizer = model_of(base)
        self.prompts = Prompts(self.tokenizer, thought=0)
        self.server = server
        self.rewarded: list[str] = []
        self.steps: list[int] = []

    def says_yes(self, completions: Sequence[str], **_: object) -> list[float]:
        self.rewarded += completions
        return [float("yes" in completion) for completion in completions]

    def tune(self, run: Path, **changes: object) -> Any:
        asked = [[self.prompts.judgement(question, question.wanted)] for question in questions(64)]
        return grpo.tune(
            self.model, self.tokenizer, asked, {"says_yes": (self.says_yes, 1.0)}, settings(kl=0.0, grpo_rate=1e-2, **changes),
            run, seed=0, told=lambda stage, step, *_: self.steps.append(step), server=patience(self.server),
        )  # fmt: skip

    def likes(self, model: Any) -> float:
        return float(np.concatenate(answering.judged(model, self.tokenizer, questions(8, seed=1), self.prompts)).mean())


@pytest.mark.parametrize("loss", ["grpo", "dr_grpo", "dapo", "gspo"])
def test_it_learns_from_what_a_server_says_by_what_it_learned(base: Path, server: Server, tmp_path: Path, loss: str) -> None:
    learning = Learning(base, server)
    learned: dict[str, float] = {}
    answers = yes_and_no(learning.tokenizer)

    def complete(request: dict[str, Any]) -> tuple[int, Any]:
        weights = load_file(Path(server.adapters[request["model"]]) / policy.WEIGHTS)
        learned[request["model"]] = sum(float(np.abs(each).sum()) for name, each in weights.items() if "lora_B" in name)
        return answers(request)

    server.complete = complete
    before = learning.likes(learning.model)
    tuned = learning.tune(tmp_path, steps=8, loss=loss)
    assert learning.likes(tuned) > before
    # Nothing at first, nor by the first step, whose rate is 0; and another adapter in each step from then on.
    assert len(learned) == 8
    assert list(learned.values())[:2] == [0.0, 0.0]
    assert len(set(learned.values())) == 7
    assert {text.replace(" ", "") for text in learning.rewarded} == {
        f"<think></think><answer>{word}</answer>" for word in ("yes", "no")
    }
    assert not server.adapters
    assert not list((tmp_path / "rollouts").iterdir())


def test_what_was_learned_before_the_server_failed_stays(base: Path, server: Server, tmp_path: Path) -> None:
    learning = Learning(base, server)
    answers = yes_and_no(learning.tokenizer)
    # Four prompts in each of two steps.
    server.complete = in_turn(*[answers] * 8, fails)
    with pytest.raises(ConnectionError, match="before step 3: "):
        learning.tune(tmp_path, steps=4, save_steps=1)
    assert not server.adapters
    again = Learning(base, server)
    server.complete = answers
    again.tune(tmp_path, steps=4, save_steps=1)
    assert again.steps[0] == 3
