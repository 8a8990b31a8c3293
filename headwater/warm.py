"""Loaded by the process that our children are forked from, and by no other: all that is slow to import, before it is needed."""

import signal

from deploy.local.process import die_with_parent

# Left to itself it lives as long as any of its children does, and they end only when it does.
die_with_parent(signal.SIGKILL)

# First of the slow ones: Feast sets the environment in which prometheus_client, imported after it, keeps each count in a
# shared file, and a page's metrics then cost half a millisecond.
import prometheus_client  # noqa: E402

from headwater import wiring  # noqa: E402

__all__ = ["prometheus_client", "wiring"]
