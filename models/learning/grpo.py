"""GRPO: a model learns from what its own answers are worth, each against the others to the same question (TRL's trainer).

Two things are ours: what prompts and answers begin with alike is computed once (prefix_trees.py), and a group whose answers are
all worth the same, of which rewards say nothing, is counted: all that it adds to a step is how far the model has strayed.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from datasets import Dataset
from torch import Tensor
from torch.nn.functional import pad
from transformers import TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from models.learning.prefix_trees import log_probs, sampled
from models.learning.rewards import Reward
from models.learning.rollouts import sampled_by
from models.learning.trainers import WARM_UP, arguments, quiet, resumable, told_of
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
    questions: Sequence[Sequence[Asked]],
    policy: Policy,
    settings: TuningSettings,
    run: Path,
    *,
    seed: int,
    told: Told,
    server: SamplingServer | None = None,
) -> Any:
    """Return the model with its adapter, led by rewards; it goes on where a run in this folder was ended.

    `questions` has what is asked for each question; yes and no are asked for as often, which costs little where they share most
    of their prompts. `server` samples the answers, None: the model itself.

    Raises:
        ConnectionError: the server failed for good.
    """
    asked = [each for question in questions for each in _balanced(question)]
    # No more than there are: the trainer makes no step of fewer than it was promised.
    prompts = min(len(asked), max(1, round(settings.batch * len(asked) / len(questions))))
    thought = max(each.form.thought for each in asked)
    with sampled_by(server, asked, run / "rollouts") if server else nullcontext(_rollouts) as rollouts:
        trainer = _Trainer(
            model=model,
            args=GRPOConfig(
                **arguments(settings, run / "grpo", seed=seed),
                per_device_train_batch_size=prompts * settings.group,
                # What is asked of one question stays together.
                shuffle_dataset=False,
                num_generations=settings.group,
                max_steps=settings.steps,
                learning_rate=settings.grpo_rate,
                # What is left to learn becomes less, and the noise of the answers does not.
                lr_scheduler_type="linear",
                warmup_steps=WARM_UP,
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
        # On the CPU, where they become trees: of a GPU each row would be waited for.
        tokens, no_pads = input_ids.cpu().numpy(), attention_mask.cpu().numpy().astype(bool)
        prompts, answers = (
            [row[mask].tolist() for row, mask in zip(tokens[:, part], no_pads[:, part], strict=True)]
            for part in (slice(None, -logits_to_keep), slice(-logits_to_keep, None))
        )
        likely, entropy = log_probs(model, prompts, answers, temperature=self.temperature)
        missing = logits_to_keep - likely.shape[1]
        return pad(likely, (0, missing)), pad(entropy, (0, missing)), None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = super()._generate_and_score_completions(inputs)
        equal = (made["advantages"].reshape(-1, self.num_generations) == 0.0).all(dim=1)
        self._metrics["train"]["dropped_share"].append(equal.float().mean().item())
        return made


class _Stops(TrainerCallback):
    """Ends a run that no longer learns."""

    def __init__(self) -> None:
        self._in_vain = 0

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs and "dropped_share" in logs:
            self._in_vain = self._in_vain + 1 if logs["dropped_share"] >= TAUGHT_NOTHING else 0
            control.should_training_stop |= self._in_vain >= STOP_AFTER


def _balanced(question: Sequence[Asked]) -> Iterator[Asked]:
    """Yield each as often as makes of yes as many as of no; a choice as often as all of these, to be as much of a step."""
    if candidates := question[0].form.candidates:
        yield from [*question] * (2 * (candidates - 1))
        return
    most = max(Counter(each.wanted for each in question).values())
    for each in question:
        alike = sum(each.wanted == other.wanted for other in question)
        yield from [each] * round(most / alike)


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
