"""What recovery snapshots still hold of who was forgotten, overwritten: `python -m streams.flows.scrub FOLDER`.

Bytewax keeps a line for each key that ever had state, and SQLite keeps the bytes of what was deleted until it needs their
place. Both go here: the lines of keys without state are deleted, and each file is written anew without its free space.

It runs in a process of its own: two SQLite libraries in one process, Bytewax's and Python's, would undo each other's locks.
"""

import logging
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

# Bytewax waits five seconds for a file that is locked, and then gives up, and with it the flow.
LOCKED_AT_MOST_S = 3.0
# Left in a folder whose files take longer: they are written anew before the flow starts next.
DUE = "scrub-due"
# Snapshots until a deletion is committed and the ones before it are let go of.
SETTLED_AFTER = 6
CHECK_EVERY_STEPS = 50_000

# Set whenever somebody was forgotten by the flow that runs in this process.
FORGOTTEN = threading.Event()

_ALONE = """
DELETE FROM snaps WHERE ser_change IS NULL AND NOT EXISTS (
  SELECT 1 FROM snaps AS other
  WHERE other.step_id = snaps.step_id AND other.state_key = snaps.state_key AND other.snap_epoch != snaps.snap_epoch
)
"""


class TooSlow(Exception):
    """A file could not be written anew while its flow waits: it is too large, or the machine too busy."""


def scrub(folder: Path, *, locked_at_most_s: float | None = LOCKED_AT_MOST_S) -> None:
    """Overwrite what the snapshots in `folder` hold of keys without state. None: take as long as it takes.

    Raises:
        TooSlow: the flow would have waited too long; what was begun is undone.
        sqlite3.OperationalError: a file is locked, or the disk takes no more.
    """
    for path in sorted(folder.glob("*.sqlite3")):
        with closing(sqlite3.connect(path, timeout=2.0, isolation_level=None)) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(_ALONE)
            deadline = None if locked_at_most_s is None else time.monotonic() + locked_at_most_s
            if deadline is not None:
                connection.set_progress_handler(lambda end=deadline: int(time.monotonic() > end), CHECK_EVERY_STEPS)  # type: ignore[misc]
            try:
                connection.execute("VACUUM")
            except sqlite3.OperationalError as error:
                if deadline is not None and time.monotonic() > deadline:
                    raise TooSlow(f"{path}: {path.stat().st_size / 1e6:.0f} MB") from error
                raise
            connection.set_progress_handler(None, 0)
            _empty_log(connection, path)


def _empty_log(connection: sqlite3.Connection, path: Path) -> None:
    """Move the write-ahead log into the file and cut it off: it has the old pages, too."""
    deadline = time.monotonic() + LOCKED_AT_MOST_S
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        if time.monotonic() > deadline:
            raise TooSlow(f"{path}: its log is in use")
        time.sleep(0.01)


def scrub_what_is_due(folder: Path) -> None:
    """Scrub a folder that was too large to be while its flow ran; nobody else may have its files open."""
    if (folder / DUE).exists():
        log.info("%s: overwriting what is left of who was forgotten", folder)
        scrub(folder, locked_at_most_s=None)
        (folder / DUE).unlink()


@contextmanager
def scrubbing(folder: Path, *, snapshot_ms: int, every_s: float) -> Iterator[None]:
    """Scrub `folder` some snapshots after somebody was forgotten, at most once in `every_s`, while the block runs."""
    ending = threading.Event()

    def run() -> None:
        while not ending.is_set():
            if not FORGOTTEN.wait(1.0):
                continue
            # Who is forgotten from here on, and has not settled when this run begins, is the next one's.
            FORGOTTEN.clear()
            ending.wait(SETTLED_AFTER * snapshot_ms / 1000)
            try:
                done = ending.is_set() or _in_a_process(folder)
            except OSError as error:
                # No room on the disk, or no process to be had: later there may be.
                log.warning("%s can't be scrubbed now: %s", folder, error)
                done = False
            if not done:
                FORGOTTEN.set()
            ending.wait(every_s)

    thread = threading.Thread(target=run, name="scrub", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(1.0)


def _in_a_process(folder: Path) -> bool:
    command = [sys.executable, "-m", __name__, str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        (folder / DUE).touch()
        log.warning("%s still holds bytes of who was forgotten, and is tried again: %s", folder, done.stderr.strip()[-300:])
    else:
        (folder / DUE).unlink(missing_ok=True)
    return done.returncode == 0


if __name__ == "__main__":
    try:
        scrub(Path(sys.argv[1]))
    except (TooSlow, sqlite3.Error) as failure:
        sys.exit(f"{type(failure).__name__}: {failure}")
