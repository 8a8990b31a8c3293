"""`headwater`: the command line. What a command needs is imported when it runs, so that `--help` answers at once."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from headwater.commands.dead_letters import dead_letters
from headwater.commands.demo import demo
from headwater.commands.evaluate import evaluate
from headwater.commands.feast import feast
from headwater.commands.learn import learn
from headwater.commands.releases import releases
from headwater.commands.replay import replay
from headwater.commands.upload import upload
from headwater.flows import FlowName

app = typer.Typer(
    help="""A streaming real-time recommender: a video uploaded now can be shown now, a tap made now changes the next page.

    [b]Start here:[/b]  headwater up  runs all of it on this machine;  headwater demo  shows it at work;
    headwater doctor  says what is missing. Every option is explained in headwater.toml, and each can be given in the
    environment too: HEADWATER_API__PORT=9000 is api.port.""",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
topics = typer.Typer(help="The Kafka topics: create the missing ones, list them.", no_args_is_help=True)

RUN, DATA, LOOK = "Run", "Send events", "Look and check"


@app.callback()
def configure(
    config: Annotated[Path | None, typer.Option(help="configuration file; default: headwater.toml in this folder")] = None,
) -> None:
    if config is not None:
        os.environ["HEADWATER_CONFIG"] = str(config)


@app.command(rich_help_panel=RUN)
def up() -> None:
    """Run everything on this machine: the servers that are not configured as external, the four flows, the learner and the API.

    What dies is started again. Ctrl-C or SIGTERM stops all of it within seconds and leaves no process behind.
    """
    from rich.console import Console

    from headwater.settings import load
    from headwater.up import up as run

    run(load(), Console())


@app.command(rich_help_panel=RUN)
def serve() -> None:
    """Run only the API, against the broker and Redis that are configured or that `headwater up` runs here."""
    from deploy.local.ports import choose
    from headwater.children import log_to_stderr
    from headwater.settings import load

    settings = load()
    # Before the seconds that the imports take, and in words that say who has it.
    settings.api.port = choose(settings.api.port, setting="api.port", host=settings.api.host)
    from headwater import wiring

    log_to_stderr()
    wiring.run_api(settings)


@app.command(rich_help_panel=RUN)
def flow(
    name: Annotated[FlowName, typer.Argument(help="which one", show_default=False)],
    workers: Annotated[int | None, typer.Option("-w", "--workers", min=1, help="threads; default: flows.workers")] = None,
) -> None:
    """Run one flow alone, in the foreground, with any number of workers."""
    from headwater import wiring
    from headwater.children import log_to_stderr
    from headwater.settings import load

    log_to_stderr()
    wiring.run_flow(name, load(), workers)


@app.command(rich_help_panel=LOOK)
def doctor() -> None:
    """Check this installation and say what to do about what is wrong."""
    from rich.console import Console

    from headwater.doctor import examine, show
    from headwater.settings import load

    findings = examine(load())
    show(findings, Console())
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(1)


@app.command(rich_help_panel=LOOK)
def schema() -> None:
    """Print the JSON Schema of every event, for clients in other languages."""
    import json

    from streams.codec import json_schemas

    typer.echo(json.dumps(json_schemas(), indent=2))


@app.command(rich_help_panel=LOOK)
def version() -> None:
    """Print the version."""
    from importlib.metadata import version

    typer.echo(version("headwater"))


@topics.command("create")
def create_topics() -> None:
    """Create the topics that do not exist yet."""
    from headwater.settings import load
    from streams.kafka import create_topics

    created = create_topics(load().kafka)
    typer.echo(f"created: {', '.join(created)}" if created else "every topic exists")


@topics.command("list")
def list_topics() -> None:
    """Show each topic, its key, partitions and how long it keeps events."""
    from rich.console import Console
    from rich.table import Table

    from headwater.settings import load
    from streams.kafka import partitions_of
    from streams.topics import TOPICS

    kafka = load().kafka
    table = Table("topic", "key", "partitions", "keeps", box=None)
    for topic in TOPICS:
        kept = ["the newest of each key"] * topic.compacted
        if topic.retention_ms is not None:
            kept.append(f"{topic.retention_ms / 3_600_000:g} hours")
        table.add_row(topic.name, topic.key, str(partitions_of(kafka, topic)), " for ".join(kept))
    Console().print(table)


app.command(rich_help_panel=RUN)(demo)
app.command(rich_help_panel=RUN)(learn)
app.command(rich_help_panel=DATA)(replay)
app.command(rich_help_panel=DATA)(upload)
app.add_typer(releases, name="releases", rich_help_panel=RUN)
app.add_typer(dead_letters, name="dead-letters", rich_help_panel=DATA)
# Whatever follows, --help too, is for Feast.
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
app.command(rich_help_panel=LOOK, context_settings=_PASSED_ON)(feast)
app.add_typer(evaluate, name="evaluate", rich_help_panel=LOOK)
app.add_typer(topics, name="topics", rich_help_panel=LOOK)


def main() -> None:
    """Run the command line. What a person can put right is said in one paragraph, anything else with its traceback."""
    try:
        app()
    except Exception as error:
        if not _is_for_the_user(error):
            raise
        typer.echo(f"headwater: {error}", err=True)
        sys.exit(1)


def _is_for_the_user(error: Exception) -> bool:
    from deploy.local.binaries import BinaryMissing
    from deploy.local.endpoints import AlreadyRunning
    from deploy.local.ports import PortTaken
    from deploy.local.process import StartFailed
    from headwater.decisions import NotPossible
    from headwater.settings import BadSettings
    from models.perception.evaluation.clips import NoClips
    from models.ranking.evaluation.logged_choices import BadLog
    from models.viewers.policy import BadPolicy
    from simulation.datasets import BadDataset
    from streams.flows.run import AlreadyRuns
    from streams.ports import PerceptionUnavailable

    known = AlreadyRunning | AlreadyRuns | BadSettings | BinaryMissing | ConnectionError | NoClips | PerceptionUnavailable
    return isinstance(error, known | BadDataset | BadLog | BadPolicy | NotPossible | PortTaken | StartFailed)
