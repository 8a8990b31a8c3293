"""What TRL's trainers have in common here: seeds, checkpoints, curves, and who is told of each step."""

from pathlib import Path
from typing import Any

from models.learning.tuning import Told
from models.settings import TuningSettings

# Steps until the learning rate is what it should be: the first ones know little of how much gradients vary.
WARM_UP = 4


def arguments(settings: TuningSettings, folder: Path, *, seed: int) -> dict[str, Any]:
    """Return the arguments that both stages are given."""
    import torch

    return {
        "output_dir": str(folder),
        "seed": seed,
        "data_seed": seed,
        "bf16": torch.cuda.is_available(),
        # Memory is not what is short: what is computed again takes a third of the time.
        "activation_checkpointing": False,
        "save_strategy": "steps",
        "save_steps": settings.save_steps,
        "save_total_limit": 1,
        "logging_steps": 1,
        "report_to": ["tensorboard"],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def quiet(trainer: Any) -> None:
    """Keep a trainer from printing each step's figures, which are told of and shown otherwise, and what it thinks of them."""
    from transformers.trainer_callback import PrinterCallback
    from transformers.utils import logging

    trainer.remove_callback(PrinterCallback)
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def resumable(folder: Path) -> str | None:
    """Return the newest checkpoint in a folder from which a run can go on, None where there is none."""
    from transformers.trainer_utils import get_last_checkpoint

    return get_last_checkpoint(str(folder)) if folder.is_dir() else None  # type: ignore[no-untyped-call]


def told_of(stage: str, told: Told) -> Any:
    """Return a callback that tells of each step's figures."""
    from transformers import TrainerCallback

    class _Tells(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            figures = {name: float(value) for name, value in (logs or {}).items() if isinstance(value, int | float)}
            told(stage, state.global_step, state.max_steps, figures)

    return _Tells()
