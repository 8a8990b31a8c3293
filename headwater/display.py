"""How long steps are shown: each with a bar, how much of it is done, and since when it runs."""

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn


def timed(console: Console) -> Progress:
    """Return a display for long steps."""
    return Progress(*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn(), console=console)
