"""SFT: a model learns the answers that were right, in their form: the warm start of GRPO (RecLLM-R1's first stage)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from torch import Tensor, tensor
from transformers import Trainer, TrainingArguments, set_seed

from models.learning.prefix_trees import log_probs
from models.learning.trainers import WARM_UP, arguments, quiet, resumable, told_of
from models.learning.tuning import Asked, Told, adapter
from models.settings import TuningSettings


def tune(
    model: Any,
    tokenizer: Any,
    asked: Sequence[Sequence[Asked]],
    settings: TuningSettings,
    run: Path,
    *,
    seed: int,
    told: Told,
) -> Any:
    """Return the model with an adapter that learned the right answers; it goes on where a run in this folder was ended.

    `asked` has what is asked for each question. Yes and no weigh the same in it, as few as there are of one.
    """
    from peft import get_peft_model

    # An adapter begins at random, before there is a trainer that would see to it.
    set_seed(seed)
    trainer = _Trainer(
        model=get_peft_model(model, adapter(settings, layers=model.config.num_hidden_layers)),
        args=TrainingArguments(
            **arguments(settings, run / "sft", seed=seed),
            per_device_train_batch_size=settings.batch,
            num_train_epochs=settings.epochs,
            learning_rate=settings.sft_rate,
            # No smaller towards its end: a small model sees for long nothing in the questions, and then quickly all there is.
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=WARM_UP,
            remove_unused_columns=False,
        ),
        train_dataset=Dataset.from_list([{"row": row} for row in range(len(asked))]),
        data_collator=lambda rows: _batch([asked[each["row"]] for each in rows], tokenizer),
        callbacks=[told_of("sft", told)],
    )
    quiet(trainer)
    trainer.train(resume_from_checkpoint=resumable(run / "sft"))
    return trainer.model


class _Trainer(Trainer):
    def compute_loss(self, model: Any, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:
        likely, _entropy = log_probs(model, inputs["prompts"], inputs["answers"])
        weights: Tensor = inputs["weights"]
        return -(likely.sum(dim=1) * weights).sum()


def _batch(questions: Sequence[Sequence[Asked]], tokenizer: Any) -> dict[str, Any]:
    """Return what is asked and right, in tokens, and what each counts: all questions the same, and in one yes and no."""
    asked = [each for question in questions for each in question]
    return {
        "prompts": tokenizer([each.prompt for each in asked], add_special_tokens=False)["input_ids"],
        "answers": tokenizer([each.right + tokenizer.eos_token for each in asked], add_special_tokens=False)["input_ids"],
        "weights": tensor([weight / len(questions) for question in questions for weight in _weights(question)]),
    }


def _weights(question: Sequence[Asked]) -> list[float]:
    alike = [sum(each.wanted == other.wanted for other in question) for each in question]
    kinds = len({each.wanted for each in question})
    return [1.0 / (kinds * many) for many in alike]
