"""The user simulation agent, learned from the feedback log: SFT, then GRPO, and judged by the newest questions.

Two stages as in RecLLM-R1, a LoRA adapter as what is learned. It serves where it was measured to help, by how much is known of
a viewer, and nowhere else.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.learning import answering
from models.learning.agent_judging import Judged, by_order, judged, segments_of, verdict, worth
from models.learning.curves import Curves
from models.learning.gate import LEAST_CASES, Learned, TooLittle
from models.learning.questions import FromLog, cut_by_time
from models.learning.rewards import composed
from models.learning.tuning import Prompts, SamplingServer, Told, examples, model_of, nobody
from models.ranking.calibration import fitted
from models.settings import TuningSettings
from models.viewers import policy
from models.viewers.questions import Logged, Question

NAME = policy.NAME
# Questions, the newest learned from, by which odds are made honest.
CALIBRATED_BY = 50

Floats = NDArray[np.float64]
Done = Callable[[int], None]
Drawn = TypeVar("Drawn", Question, Logged)


def learn(
    asked: FromLog,
    settings: TuningSettings,
    *,
    base: Path,
    base_name: str,
    run: Path,
    running: Path | None,
    thought: int,
    seed: int,
    apart: bool = False,
    server: SamplingServer | None = None,
    told: Told = nobody,
    judging: Done = lambda prompts: None,
) -> Learned:
    """Tune an adapter of the model in `base`, known to servers as `base_name`, and judge it by the newest questions.

    `running` is the folder of the adapter that serves. What is being learned is in `run`, and goes on from there after a kill;
    `apart`: no viewer is judged by whom it learned from; `server` samples the answers that GRPO learns from, None: the model.

    Raises:
        TooLittle: there are too few questions to learn from or to judge by.
        ConnectionError: the server failed for good; what was learned until then stays in `run`.
    """
    before, after = cut_by_time(asked.questions, held_out=settings.held_out, apart=apart)
    rng = np.random.default_rng(seed)
    train, held = (_drawn(rng, part, most) for part, most in ((before, settings.questions), (after, settings.judged)))
    if len(held) < LEAST_CASES or len(train) < settings.batch:
        raise TooLittle(
            f"{len(asked.questions)} questions: expected {LEAST_CASES} or more to judge by and {settings.batch} to learn from, "
            f"got {len(held)} and {len(train)}; each takes a video that was wanted and {settings.candidates - 1} that were not"
        )
    left_to_chance = [each for each in asked.logged if each.question.at >= held[0].at]
    logged = _drawn(rng, left_to_chance, settings.judged)
    _begin(run, settings, [seed, thought, base_name, str(base)], [*train, *held])
    curves = Curves(run)

    def tell(stage: str, step: int, steps: int, figures: dict[str, float]) -> None:
        curves.add(stage, step, figures)
        told(stage, step, steps, figures)

    made = _tuned(
        train, held, logged, settings, base, run, thought=thought, seed=seed, told=tell, judging=judging, server=server
    )
    by_stage = made.by_stage
    if running is not None:
        by_stage["running"] = _served(running, held, base, thought=thought, judging=judging)
    by_stage["no_agent"] = by_order(held)
    figures = {name: value for stage, each in by_stage.items() for name, value in each.figures(stage).items()} | made.costs
    earned, paid = None, 0.0
    if logged:
        earned, paid = worth(made.chances, logged, seed=seed), float(np.mean([each.reward for each in logged]))
        figures |= {"snips": earned.snips.mean or 0.0, "snips_no_agent": paid, "snips_ess": earned.ess}
    manifest = policy.Policy(
        base_model=base_name,
        rank=settings.rank,
        learned_from=train[0].at,
        learned_until=train[-1].at,
        questions=len(train),
        calibration=made.calibration,
        segments=segments_of(made.last, by_stage["no_agent"], held),
        figures={name: round(value, 5) for name, value in figures.items()},
    )
    files = {policy.MANIFEST: msgspec.json.format(msgspec.json.encode(manifest))}
    files |= {name: (made.adapter / name).read_bytes() for name in (policy.WEIGHTS, policy.CONFIG)}
    return Learned(files, verdict(made.last, by_stage["no_agent"], by_stage.get("running"), earned, paid, manifest.figures))


def taught(
    train: Sequence[Question],
    settings: TuningSettings,
    *,
    base: Path,
    run: Path,
    thought: int,
    seed: int,
    server: SamplingServer | None = None,
    told: Told = nobody,
) -> dict[str, Path]:
    """Tune an adapter of the model in `base` by all these questions; return the folder of what each stage made, "sft", "grpo".

    It goes on where a run in this folder was ended; `server` as for `learn`.

    Raises:
        ConnectionError: the server failed for good; what was learned until then stays in `run`.
    """
    _begin(run, settings, [seed, thought, str(base)], train)
    model, tokenizer = model_of(base)
    prompts = Prompts(tokenizer, thought=thought)
    tuned = _stages(model, tokenizer, prompts, train, settings, run, seed=seed, told=told, server=server)
    stages = [stage for stage, _ in tuned]
    return {stage: _adapter(run, stage) for stage in stages[1:]}


@dataclass(frozen=True)
class _Made:
    """What was learned: the last stage's adapter, how each stage answers, the last among them, and what that costs."""

    adapter: Path
    by_stage: dict[str, Judged]
    last: Judged
    chances: list[Floats]
    costs: dict[str, float]
    calibration: policy.Calibration


def _drawn(rng: np.random.Generator, from_all: Sequence[Drawn], most: int) -> list[Drawn]:
    """Return some of them, in their order: the newest would be those of a few viewers."""
    return [from_all[row] for row in np.sort(rng.permutation(len(from_all))[:most])]


def _begin(run: Path, settings: TuningSettings, how: Sequence[Any], asked: Sequence[Question]) -> None:
    """Keep what a run that was ended left, if it learned and was judged by the same in the same way; else begin anew."""
    # A server that fails must not cost what was learned: the run may go on with answers from elsewhere.
    chosen = settings.model_dump(mode="json", exclude={"rollouts"})
    told = json.dumps([how, chosen, [(q.user_id, q.at, q.viewer, q.videos) for q in asked]])
    digest = hashlib.sha256(told.encode()).hexdigest()
    mark = run / "of.sha256"
    if not (mark.is_file() and mark.read_text() == digest):
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        mark.write_text(digest)


def _tuned(
    train: Sequence[Question],
    held: Sequence[Question],
    logged: Sequence[Logged],
    settings: TuningSettings,
    base: Path,
    run: Path,
    *,
    thought: int,
    seed: int,
    told: Told,
    judging: Done,
    server: SamplingServer | None,
) -> _Made:
    model, tokenizer = model_of(base)
    prompts = Prompts(tokenizer, thought=thought)

    def measured(stage: str, model: Any) -> Judged:
        # Of a run that goes on, what was measured before it was ended.
        kept = run / f"{stage}.npz"
        if not kept.is_file():
            beside = run / f".{stage}.npz"
            np.savez(beside, **vars(judged(answering.judged(model, tokenizer, held, prompts, done=judging), held)))
            beside.replace(kept)
        with np.load(kept) as figures:
            of_stage = Judged(**figures)
        # On the curve of what it is the beginning of, or the end.
        curve, step = {"base": ("sft", 0), "sft": ("grpo", 0), "grpo": ("grpo", settings.steps)}[stage]
        told(curve, step, settings.steps if curve == "grpo" else step, {"held_out": float(of_stage.right.mean())})
        return of_stage

    by_stage = {}
    tuned = model
    for stage, tuned in _stages(model, tokenizer, prompts, train, settings, run, seed=seed, told=told, server=server):
        by_stage[stage] = measured(stage, tuned)
    began = time.monotonic()
    chances = answering.judged(tuned, tokenizer, [each.question for each in logged], prompts, done=judging)
    costs = {"judged_ms": 1000 * (time.monotonic() - began) / len(logged)} if logged else {}
    costs["tokens"] = float(np.mean([len(tokenizer(prompts.judgement(each, 0).prompt)["input_ids"]) for each in held]))
    calibration = _calibration(tuned, tokenizer, prompts, train, judging)
    return _Made(_adapter(run, stage), by_stage, by_stage[stage], chances, costs, calibration)


def _stages(
    model: Any,
    tokenizer: Any,
    prompts: Prompts,
    train: Sequence[Question],
    settings: TuningSettings,
    run: Path,
    *,
    seed: int,
    told: Told,
    server: SamplingServer | None = None,
) -> Iterator[tuple[str, Any]]:
    """Yield the model as it comes ("base"), then what SFT made of it ("sft"), and GRPO of that ("grpo")."""
    from models.learning import grpo, sft

    yield "base", model
    first, second = _split(train, settings)
    if first:
        asked = examples(first, prompts, choices=settings.choices, seed=seed)
        tuned = partial(sft.tune, tokenizer=tokenizer, asked=asked, settings=settings, run=run, seed=seed, told=told)
        model = _kept(_adapter(run, "sft"), model, tuned)
        yield "sft", model
    if second:
        asked = examples(second, prompts, choices=settings.choices, seed=seed + 1)
        tuned = partial(
            grpo.tune, tokenizer=tokenizer, questions=asked, policy=composed(settings.rewards), settings=settings, run=run,
            seed=seed, told=told, server=server,
        )  # fmt: skip
        model = _kept(_adapter(run, "grpo"), model, tuned)
        yield "grpo", model


def _adapter(run: Path, stage: str) -> Path:
    return run / f"adapter-{stage}"


def _kept(folder: Path, model: Any, tuned: Callable[[Any], Any]) -> Any:
    """Return the model with the adapter in `folder`; where none is kept, a stage makes it.

    Of a stage that was at its end no checkpoint is gone on from: the trainer would make one more step.
    """
    from peft import PeftModel, load_peft_weights, set_peft_model_state_dict

    if not folder.is_dir():
        beside = folder.with_name(f".{folder.name}")
        model = tuned(model)
        model.save_pretrained(beside, selected_adapters=["default"])
        beside.replace(folder)
    elif isinstance(model, PeftModel):
        set_peft_model_state_dict(model, load_peft_weights(str(folder)))
    else:
        model = PeftModel.from_pretrained(model, folder, is_trainable=True)
    return model


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
    return judged(answering.judged(adapted, tokenizer, held, prompts, done=judging), held)
