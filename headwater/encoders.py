"""The encoders for a command that needs nothing else: those that run or are configured, or a Triton of its own."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from rich.console import Console

from deploy.local.stack import Stack
from headwater.settings import Settings
from models.perception.encoders import Encoders

# Of the stack only Triton is wanted: the others are said to be elsewhere, and never spoken to.
NOWHERE = "127.0.0.1:9"


@contextmanager
def encoders_of(settings: Settings, console: Console) -> Iterator[Encoders]:
    """Yield the encoders; raises what a start of the stack raises."""
    if settings.triton.grpc_url:
        with closing(Encoders(settings.triton)) as encoders:
            yield encoders
        return
    alone = settings.model_copy(deep=True)
    alone.kafka.bootstrap_servers = alone.features.connection_string = NOWHERE
    stack = Stack(settings.stack, kafka=alone.kafka, features=alone.features, triton=alone.triton, var=settings.var)
    with console.status("starting Triton"):
        stack.start()
    try:
        with closing(Encoders(alone.at(stack.endpoints).triton)) as encoders:
            yield encoders
    finally:
        stack.stop()
