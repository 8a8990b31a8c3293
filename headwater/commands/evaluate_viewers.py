"""`headwater evaluate viewers`: how well the user simulation agent decides as viewers did."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.viewers.evaluation.protocol import Finder, Negatives, Words

if TYPE_CHECKING:
    from rich.console import Console

    from models.viewers.evaluation.report import Row


def viewers(
    data: Annotated[str, typer.Option(help="a folder with `videos` and `interactions` files, or movielens-100k")],
    judged: Annotated[
        int, typer.Option("--viewers", min=1, help="viewers judged by, drawn by the seed; each costs each form 4 answers")
    ] = 200,
    learned: Annotated[
        int,
        typer.Option("--learned-viewers", min=0, help="others, who say from which probability on yes is right; 2 answers each"),
    ] = 100,
    taught: Annotated[
        int,
        typer.Option(
            "--taught-viewers",
            min=0,
            help="yet others, by whom an adapter is tuned as in `headwater learn agent` ([tuning], with the first --thought); "
            "what SFT and GRPO made of it is judged apart",
        ),
    ] = 0,
    log_viewers: Annotated[
        int, typer.Option(min=0, help="viewers the recommender learns from, drawn by the seed; 0: all, slower to fit")
    ] = 10_000,
    finder: Annotated[
        Finder, typer.Option("--recommender", help="whose list the other videos are from, fitted before the cut")
    ] = Finder.SASREC_TITLES,
    negatives: Annotated[
        Negatives, typer.Option(help="the first of that list, as in the papers, or those around the video that was wanted")
    ] = Negatives.FIRST,
    words: Annotated[
        list[Words] | None, typer.Option(help="videos as perceived, or by titles alone; may be given twice; default: perceived")
    ] = None,
    thought: Annotated[
        list[int] | None,
        typer.Option(min=0, max=2_000, help="characters of thought first; may be given again; default: agent.thought"),
    ] = None,
    adapter: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FOLDER", help="judge this LoRA adapter too; may be given again")
    ] = None,
    without_agent: Annotated[bool, typer.Option("--without-agent", help="ask no language model: the other rows only")] = False,
    minutes: Annotated[float, typer.Option(min=0.1, help="after so long no more is asked; what is left is wrong")] = 30.0,
    seed: Annotated[int, typer.Option(help="of the viewers, the places of videos, and all that learns")] = 0,
    page: Annotated[Path, typer.Option(help="where the page goes")] = Path("var/evaluation/viewers.html"),
) -> None:
    """Ask the user simulation agent what viewers did next, and see how often it is right (VRAgent-R1's protocol).

    Each viewer's last watch is to be told from others of a recommender's list, 1 of 4 and 1 of 5, by the videos watched before;
    and it and one other are each asked about alone: will they like it? Beside the agent stand chance, popularity, interests,
    the recommender's own order, and that reversed, which knows how the others were found and nothing of the viewer.

    [b]The language model[/b] is the vLLM of agent.url: one that runs, or with HEADWATER_AGENT__URL=local one of its own (`make
    llm`). Without any, give --without-agent.

    [b]What learning does[/b] is seen beside it by --taught-viewers: an adapter is tuned by as many viewers who are not judged.

    [b]Try:[/b]  headwater evaluate viewers --data movielens-100k --without-agent
          HEADWATER_AGENT__URL=local headwater evaluate viewers --data DIR --thought 0 --thought 200
          headwater evaluate viewers --data DIR --taught-viewers 300 --negatives around
          headwater evaluate viewers --data DIR --adapter mine=var/releases/agent/VERSION

    The last line is JSON.
    """
    from rich.console import Console

    from headwater.language_model import expected, model_of
    from headwater.settings import load

    console, settings = Console(stderr=True), load()
    adapters = _adapters(adapter or [])
    if taught and (taken := sorted({"sft", "grpo"} & set(adapters))):
        raise typer.BadParameter(
            f"{', '.join(taken)}: --taught-viewers names its own so; choose another", param_hint="--adapter"
        )
    if not without_agent:
        expected(settings)
    if taught and not without_agent:
        # What is missing is said before minutes are spent on all others.
        from headwater.tuning import base_of, sampling_server

        base_of(settings)
        sampling_server(settings)
    # Seconds, for which nobody should wait to hear what is missing.
    from headwater.deciding import BASE, judged_agents, judged_wordless, tuned
    from headwater.viewer_questions import questions_of
    from models.viewers.evaluation import report
    from models.viewers.evaluation.deciders import RECOMMENDER

    questions = questions_of(
        data,
        settings,
        console,
        viewers=judged,
        learned=learned,
        taught=0 if without_agent else taught,
        log_viewers=log_viewers,
        finder=finder,
        negatives=negatives,
        words=words or [Words.PERCEIVED],
        seed=seed,
    )
    results = judged_wordless(questions)
    counts: dict[str, dict[str, float]] = {}
    if not without_agent:
        thoughts = list(dict.fromkeys(thought or [settings.agent.thought]))
        adapters |= tuned(questions.taught, settings, console, thought=thoughts[0], seed=seed)
        found, counts = judged_agents(questions, settings, console, thoughts=thoughts, adapters=adapters, within_s=60 * minutes)
        results += found
    agents = list(counts)
    base = next((name for name in agents if name.startswith(BASE)), BASE)
    rows = report.rows(results, compared_with=[RECOMMENDER, base], counts=counts, seed=seed)
    facts = {
        "data": questions.data,
        "viewers": f"{len(next(iter(questions.judged.values()))):,}",
        "learned viewers": f"{len(next(iter(questions.learned.values()))):,}",
        "taught viewers": f"{len(questions.taught):,}",
        "videos": f"{len(questions.log.video_ids):,}",
        "others": f"{negatives.value}, by {finder.value}",
        "fitted to": f"{len(questions.cut.train):,} watches of {len(questions.log.viewer_ids):,} viewers",
        "model": "none" if without_agent else model_of(settings),
        "seed": str(seed),
        "command": shlex.join(["headwater", *sys.argv[1:]]),
    }
    report.write(rows, page, facts=facts, ours=agents)
    show(rows, console)
    for name, of in counts.items():
        if lost := int(of["unanswered"] + of["not_asked"]):
            console.print(
                f"[yellow]{name}: {lost} questions got no answer in time and count as wrong[/yellow]: --minutes gives more"
            )
    console.print(f"bars, intervals and segments: {page}")
    typer.echo(json.dumps(facts | rows))


def show(rows: "Mapping[str, Row]", console: "Console") -> None:
    """Print a row for each decider, and one for each segment of viewers."""
    from rich.table import Table

    from models.viewers.evaluation.judging import ALL

    shown = ("one_of_4", "one_of_5", "yes_no", "yes_no_f1", "yes_no_tuned", "yes_no_tuned_f1", "wanted_likelier", "decided")
    heads = ("decider", "1 of 4", "1 of 5", "yes or no", "F1", "at learned threshold", "F1", "wanted likelier", "decided")
    table = Table(*heads, "answers/s", box=None)
    for name, row in rows.items():
        figures = row["segments"][ALL]
        spans = (f"{value:.3f} ({low:.3f}–{high:.3f})" for value, low, high in (figures[figure] for figure in shown))
        table.add_row(name, *spans, f"{row['answers_per_s']:,.1f}" if "answers_per_s" in row else "–")
    console.print(table)
    segments = list(next(iter(rows.values()))["segments"])
    by_segment = Table("1 of 4", *segments, *(f"over {name}" for name in _compared(rows)), box=None)
    for name, row in rows.items():
        values = (f"{row['segments'][segment]['one_of_4'][0]:.3f}" for segment in segments)
        over = (row["over"].get(other, {}).get("one_of_4") for other in _compared(rows))
        by_segment.add_row(name, *values, *(f"{of[0]:+.3f} ({of[1]:+.3f} to {of[2]:+.3f})" if of else "" for of in over))
    console.print(by_segment)


def _compared(rows: "Mapping[str, Row]") -> list[str]:
    return list(dict.fromkeys(other for row in rows.values() for other in row["over"]))


def _adapters(given: Sequence[str]) -> dict[str, Path]:
    adapters = {}
    for each in given:
        name, equals, folder = each.partition("=")
        if not (name and equals and folder):
            raise typer.BadParameter(f"expected NAME=FOLDER, got {each!r}", param_hint="--adapter")
        adapters[name] = Path(folder)
    return adapters
