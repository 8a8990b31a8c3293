"""The agent learns, with a model so small that it takes seconds: what the gate sees, what is left out, what a kill leaves."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.learning import agent, answering, grpo
from models.learning.gate import TooLittle
from models.learning.questions import FromLog
from models.learning.tuning import Prompts, examples, model_of
from models.settings import TuningSettings
from models.viewers import policy
from models.viewers.questions import Logged, Question
from tests.models.tiny_model import NOW, questions, settings


def logged(asked: Sequence[Question]) -> list[Logged]:
    """Each candidate was as likely to be shown, and earned what it was worth."""
    made = []
    for number, question in enumerate(asked):
        row = question.videos.index(("cats", "news", "cars")[number % 3])
        made.append(Logged(replace(question, wanted=row), (1 / 3, 1 / 3, 1 / 3), question.gains[row]))
    return made


def learned(base: Path, run: Path, tuning: TuningSettings, asked: Sequence[Question], running: Path | None = None):  # type: ignore[no-untyped-def]
    steps: list[tuple[str, int, int, dict[str, float]]] = []
    made = agent.learn(
        FromLog(list(asked), logged(asked)), tuning, base=base, base_name="tiny", run=run, running=running, thought=0, seed=0,
        told=lambda *told: steps.append(told),
    )  # fmt: skip
    return made, steps


@pytest.fixture(scope="module")
def turn(base: Path, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    run = tmp_path_factory.mktemp("run") / "now"
    return *learned(base, run, settings(), questions(320)), run


def test_it_learns_what_viewers_want_and_passes_the_gate(turn) -> None:  # type: ignore[no-untyped-def]
    made, _, _ = turn
    assert made.verdict.passed, made.verdict.reason
    figures = made.verdict.figures
    assert figures["choice_no_agent"] == 0.0
    assert figures["choice_base"] < figures["choice_sft"] <= figures["choice_grpo"] == 1.0
    # Of what was left to chance, a third was worth 1, a third 0 and a third -.5.
    assert figures["snips_no_agent"] == pytest.approx(1 / 6, abs=0.02)
    assert figures["snips"] > figures["snips_no_agent"] + 0.1
    assert 15 < figures["snips_ess"] < 60


def test_a_release_tells_what_it_is_and_where_it_helps(turn, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    made, _, _ = turn
    assert set(made.files) == {policy.MANIFEST, policy.WEIGHTS, policy.CONFIG}
    for name, content in made.files.items():
        (tmp_path / name).write_bytes(content)
    told = policy.read(tmp_path, base_model="tiny", most_rank=4)
    assert (told.rank, told.questions) == (4, 256)
    assert told.learned_from < told.learned_until < NOW + 256_000
    # Who is judged by has 16 to 29 videos, or 0 to 15: 64 questions, 30 or more of them where 6 to 20 are known.
    assert told.helps(10)
    assert not told.helps(60)


def test_its_curves_are_written_step_by_step(turn) -> None:  # type: ignore[no-untyped-def]
    _, steps, run = turn
    lines = [json.loads(line) for line in (run / "curves.jsonl").read_text().splitlines()]
    of_grpo = [line for line in lines if line["stage"] == "grpo" and "kl" in line]
    assert [line["step"] for line in of_grpo] == [1, 2, 3]
    assert {"reward", "rewards/accuracy", "rewards/form", "kl", "completion_length", "dropped_share"} <= set(of_grpo[0])
    held_out = [(line["stage"], line["step"], line["held_out"]) for line in lines if "held_out" in line]
    assert held_out[0][:2] == ("sft", 0)
    assert held_out[-1] == ("grpo", 3, 1.0)
    assert [(stage, step, of) for stage, step, of, figures in steps if "kl" in figures][-1] == ("grpo", 3, 3)


def test_the_same_seed_learns_the_same_and_a_run_that_was_ended_goes_on(base: Path, turn, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    made, _, _ = turn

    class Killed(Exception):
        pass

    def dies(stage: str, step: int, steps: int, figures: dict[str, float]) -> None:
        if (stage, step) == ("grpo", 3):
            raise Killed

    with pytest.raises(Killed):
        agent.learn(
            FromLog(questions(320), logged(questions(320))),
            settings(),
            base=base,
            base_name="tiny",
            run=tmp_path / "now",
            running=None,
            thought=0,
            seed=0,
            told=dies,
        )
    again, steps = learned(base, tmp_path / "now", settings(), questions(320))
    assert next(step for stage, step, _, told in steps if stage == "grpo" and "kl" in told) == 3
    assert again.files[policy.WEIGHTS] == made.files[policy.WEIGHTS]


def test_other_viewers_to_be_judged_by_begin_anew(base: Path, turn, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    _, _, run = turn
    shutil.copytree(run, tmp_path / "now")
    others = [*questions(320)[:-64], *(replace(question, user_id="other") for question in questions(320)[-64:])]
    _, steps = learned(base, tmp_path / "now", settings(), others)
    assert next(step for stage, step, _, told in steps if stage == "sft" and "loss" in told) == 1


def test_other_settings_begin_anew(base: Path, turn) -> None:  # type: ignore[no-untyped-def]
    _, _, run = turn
    _, steps = learned(base, run, settings(steps=1, epochs=0.1), questions(320))
    assert next(step for stage, step, _, told in steps if stage == "sft" and "loss" in told) == 1


def test_of_each_stage_an_adapter_can_be_kept(base: Path, tmp_path: Path) -> None:
    def weights(questions: Sequence[Question]) -> dict[str, bytes]:
        # Where SFT has left nothing to learn, GRPO learns nothing.
        folders = agent.taught(questions, settings(sft_rate=1e-5), base=base, run=tmp_path / "now", thought=0, seed=0)
        return {stage: (folder / policy.WEIGHTS).read_bytes() for stage, folder in folders.items()}

    made = weights(questions(64))
    assert list(made) == ["sft", "grpo"]
    assert made["sft"] != made["grpo"]
    assert weights(questions(64)) == made
    assert weights(questions(80)) != made


def test_too_few_questions_are_said_to_be(base: Path, tmp_path: Path) -> None:
    with pytest.raises(TooLittle, match="expected 50 or more to judge by"):
        learned(base, tmp_path / "now", settings(), questions(100))


def test_a_group_whose_answers_are_all_worth_the_same_teaches_nothing_and_is_counted(base: Path, tmp_path: Path) -> None:
    model, tokenizer = model_of(base)
    prompts = Prompts(tokenizer, thought=0)
    figures: list[dict[str, float]] = []
    asked = examples(questions(40), prompts, choices=0.0, seed=0)

    def content(completions: Sequence[str], **_: object) -> list[float]:
        return [1.0] * len(completions)

    tuned = grpo.tune(
        model, tokenizer, asked, {"content": (content, 1.0)}, settings(steps=6, kl=0.0), tmp_path, seed=0,
        told=lambda stage, step, steps, told: figures.append(told),
    )  # fmt: skip
    # After three steps of nothing it is over.
    assert [told["dropped_share"] for told in figures if "dropped_share" in told] == [1.0, 1.0, 1.0]
    assert all(float(weights.abs().sum()) == 0.0 for name, weights in tuned.named_parameters() if "lora_B" in name)


def test_a_step_of_fewer_questions_than_it_may_have_is_made(base: Path, tmp_path: Path) -> None:
    model, tokenizer = model_of(base)
    prompts = Prompts(tokenizer, thought=0)
    (question,) = questions(1)
    steps: list[int] = []
    grpo.tune(
        model, tokenizer, [[prompts.choice(question)]], {"content": (lambda said, **_: [0.0] * len(said), 1.0)},
        settings(batch=8, steps=2), tmp_path, seed=0, told=lambda stage, step, *_: steps.append(step),
    )  # fmt: skip
    assert steps[:2] == [1, 2]


@pytest.mark.parametrize("loss", ["grpo", "dr_grpo", "dapo", "gspo"])
def test_every_form_of_grpo_leads_to_what_is_rewarded(base: Path, tmp_path: Path, loss: str) -> None:
    model, tokenizer = model_of(base)
    prompts = Prompts(tokenizer, thought=0)
    held = questions(8, seed=1)
    before = answering.judged(model, tokenizer, held, prompts)
    asked = [[prompts.judgement(question, question.wanted)] for question in questions(64)]

    def says_yes(completions: Sequence[str], **_: object) -> list[float]:
        return [float("yes" in completion) for completion in completions]

    tuned = grpo.tune(
        model, tokenizer, asked, {"says_yes": (says_yes, 1.0)}, settings(loss=loss, steps=10, kl=0.0, group=16, grpo_rate=1e-2),
        tmp_path, seed=0, told=lambda *_: None,
    )  # fmt: skip
    after = answering.judged(tuned, tokenizer, held, prompts)
    assert np.concatenate(after).mean() > np.concatenate(before).mean()


def test_candidates_are_judged_as_with_a_prompt_of_their_own(base: Path) -> None:
    model, tokenizer = model_of(base)
    prompts = Prompts(tokenizer, thought=0)
    # In bfloat16, which some processors learn in, sums depend on their order.
    model = model.float()
    question = questions(1)[0]
    (together,) = answering.judged(model, tokenizer, [question], prompts)
    for row, chance in enumerate(together):
        tokens = tokenizer(prompts.judgement(question, row).prompt, return_tensors="pt")["input_ids"]
        logits = model(input_ids=tokens).logits[0, -1]
        yes, no = (logits[tokenizer(word)["input_ids"][0]] for word in ("yes", "no"))
        assert chance == pytest.approx(float(torch.sigmoid(yes - no)), abs=1e-5)
