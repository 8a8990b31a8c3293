"""`headwater dead-letters`: what could not be used and why, and another try for it after a fix."""

import heapq
import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.events import DeadLetter

dead_letters = typer.Typer(help="Input that could not be used: list it, or send it again after a fix.", no_args_is_help=True)

# So many are sent, and then marked, at a time: each may be close to a megabyte.
AT_ONCE = 100

Origin = Annotated[str | None, typer.Option("--origin", help="only from this topic: uploads, interactions, …")]


@dead_letters.command("list")
def list_letters(
    origin: Origin = None,
    reason: Annotated[str | None, typer.Option(help="only where the reason contains this text")] = None,
    only_open: Annotated[bool, typer.Option("--open", help="only those that were not replayed")] = False,
    limit: Annotated[int, typer.Option(min=1, help="the newest so many")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line, payload included")] = False,
) -> None:
    """Show dead letters, newest last: where each came from, why it could not be used, and whether it was sent again."""
    from rich.console import Console
    from rich.table import Column, Table

    from headwater.settings import load
    from streams.codec import encode
    from streams.dead_letters import DeadLetters

    total = 0
    newest: list[tuple[int, str, DeadLetter]] = []
    for letter in DeadLetters(load().kafka).all():
        total += 1
        if _wanted(letter, origin, reason) and not (only_open and letter.replayed_at):
            # The newest only: all of them may be more than fits into memory.
            heapq.heappush(newest, (letter.failed_at, letter.letter_id, letter))
            if len(newest) > limit:
                heapq.heappop(newest)
    letters = [letter for _, _, letter in sorted(newest, key=lambda one: one[:2])]
    if as_json:
        for letter in letters:
            typer.echo(encode(letter))
        return
    # An id is there to be copied, and a reason to be read: on a narrow terminal the others give way.
    id_column, reason_column = Column("id", no_wrap=True, overflow="ignore"), Column("reason", overflow="fold", min_width=30)
    payload_column = Column("payload", no_wrap=True, overflow="ellipsis")
    table = Table(id_column, "when", "flow", reason_column, "replayed", payload_column, box=None)
    for letter in letters:
        start = letter.payload[:60].decode("utf-8", "backslashreplace")
        replayed = "" if letter.replayed_at is None else _when(letter.replayed_at)
        table.add_row(letter.letter_id, _when(letter.failed_at), letter.flow, letter.reason, replayed, start)
    console = Console()
    console.print(table)
    console.print(f"{len(letters)} of {total} dead letters; times are UTC")


@dead_letters.command("replay")
def replay_letters(
    letter: Annotated[list[str] | None, typer.Option("--id", help="this one, as `list` names it; may be repeated")] = None,
    origin: Origin = None,
    everything: Annotated[bool, typer.Option("--all", help="every dead letter that was not replayed yet")] = False,
    again: Annotated[bool, typer.Option("--again", help="those that were replayed before, too")] = False,
) -> None:
    """Send dead letters to the topics they came from, and mark them. What was counted already counts once all the same."""
    from headwater.settings import load
    from streams.dead_letters import DeadLetters, why_not_replayable

    if not (letter or origin or everything):
        raise typer.BadParameter("say which: --id, --origin or --all")
    box = DeadLetters(load().kafka)
    unknown = set(letter or ())
    sent, left_out, waiting = 0, [], []
    for one in box.all():
        if (letter and one.letter_id not in letter) or not _wanted(one, origin, None):
            continue
        unknown.discard(one.letter_id)
        if one.replayed_at is not None and not again:
            left_out.append(f"{one.letter_id}: it was replayed at {_when(one.replayed_at)}; --again sends it once more")
        elif (reason := why_not_replayable(one)) is not None:
            left_out.append(reason)
        else:
            waiting.append(one)
        if len(waiting) >= AT_ONCE:
            sent += len(box.replay(waiting, now_ms=time.time_ns() // 1_000_000))
            waiting = []
    if unknown:
        raise typer.BadParameter(f"no dead letter {', '.join(sorted(unknown))}; `headwater dead-letters list` names them")
    sent += len(box.replay(waiting, now_ms=time.time_ns() // 1_000_000))
    typer.echo(f"{sent} sent again")
    if left_out:
        typer.echo(f"{len(left_out)} left out:")
        for line in left_out if letter else left_out[:20]:
            typer.echo(f"  {line}")


def _when(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_ms / 1000))


def _wanted(letter: "DeadLetter", origin: str | None, reason: str | None) -> bool:
    return (origin is None or letter.origin == origin) and (reason is None or reason.casefold() in letter.reason.casefold())
