"""What perception asks, for a command that needs nothing else: servers that run or are configured, or some of its own."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from rich.console import Console

from deploy.local.stack import Stack
from headwater.settings import Settings
from models.perception.choice import understood_by
from models.perception.encoders import Encoders
from models.perception.understanding import Understanding
from models.settings import AgentSettings, UnderstandingSettings

# Of the stack only these are wanted: the others are said to be elsewhere, and never spoken to.
NOWHERE = "127.0.0.1:9"


@contextmanager
def perception_of(settings: Settings, console: Console) -> Iterator[tuple[Encoders, Understanding]]:
    """Yield the encoders and who writes what a viewer would care about; raises what a start of the stack raises."""
    # The user simulation agent perceives nothing: no language model is started for it.
    settings = settings.model_copy(update={"agent": AgentSettings()})
    with (
        _served(settings, console) as serving,
        closing(Encoders(serving.triton)) as encoders,
        understood_by(serving.understanding, encoders) as understanding,
    ):
        yield encoders, understanding


def wordless(settings: Settings) -> Settings:
    """Return the settings for a command that wants encoders only: no language model is started for it."""
    return settings.model_copy(update={"understanding": UnderstandingSettings()})


@contextmanager
def _served(settings: Settings, console: Console) -> Iterator[Settings]:
    """Yield `settings` with the addresses of Triton and of the language model, if one is wanted; start what has none."""
    if settings.triton.grpc_url and not settings.wants_vllm:
        yield settings
        return
    alone = settings.model_copy(deep=True)
    alone.kafka.bootstrap_servers = alone.features.connection_string = NOWHERE
    stack = Stack(
        settings.stack,
        kafka=alone.kafka,
        features=alone.features,
        triton=alone.triton,
        var=settings.var,
        language_model=settings.wants_vllm,
    )
    with console.status(f"starting {' and '.join(stack.endpoints.embedded)}"):
        stack.start()
    try:
        yield settings.at(stack.endpoints)
    finally:
        stack.stop()
