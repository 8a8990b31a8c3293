"""`headwater releases`: what was learned and what serves of it, and how to go back, hold on, or let go on."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from headwater.settings import Settings
    from headwater.shelf import Known

releases = typer.Typer(
    help="""What was learned and what serves of it: list it, compare it, pin it, go back.

    Whatever is decided here is put on record (decisions.jsonl in learning.releases), and the nodes serve it within seconds.""",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="agent, ranker or towers", show_default=False)]
Why = Annotated[str, typer.Option("--why", help="for the record, and for whoever wonders tomorrow")]
BY_HAND = "by hand"


@releases.command("list")
def list_releases(
    name: Annotated[str | None, typer.Argument(help="only of this model", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line, with all figures")] = False,
) -> None:
    """Show each model's releases, newest first: what serves, the canary, what is pinned, was rolled back or refused.

    "on disk" is one that served before, or that was let go of: `rollback --to` or `pin` bring it back.
    """
    from dataclasses import asdict

    import msgspec
    from rich.console import Console
    from rich.table import Column, Table

    from headwater.settings import load
    from headwater.shelf import data_range, headline, models, shelf, when

    root = load().learning.releases
    found = [known for model in ([name] if name else models(root)) for known in shelf(root, model)]
    if as_json:
        for known in found:
            typer.echo(msgspec.json.encode(asdict(known)))
        return
    console = Console()
    if not found:
        console.print(f"nothing was learned{f' of {name}' if name else ''} yet in {root}; `headwater learn` does it now")
        return
    # A version is there to be copied: on a narrow terminal the others give way.
    version = Column("version", no_wrap=True, overflow="ignore", min_width=24)
    table = Table("model", version, "state", "released", "learned from", Column("figures", overflow="fold"), box=None)
    for known in found:
        figures = known.reason if known.state == "refused" else headline(known.figures)
        state = known.state if known.is_on_disk or known.state == "refused" else f"{known.state}, not on disk"
        table.add_row(known.model, known.version or "–", _coloured(state), when(known.at), data_range(known), figures)
    console.print(table)
    console.print("times are UTC; `headwater releases show NAME VERSION` tells all of one")


@releases.command("show")
def show_release(
    name: Name, version: Annotated[str | None, typer.Argument(help="default: what serves", show_default=False)] = None
) -> None:
    """Tell all that is known of one release: its files, its figures, and every decision about it with its reason."""
    from rich.console import Console
    from rich.table import Table

    from headwater.settings import load
    from headwater.shelf import data_range, number, when
    from models.learning.record import read
    from models.learning.releases import digests

    settings = load()
    root, known = settings.learning.releases, _one(settings, name, version)
    console = Console(highlight=False)
    console.print(f"[b]{known.model} {known.version}[/b]: {_coloured(known.state)}")
    console.print(f"released {when(known.at)}, learned from {data_range(known)}")
    console.print(f"in {root / name / known.version}" if known.is_on_disk else "not on disk")
    if known.is_on_disk:
        for file, sha256 in digests(root, name, known.version).items():
            console.print(f"  {file}  {sha256[:16]}", soft_wrap=True)
    figures = Table("figure", "value", box=None)
    for figure, value in known.figures.items():
        figures.add_row(figure, number(value))
    console.print(figures)
    for decision in read(root):
        if decision.model == name and known.version in (decision.version, decision.to):
            console.print(f"{when(decision.at)}  {decision.what} by {decision.by}: {decision.reason}", soft_wrap=True)


@releases.command("diff")
def diff_releases(
    name: Name,
    first: Annotated[str | None, typer.Argument(metavar="[A]", help="default: what serves", show_default=False)] = None,
    second: Annotated[str | None, typer.Argument(metavar="[B]", help="default: the newest other", show_default=False)] = None,
) -> None:
    """Put two releases of a model side by side: each figure and how much it changed, and which files are the same."""
    from rich.console import Console
    from rich.table import Table

    from headwater.settings import load
    from headwater.shelf import data_range, number, shelf
    from models.learning.releases import digests

    settings = load()
    root = settings.learning.releases
    one = _one(settings, name, first)
    others = [known.version for known in shelf(root, name) if known.is_on_disk and known.version != one.version]
    if second is None and not others:
        raise typer.BadParameter(f"there is no other {name} on disk than {one.version}: nothing to compare it with")
    other = _one(settings, name, second or others[0])
    table = Table("", one.version, other.version, "change", box=None)
    table.add_row("state", _coloured(one.state), _coloured(other.state), "")
    table.add_row("learned from", data_range(one), data_range(other), "")
    for figure in dict.fromkeys([*one.figures, *other.figures]):
        before, after = one.figures.get(figure), other.figures.get(figure)
        change = "" if before is None or after is None else f"{after - before:+.4g}"
        table.add_row(figure, number(before), number(after), change)
    ours, theirs = digests(root, name, one.version), digests(root, name, other.version)
    for file in sorted({*ours, *theirs}):
        same = "the same" if ours.get(file) == theirs.get(file) else "another"
        table.add_row(file, ours.get(file, "–")[:16], theirs.get(file, "–")[:16], same)
    Console().print(table)


@releases.command("pin")
def pin_release(
    name: Name,
    version: Annotated[str | None, typer.Argument(help="default: what serves now", show_default=False)] = None,
    why: Why = BY_HAND,
) -> None:
    """Let one release serve everybody until `unpin`, whatever is learned meanwhile. A canary ends.

    Learning goes on and the gate judges it: what passes is on record as "passed, pinned", and is not released.
    """
    from headwater.decisions import pin

    settings = _with_broker(name)
    made = pin(settings, name, version or "", by=_me(), reason=why)
    typer.echo(f"{name} {made.version} serves everybody, and nothing else until `headwater releases unpin {name}`")


@releases.command("unpin")
def unpin_release(name: Name, why: Why = BY_HAND) -> None:
    """Let what passes the gate serve again. What is pinned goes on serving until then."""
    from headwater.decisions import unpin
    from headwater.settings import load

    settings = load()
    _check(settings, name)
    made = unpin(settings, name, by=_me(), reason=why)
    typer.echo(f"{name} {made.version} is pinned no more; it serves until something better passes the gate")


@releases.command("rollback")
def roll_back_release(
    name: Name,
    to: Annotated[str | None, typer.Option("--to", help="this version; default: the one that served before")] = None,
    why: Why = BY_HAND,
) -> None:
    """Take back what serves for the release that served before it. Where a canary runs, that is what is taken back.

    What was rolled back is not released again, not even learned anew with the same result; only `--to` or `pin` bring it back.
    """
    from headwater.decisions import roll_back

    settings = _with_broker(name)
    made = roll_back(settings, name, to=to or "", by=_me(), reason=why)
    typer.echo(f"{name} {made.version} is rolled back; " + (f"{made.to} serves" if made.to else "none serves"))


def _one(settings: "Settings", name: str, version: str | None) -> "Known":
    """Return the release of this version, or what serves."""
    from headwater.shelf import shelf

    _check(settings, name)
    known = [each for each in shelf(settings.learning.releases, name) if each.version]
    if version is not None:
        found = [each for each in known if each.version == version]
    else:
        found = [each for state in ("pinned", "serving", "canary", "on disk") for each in known if each.state == state]
    if not found:
        there = ", ".join(each.version for each in known) or "none"
        raise typer.BadParameter(f"no release {name} {version or ''} in {settings.learning.releases}; there are: {there}")
    return found[0]


def _with_broker(name: str) -> "Settings":
    """Return the settings of a house whose broker answers: what nobody hears of must not be decided."""
    from headwater.settings import load
    from streams.kafka import check_broker

    settings = load()
    _check(settings, name)
    check_broker(settings.kafka, timeout_s=5.0)
    return settings


def _check(settings: "Settings", name: str) -> None:
    from headwater.shelf import models

    known = models(settings.learning.releases)
    if name not in known:
        raise typer.BadParameter(
            f"nothing was learned of a model {name!r} in {settings.learning.releases}; there are: {', '.join(known) or 'none'}"
        )


def _me() -> str:
    import getpass

    return getpass.getuser()


def _coloured(state: str) -> str:
    colour = {"serving": "green", "pinned": "green", "canary": "yellow", "rolled back": "red", "refused": "red"}
    first = state.split(",")[0]
    return f"[{colour[first]}]{state}[/]" if first in colour else state
