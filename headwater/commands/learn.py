"""`headwater learn`: models learn from what viewers did, now."""

from enum import StrEnum
from typing import Annotated

import typer


class Model(StrEnum):
    """What can learn."""

    TOWERS = "towers"
    RANKER = "ranker"
    AGENT = "agent"


def learn(
    models: Annotated[list[Model] | None, typer.Argument(help="which; default: all that this house has, in this order")] = None,
) -> None:
    """Learn from the feedback log, now, and release what passes the gate: to a share of viewers first, where
    learning.canary_share, canary_s and every_s are set, else to all; the nodes of the API load it within seconds.

    A model learns from all but the newest feedback and is judged by that: towers must find more than popularity does, a ranker
    must know more than base rates, the agent must choose better than the page's own order, and none may be worse than what
    serves. `headwater up` does the same every few minutes (learning.every_s). Needs the broker of a running house.

    The agent is a language model with an adapter: it learns right answers first (SFT), then from rewards of its own (GRPO), as
    [tuning] says; with agent.url = "local" the small model of `make llm`. A run that is ended goes on where it was; its curves
    are on /ops, and TensorBoard's in learning.runs.
    """
    from rich.console import Console

    from headwater.canary import Watch
    from headwater.learning import learn as run
    from headwater.learning import lessons
    from headwater.settings import load
    from models.learning.gate import TooLittle
    from streams.kafka import check_broker

    console, settings = Console(), load()
    check_broker(settings.kafka, timeout_s=5.0)
    # Where no learner runs beside the house nobody else looks at canaries.
    Watch(settings).look()
    poor = False
    for name in [model.value for model in models] if models else lessons(settings):
        try:
            run(name, settings, console)
        except TooLittle as error:
            console.print(f"{name}: nothing to learn from: {error}", highlight=False)
            poor = True
    if poor:
        raise typer.Exit(1)
