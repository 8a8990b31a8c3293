"""The user simulation agent, learned from the feedback log: SFT, then GRPO, and judged by the newest questions.

Two stages as in RecLLM-R1, a LoRA adapter as what is learned. It serves where it was measured to help, by how much is known of
a viewer, and nowhere else.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.learning import answering
from models.learning.curves import Curves
from models.learning.gate import LEAST_CASES, Learned, TooLittle, Verdict
from models.learning.gate import judged as verdict_on
from models.learning.questions import cut_by_time
from models.learning.rewards import composed
from models.learning.tuning import Prompts, Told, examples, model_of, nobody
from models.ranking.calibration import fitted
from models.settings import TuningSettings
from models.viewers import policy
from models.viewers.questions import Question

log = logging.getLogger(__name__)

NAME = policy.NAME
# Viewers by how many videos are known of them: a language model is known to win only where these are few.
SEGMENTS = ((0, 5), (6, 20), (21, 50), (51, 1_000_000))
# Questions, the newest learned from, by which odds are made honest.
CALIBRATED_BY = 50
# Questions of a segment from which on a difference in it is looked at.
LEAST_OF_SEGMENT = 30

Floats = NDArray[np.float64]
Done = Callable[[int], None]


@dataclass(frozen=True)
class Judged:
    """How one policy answered n questions: whether the choice was right, and the NDCG of the order it gives them, (n,) each."""

    right: Floats
    ndcg: Floats

    def figures(self, name: str) -> dict[str, float]:
        """Return the means, and of the choice half its interval of 95 %."""
        half = 1.96 * float(self.right.std()) / max(1, len(self.right)) ** 0.5
        means = {f"choice_{name}": float(self.right.mean()), f"ndcg_{name}": float(self.ndcg.mean())}
        return {name: round(value, 5) for name, value in (means | {f"choice_{name}_half": half}).items()}


def learn(
    questions: Sequence[Question],
    settings: TuningSettings,
    *,
    base: Path,
    base_name: str,
    run: Path,
    running: Path | None,
    thought: int,
    seed: int,
    apart: bool = False,
    told: Told = nobody,
    judging: Done = lambda prompts: None,
) -> Learned:
    """Tune an adapter of the model in `base`, known to servers as `base_name`, and judge it by the newest questions.

    `running` is the folder of the adapter that serves. What is being learned is in `run`, and goes on from there after a kill;
    `apart`: no viewer is judged by whom it learned from.

    Raises:
        TooLittle: there are too few questions to learn from or to judge by.
    """
    before, after = cut_by_time(questions, held_out=settings.held_out, apart=apart)
    train, held = before[-settings.questions :], after[-settings.judged :]
    if len(held) < LEAST_CASES or len(train) < settings.batch:
        raise TooLittle(
            f"{len(questions)} questions: expected {LEAST_CASES} or more to judge by and {settings.batch} to learn from, got "
            f"{len(held)} and {len(train)}; each takes a video that was wanted and {settings.candidates - 1} that were not"
        )
    _begin(run, train, settings, seed)
    curves = Curves(run)

    def tell(stage: str, step: int, steps: int, figures: dict[str, float]) -> None:
        curves.add(stage, step, figures)
        told(stage, step, steps, figures)

    made, by_stage = _tuned(train, held, settings, base, run, thought=thought, seed=seed, told=tell, judging=judging)
    if running is not None:
        by_stage["running"] = _served(running, held, base, thought=thought, judging=judging)
    by_stage["no_agent"] = by_order(held)
    manifest = _manifest(made, by_stage, held, train, base_name, settings)
    files = {policy.MANIFEST: msgspec.json.format(msgspec.json.encode(manifest))}
    files |= {name: (made.adapter / name).read_bytes() for name in (policy.WEIGHTS, policy.CONFIG)}
    return Learned(files, _verdict(by_stage, manifest.figures))


def by_order(questions: Sequence[Question]) -> Judged:
    """Return how well the page's own order answers, which the agent was not asked for: the first place is its choice."""
    return _judged([-np.asarray(question.columns["positions"], np.float64) for question in questions], questions)


@dataclass(frozen=True)
class _Made:
    adapter: Path
    calibration: policy.Calibration


def _begin(run: Path, train: Sequence[Question], settings: TuningSettings, seed: int) -> None:
    """Keep what a run that was ended left, if it learned from the same by the same settings; else begin anew."""
    told = json.dumps([seed, settings.model_dump(mode="json"), [(q.user_id, q.at, q.viewer, q.videos) for q in train]])
    digest = hashlib.sha256(told.encode()).hexdigest()
    mark = run / "of.sha256"
    if not (mark.is_file() and mark.read_text() == digest):
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        mark.write_text(digest)


def _tuned(
    train: Sequence[Question],
    held: Sequence[Question],
    settings: TuningSettings,
    base: Path,
    run: Path,
    *,
    thought: int,
    seed: int,
    told: Told,
    judging: Done,
) -> tuple[_Made, dict[str, Judged]]:
    from models.learning import grpo, sft

    model, tokenizer = model_of(base)
    prompts = Prompts(tokenizer, thought=thought)
    first, second = _split(train, settings)

    def measured(stage: str) -> Judged:
        # Of a run that goes on, what was measured before it was ended.
        kept = run / f"{stage}.npz"
        if not kept.is_file():
            judged = _judged(answering.judged(model, tokenizer, held, prompts, done=judging), held)
            np.savez(kept, right=judged.right, ndcg=judged.ndcg)
        with np.load(kept) as figures:
            return Judged(figures["right"], figures["ndcg"])

    by_stage = {"base": measured("base")}
    if first:
        asked = examples(first, prompts, choices=settings.choices, seed=seed)
        model = sft.tune(model, tokenizer, asked, settings, run, seed=seed, told=told)
        by_stage["sft"] = measured("sft")
    if second:
        asked = examples(second, prompts, choices=settings.choices, seed=seed + 1)
        model = grpo.tune(model, tokenizer, asked, composed(settings.rewards), settings, run, seed=seed, told=told)
        by_stage["grpo"] = measured("grpo")
    model.save_pretrained(run / "adapter", selected_adapters=["default"])
    return _Made(run / "adapter", _calibration(model, tokenizer, prompts, train, judging)), by_stage


def _split(train: Sequence[Question], settings: TuningSettings) -> tuple[Sequence[Question], Sequence[Question]]:
    """Return what SFT learns from, the oldest, and GRPO, the newest: what SFT knows by heart has nothing to explore."""
    share = settings.warm_start if settings.epochs and settings.steps else float(bool(settings.epochs))
    first = round(len(train) * share)
    return train[:first], train[first:]


def _calibration(model: Any, tokenizer: Any, prompts: Prompts, train: Sequence[Question], judging: Done) -> policy.Calibration:
    """Return what makes honest odds of the model's own, by the newest of what it learned from: as much yes as no."""
    pairs = [question.cut(2) for question in train[-CALIBRATED_BY:]]
    chances = np.clip(np.concatenate(answering.judged(model, tokenizer, pairs, prompts, done=judging)), 1e-6, 1 - 1e-6)
    liked = np.concatenate([np.arange(len(pair.videos)) == pair.wanted for pair in pairs])
    return policy.Calibration(*fitted(np.log(chances) - np.log1p(-chances), liked.astype(np.float64)))


def _served(running: Path, held: Sequence[Question], base: Path, *, thought: int, judging: Done) -> Judged:
    from peft import PeftModel

    model, tokenizer = model_of(base)
    prompts = Prompts(tokenizer, thought=thought)
    adapted = PeftModel.from_pretrained(model, running)
    return _judged(answering.judged(adapted, tokenizer, held, prompts, done=judging), held)


def _judged(scores: Sequence[Floats], questions: Sequence[Question]) -> Judged:
    right = [float(np.argmax(score) == question.wanted) for score, question in zip(scores, questions, strict=True)]
    return Judged(np.array(right), np.array([_ndcg(s, q) for s, q in zip(scores, questions, strict=True)]))


def _ndcg(scores: Floats, question: Question) -> float:
    gains = np.maximum(np.asarray(question.gains, np.float64), 0.0)
    discounts = 1 / np.log2(np.arange(len(gains)) + 2)
    best = float((np.sort(gains)[::-1] * discounts).sum())
    return float((gains[np.argsort(-scores, kind="stable")] * discounts).sum()) / best if best else 0.0


def _manifest(
    made: _Made,
    by_stage: Mapping[str, Judged],
    held: Sequence[Question],
    train: Sequence[Question],
    base_name: str,
    settings: TuningSettings,
) -> policy.Policy:
    last = by_stage.get("grpo") or by_stage.get("sft") or by_stage["base"]
    figures = {name: value for stage, each in by_stage.items() for name, value in each.figures(stage).items()}
    known = np.array([question.known for question in held])
    segments = []
    for least, most in SEGMENTS:
        within = (known >= least) & (known <= most)
        helps = bool(
            within.sum() >= LEAST_OF_SEGMENT and _surely_better(last.right[within], by_stage["no_agent"].right[within])
        )
        segments.append(policy.Segment(least=least, most=most, helps=helps, cases=int(within.sum())))
    return policy.Policy(
        base_model=base_name,
        rank=settings.rank,
        learned_from=train[0].at,
        learned_until=train[-1].at,
        questions=len(train),
        calibration=made.calibration,
        segments=tuple(segments),
        figures=figures,
    )


def _surely_better(ours: Floats, others: Floats) -> bool:
    differences = ours - others
    return bool(float(differences.mean()) > 1.96 * float(differences.std(ddof=1)) / len(differences) ** 0.5)


def _verdict(by_stage: Mapping[str, Judged], figures: Mapping[str, float]) -> Verdict:
    last = by_stage.get("grpo") or by_stage.get("sft") or by_stage["base"]
    running = by_stage["running"].right if "running" in by_stage else None
    verdict = verdict_on(last.right, baseline=by_stage["no_agent"].right, running=running, name="choice")
    return replace(verdict, figures={**figures, **verdict.figures})
