"""Runs one dataflow until it is told to stop, with recovery: state and offsets are snapshotted together."""

import fcntl
import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from streams.flows.clock_watch import watching
from streams.flows.scrub import scrub_what_is_due, scrubbing
from streams.flows.stopping import stop_on_signals

log = logging.getLogger(__name__)

# Each is a file that is synced at each snapshot: more let more workers write at once, and make each snapshot wait longer.
RECOVERY_PARTITIONS = 2


class AlreadyRuns(RuntimeError):
    """Another process runs the flow."""


def run(
    flow: Dataflow, *, workers: int, snapshot_ms: int, recovery_dir: Path, cluster: str = "", scrub_every_s: float = 60.0
) -> None:
    """Run `flow` until SIGTERM or Ctrl-C; then work off what was read, snapshot, close and return.

    A clock that is set back ends it too, with status 1: whoever keeps it alive starts it again.

    Resumes from `recovery_dir` if a run was there before. What came after the last snapshot is read again from Kafka,
    so a kill -9 at any time changes no feature. `cluster` names the Kafka cluster: offsets of another one mean nothing.

    Raises:
        AlreadyRuns: another process runs this flow from the same folder.
    """
    with _held(recovery_dir):
        _prepare(recovery_dir / cluster)
        scrub_what_is_due(recovery_dir / cluster)
        _run(flow, workers, snapshot_ms, recovery_dir / cluster, scrub_every_s)


def _run(flow: Dataflow, workers: int, snapshot_ms: int, folder: Path, scrub_every_s: float) -> None:
    stop_on_signals()
    # The state of a hundred thousand viewers is millions of objects and no cycles: at Python's thresholds the collector
    # walks them again and again, and takes more time than the flow.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    log.info("flow %s runs with %d workers", flow.flow_id, workers)
    with watching(_end_for_the_clock), scrubbing(folder, snapshot_ms=snapshot_ms, every_s=scrub_every_s):
        cli_main(
            flow,
            workers_per_process=workers,
            epoch_interval=timedelta(milliseconds=snapshot_ms),
            recovery_config=RecoveryConfig(str(folder)),
        )
    log.info("flow %s stopped", flow.flow_id)


def _end_for_the_clock(by_ms: int) -> None:
    # Bytewax asks a source again at a time of day: set back by an hour, it would read nothing for an hour, nor hear of a stop.
    log.error("the clock was set back by %.0f s: this process ends, and its next run goes by the new time", by_ms / 1000)
    os._exit(1)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process: two that snapshot into one would each write over the other's viewers."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRuns(
                f"a process runs this flow from {folder} already: stop it first, or give it more workers (flows.workers)"
            ) from error
        yield


def _prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob("*.sqlite3")):
        # Whole or not at all: on a full disk a part of it would be taken for all of it from then on.
        with TemporaryDirectory(dir=folder, prefix="new-") as new:
            init_db_dir(Path(new), RECOVERY_PARTITIONS)
            for part in sorted(Path(new).iterdir()):
                part.replace(folder / part.name)
