"""Other policies judged by the feedback log, for the command: read, weighed, told in a table, on a page and as JSON."""

import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from models.ranking.evaluation import off_policy_page
from models.ranking.evaluation.logged_choices import read
from models.ranking.evaluation.off_policy import Estimate, evaluate
from models.ranking.evaluation.reward_model import FOLDS, expected_rewards, explained


def judged(
    folder: Path, console: Console, *, clip: float | None, seed: int, page: Path
) -> tuple[dict[str, str], dict[str, Estimate]]:
    """Judge all policies that the log in `folder` can judge; return what was looked at, and what they would have earned.

    Raises:
        BadLog: it can judge none.
    """
    with console.status(f"reading {folder}"):
        choices = read(folder)
    with console.status(f"weighing {len(choices):,} choices"):
        expected = expected_rewards(choices, seed=seed)
        estimates = evaluate(choices, expected, clip=clip, seed=seed)
    facts = {
        "data": str(folder),
        "protocol": "off-policy",
        "choices": f"{len(choices):,}",
        "viewers": f"{len(set(choices.viewers.tolist())):,}",
        "served": f"{choices.first_at:%Y-%m-%d %H:%M} to {choices.last_at:%Y-%m-%d %H:%M} UTC",
        "policies": ", ".join(choices.policies) or "unnamed",
        "main places left out": f"{choices.main:,}",
        "without rivals left out": f"{choices.incomplete:,}",
        "reward model": f"ridge on place and video, {FOLDS} folds of viewers, R² {explained(choices, expected):.3f}",
        "clip": "none" if clip is None else f"{clip:g}",
        "seed": str(seed),
        "command": shlex.join(["headwater", *sys.argv[1:]]),
    }
    logged = float(choices.rewards.mean())
    off_policy_page.write(estimates, page, logged=logged, choices=len(choices), facts=facts)
    show(estimates, console, choices=len(choices), main=choices.main)
    return facts, estimates


def show(estimates: dict[str, Estimate], console: Console, *, choices: int, main: int) -> None:
    """Print a row for each policy, and why one is not to be trusted."""
    table = Table("policy", "IPS (95 %)", "SNIPS (95 %)", "DR (95 %)", "effective", "bias of clipping", box=None)
    for name, of in estimates.items():
        table.add_row(
            name,
            *(off_policy_page.words(value) for value in (of.ips, of.snips, of.dr)),
            f"{of.ess:,.0f} of {choices:,}",
            f"{of.clip_bias:+.4f}" if of.clipped else "none",
            style="dim" if of.doubt else "",
        )
    console.print(table)
    for name, of in estimates.items():
        if of.doubt:
            console.print(f"[yellow]{name}: not to be trusted[/yellow]: {of.doubt}")
    console.print(f"mean reward of a place of exploration; {main:,} other places were certain, so they can't be judged")
