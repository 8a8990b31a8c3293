"""An adapter of the size that learning makes, which changes nothing: by it is measured what the agent costs."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from models.viewers.policy import CONFIG, MANIFEST, WEIGHTS, Policy, Segment

if TYPE_CHECKING:
    from headwater.settings import Settings


def untaught(settings: "Settings") -> dict[str, bytes]:
    """Return the files of a release of the agent before its first step, said to help all viewers."""
    # PyTorch and its models, for which `--help` should not wait.
    from peft import get_peft_model

    from headwater.tuning import base_of
    from models.learning.tuning import adapter, model_of

    base, name = base_of(settings)
    model, _ = model_of(base)
    tuned = get_peft_model(model, adapter(settings.tuning, layers=model.config.num_hidden_layers))
    everybody = Segment(least=0, most=1 << 62, helps=True)
    policy = Policy(base_model=name, rank=settings.tuning.rank, segments=(everybody,))
    with TemporaryDirectory(prefix="headwater-adapter-") as folder:
        tuned.save_pretrained(folder)
        files = {file: (Path(folder) / file).read_bytes() for file in (WEIGHTS, CONFIG)}
    return files | {MANIFEST: msgspec.json.encode(policy)}
