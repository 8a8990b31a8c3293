"""GRPO: a model learns from what its own answers are worth, each against the others to the same question (TRL's trainer).

Two things are ours: a prompt is computed once for its whole group (shared_prompts.py), and a group whose answers are all worth
the same, which says nothing, is left out of the step and counted.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from datasets import Dataset
from torch import Tensor
from transformers import TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from models.learning.rewards import Reward
from models.learning.rollouts import sampled_by
from models.learning.shared_prompts import log_probs, sampled
from models.learning.trainers import arguments, quiet, resumable, told_of
from models.learning.tuning import Asked, Policy, SamplingServer, Told, adapter
from models.settings import TuningSettings

# DAPO's: what was unlikely may become likely faster than what was likely may become certain.
CLIP, CLIP_HIGHER = 0.2, 0.28
# Steps in a row of which hardly a group taught anything, after which no more are made: all is learned, or one answer is given
# to all questions, and what is left of such a run is the drift of its few odd answers.
STOP_AFTER, TAUGHT_NOTHING = 3, 0.95
# Beside the answer itself: its end, and an end of thought.
_TOKENS_OF_AN_ANSWER = 12
_CHARACTERS_A_TOKEN = 3


def tune(
    model: Any,
    tokenizer: Any,
    asked: Sequence[Asked],
    policy: Policy,
    settings: TuningSettings,
    run: Path,
    *,
    seed: int,
    told: Told,
    server: SamplingServer | None = None,
) -> Any:
    """Return the model with its adapter, led by rewards; it goes on where a run in this folder was ended.

    `server` samples the answers, None: the model itself.

    Raises:
        ConnectionError: the server failed for good.
    """
    thought = max(each.form.thought for each in asked)
    with sampled_by(server, asked, run / "rollouts") if server else nullcontext(_rollouts) as rollouts:
        trainer = _Trainer(
            model=model,
            args=GRPOConfig(
                **arguments(settings, run / "grpo", seed=seed),
                per_device_train_batch_size=settings.batch * settings.group,
                num_generations=settings.group,
                max_steps=settings.steps,
                learning_rate=settings.grpo_rate,
                lr_scheduler_type="constant",
                beta=settings.kl,
                max_completion_length=_TOKENS_OF_AN_ANSWER + thought // _CHARACTERS_A_TOKEN,
                mask_truncated_completions=settings.loss == "dapo",
                reward_weights=[weight for _, weight in policy.values()],
                **_form_of(settings.loss),
            ),
            train_dataset=Dataset.from_list([{"prompt": each.prompt, "row": row} for row, each in enumerate(asked)]),
            reward_funcs=[_of_rows(name, reward, asked) for name, (reward, _) in policy.items()],
            processing_class=tokenizer,
            rollout_func=rollouts,
            peft_config=None if hasattr(model, "peft_config") else adapter(settings, layers=model.config.num_hidden_layers),
            callbacks=[told_of("grpo", told), _Stops()],
        )
        quiet(trainer)
        trainer.train(resume_from_checkpoint=resumable(run / "grpo"))
    return trainer.model


class _Trainer(GRPOTrainer):
    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor, None]:
        (prompts, answers), (asked, said) = (
            (tensor[:, :-logits_to_keep], tensor[:, -logits_to_keep:]) for tensor in (input_ids, attention_mask)
        )
        return *log_probs(model, prompts, asked, answers, said, temperature=self.temperature), None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = super()._generate_and_score_completions(inputs)
        equal = (made["advantages"].reshape(-1, self.num_generations) == 0.0).all(dim=1)
        self._metrics["train"]["dropped_share"].append(equal.float().mean().item())
        kept = (~equal).repeat_interleave(self.num_generations)[:, None]
        mask = made["completion_mask"] * kept.to(made["completion_mask"].dtype)
        learned = mask * made["tool_mask"] if "tool_mask" in made else mask
        # Its normaliser counts only what is learned from, in all processes; a step of nothing else divides by no zero.
        items = self.accelerator.gather(learned.sum()).sum().clamp(min=1)
        return made | {"completion_mask": mask, "num_items_in_batch": items}


class _Stops(TrainerCallback):
    """Ends a run that no longer learns."""

    def __init__(self) -> None:
        self._in_vain = 0

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs and "dropped_share" in logs:
            self._in_vain = self._in_vain + 1 if logs["dropped_share"] >= TAUGHT_NOTHING else 0
            control.should_training_stop |= self._in_vain >= STOP_AFTER


def _form_of(loss: str) -> dict[str, Any]:
    if loss == "gspo":
        # A ratio for each answer, not for each token of it, within the paper's narrow bounds.
        return {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4}
    if loss == "dapo":
        return {"loss_type": "dapo", "epsilon": CLIP, "epsilon_high": CLIP_HIGHER}
    return {"loss_type": loss, "epsilon": CLIP, "scale_rewards": "none" if loss == "dr_grpo" else "group"}


def _rollouts(prompts: list[str], trainer: Any) -> dict[str, Any]:
    """Return an answer for each of the prompts, of which a group's stand in a row."""
    tokenizer = trainer.processing_class
    each = trainer.num_generations
    asked = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts[::each]]
    was_training = trainer.model.training
    trainer.model.eval()
    answers, chances = sampled(
        trainer.model,
        asked,
        each,
        longest=trainer.max_completion_length,
        ends=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        temperature=trainer.temperature,
    )
    trainer.model.train(was_training)
    repeated = [tokens for tokens in asked for _ in range(each)]
    return {"prompt_ids": repeated, "completion_ids": answers, "logprobs": chances}


def _of_rows(name: str, reward: Reward, asked: Sequence[Asked]) -> Any:
    """Return a reward as TRL calls it, with what is known of each row's question as columns."""

    def of_rows(completions: Sequence[str], *, row: Sequence[int], **_: Any) -> list[float]:
        rows = [asked[each] for each in row]
        names = set.intersection(*(set(each.question.columns) for each in rows))
        columns: dict[str, Sequence[Any]] = {column: [each.question.columns[column] for each in rows] for column in names}
        return reward(
            [each.said + completion for each, completion in zip(rows, completions, strict=True)],
            candidates=[each.form.candidates for each in rows],
            places=[each.form.places for each in rows],
            wanted=[each.wanted for each in rows],
            gains=[each.question.gains for each in rows],
            **columns,
        )

    of_rows.__name__ = name.rpartition(":")[2]
    return of_rows
