"""`headwater dead-letters`: what could not be used and why, and another try for it after a fix."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.events import DeadLetter
    from streams.kafka import KafkaSettings

dead_letters = typer.Typer(help="Input that could not be used: list it, or send it again after a fix.", no_args_is_help=True)

# A broker's high watermark may lag behind what it holds: the end is where nothing more came for this long.
QUIET_S = 0.5
READ_TIMEOUT_S = 60.0
# A letter's payload is cut at this length; sent again it would only be another bad event.
LONGEST_PAYLOAD = 600_000

Origin = Annotated[str | None, typer.Option("--origin", help="only from this topic: uploads, interactions, …")]


@dead_letters.command("list")
def list_letters(
    origin: Origin = None,
    reason: Annotated[str | None, typer.Option(help="only where the reason contains this text")] = None,
    limit: Annotated[int, typer.Option(min=1, help="the newest so many")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line, payload included")] = False,
) -> None:
    """Show dead letters, newest last: where each came from, and why it could not be used."""
    from rich.console import Console
    from rich.table import Column, Table

    from headwater.settings import load
    from streams.codec import encode

    found = read(load().kafka)
    letters = [letter for letter in found if _wanted(letter, origin, reason)]
    if as_json:
        for letter in letters[-limit:]:
            typer.echo(encode(letter))
        return
    # An id is there to be copied, and a reason to be read: on a narrow terminal the others give way.
    id_column, reason_column = Column("id", no_wrap=True, overflow="ignore"), Column("reason", overflow="fold", min_width=30)
    table = Table(id_column, "when", "flow", reason_column, Column("payload", no_wrap=True, overflow="ellipsis"), box=None)
    for letter in letters[-limit:]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(letter.failed_at / 1000))
        start = letter.payload[:60].decode("utf-8", "backslashreplace")
        table.add_row(letter.letter_id, when, letter.flow, letter.reason, start)
    console = Console()
    console.print(table)
    console.print(f"{min(limit, len(letters))} of {len(found)} dead letters; times are UTC")


@dead_letters.command("replay")
def replay_letters(
    letter: Annotated[list[str] | None, typer.Option("--id", help="this one, as `list` names it; may be repeated")] = None,
    origin: Origin = None,
    everything: Annotated[bool, typer.Option("--all", help="every dead letter")] = False,
) -> None:
    """Send dead letters to the topics they came from. What was counted already counts once all the same."""
    from headwater.settings import load

    if not (letter or origin or everything):
        raise typer.BadParameter("say which: --id, --origin or --all")
    kafka = load().kafka
    wanted = [one for one in read(kafka) if (not letter or one.letter_id in letter) and _wanted(one, origin, None)]
    unknown = set(letter or ()) - {one.letter_id for one in wanted}
    if unknown:
        raise typer.BadParameter(f"no dead letter {', '.join(sorted(unknown))}; `headwater dead-letters list` names them")
    whole = [one for one in wanted if 0 < len(one.payload) < LONGEST_PAYLOAD]
    send_again(kafka, whole)
    typer.echo(f"{len(whole)} sent again")
    if len(whole) < len(wanted):
        typer.echo(f"{len(wanted) - len(whole)} left out: their payload is empty or was cut at {LONGEST_PAYLOAD} bytes")


def read(kafka: "KafkaSettings") -> "list[DeadLetter]":
    """Return every dead letter there is, oldest first.

    Raises:
        ConnectionError: no broker answers.
        TimeoutError: the topic could not be read to its end.
    """
    from streams.follower import Followed, Follower
    from streams.kafka import check_broker
    from streams.topics import DEAD_LETTERS

    check_broker(kafka, timeout_s=10.0)
    letters: dict[str, DeadLetter] = {}
    newest_s = time.monotonic()

    def keep(batch: list[Followed]) -> None:
        nonlocal newest_s
        newest_s = time.monotonic()
        letters.update((followed.event.letter_id, followed.event) for followed in batch if followed.event is not None)

    follower = Follower(kafka, [DEAD_LETTERS], keep, name="dead-letters").start(timeout_s=READ_TIMEOUT_S)
    try:
        newest_s = time.monotonic()
        while (wait_s := newest_s + QUIET_S - time.monotonic()) > 0:
            time.sleep(wait_s)
    finally:
        follower.close()
    return list(letters.values())


def send_again(kafka: "KafkaSettings", letters: "Iterable[DeadLetter]") -> None:
    """Produce each letter's payload, with its key, to the topic it came from.

    Raises:
        ConnectionError: the broker did not take all of them.
    """
    from confluent_kafka import Producer

    from streams.kafka import producer_config

    producer = Producer(producer_config(kafka))
    for letter in letters:
        producer.produce(letter.origin, letter.payload, key=letter.key)
        producer.poll(0)
    if left := producer.flush(30.0):
        raise ConnectionError(f"{left} dead letters were not taken by the broker within 30 s; send them again")


def _wanted(letter: "DeadLetter", origin: str | None, reason: str | None) -> bool:
    return (origin is None or letter.origin == origin) and (reason is None or reason.casefold() in letter.reason.casefold())
