"""`headwater learn`: models learn from what viewers did, now."""

from enum import StrEnum
from typing import Annotated

import typer


class Model(StrEnum):
    """What can learn."""

    TOWERS = "towers"
    RANKER = "ranker"


def learn(
    models: Annotated[list[Model] | None, typer.Argument(help="which ones; default: all, in this order")] = None,
) -> None:
    """Learn from the feedback log, now, and release what passes the gate; the nodes of the API load it within seconds.

    A model learns from all but the newest feedback and is judged by that: towers must find more than popularity does, a ranker
    must know more than base rates, and neither may be worse than what serves. `headwater up` does the same every few minutes
    (learning.every_s). Needs the broker of a running house.
    """
    from rich.console import Console

    from headwater.learning import learn as run
    from headwater.settings import load
    from models.learning.gate import TooLittle

    console, settings = Console(), load()
    poor = False
    for model in models or list(Model):
        try:
            run(model.value, settings, console)
        except TooLittle as error:
            console.print(f"{model.value}: nothing to learn from: {error}", highlight=False)
            poor = True
    if poor:
        raise typer.Exit(1)
