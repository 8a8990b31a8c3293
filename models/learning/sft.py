"""SFT: a model learns the answers that were right, in their form: the warm start of GRPO (RecLLM-R1's first stage)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.learning.trainers import arguments, quiet, resumable, told_of
from models.learning.tuning import Asked, Told, adapter
from models.settings import TuningSettings


def tune(
    model: Any, tokenizer: Any, asked: Sequence[Asked], settings: TuningSettings, run: Path, *, seed: int, told: Told
) -> Any:
    """Return the model with an adapter that learned the right answers; it goes on where a run in this folder was ended."""
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    data = Dataset.from_list([{"prompt": each.prompt, "completion": each.right + tokenizer.eos_token} for each in asked])
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            **arguments(settings, run / "sft", seed=seed),
            per_device_train_batch_size=settings.batch,
            num_train_epochs=settings.epochs,
            learning_rate=settings.sft_rate,
            lr_scheduler_type="cosine",
            warmup_steps=max(1, round(0.05 * settings.epochs * len(asked) / settings.batch)),
            completion_only_loss=True,
            max_length=None,
        ),
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=adapter(settings, layers=model.config.num_hidden_layers),
        callbacks=[told_of("sft", told)],
    )
    quiet(trainer)
    trainer.train(resume_from_checkpoint=resumable(run / "sft"))
    return trainer.model
