"""Runs one dataflow until it is told to stop, with recovery: state and offsets are snapshotted together."""

import gc
import logging
from datetime import timedelta
from pathlib import Path

from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from streams.flows.stopping import stop_on_signals

log = logging.getLogger(__name__)

# Each is a file that is synced at each snapshot: more let more workers write at once, and make each snapshot wait longer.
RECOVERY_PARTITIONS = 2


def run(flow: Dataflow, *, workers: int, snapshot_ms: int, recovery_dir: Path) -> None:
    """Run `flow` until SIGTERM or Ctrl-C; then work off what was read, snapshot, close and return.

    Resumes from `recovery_dir` if a run was there before. What came after the last snapshot is read again from Kafka,
    so a kill -9 at any time changes no feature.
    """
    recovery_dir.mkdir(parents=True, exist_ok=True)
    if not any(recovery_dir.iterdir()):
        init_db_dir(recovery_dir, RECOVERY_PARTITIONS)
    stop_on_signals()
    # The state of a hundred thousand viewers is millions of objects and no cycles: at Python's thresholds the collector
    # walks them again and again, and takes more time than the flow.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    log.info("flow %s runs with %d workers", flow.flow_id, workers)
    cli_main(
        flow,
        workers_per_process=workers,
        epoch_interval=timedelta(milliseconds=snapshot_ms),
        recovery_config=RecoveryConfig(str(recovery_dir)),
    )
    log.info("flow %s stopped", flow.flow_id)
