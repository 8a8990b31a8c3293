"""How many arenas the C library allocates from, which is what a process with many threads mostly costs."""

import ctypes

# glibc's number of the parameter, in malloc.h.
_M_ARENA_MAX = -8
# glibc makes eight a core, and each keeps what its busiest thread once needed: a clip's frames a perceive worker, for good.
# One would do for threads that hold Python's lock while they allocate; librdkafka, NumPy and gRPC do not always.
MOST = 2


def share_arenas() -> None:
    """Let all threads of this process allocate from `MOST` arenas; call it before most of them are started."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # Another C library than glibc has no arenas to share.
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, MOST)
