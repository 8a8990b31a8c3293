"""Threads that allocate share the C library's arenas."""

import subprocess
import sys

import pytest

COUNT = """
import ctypes, re, sys, tempfile, threading
from headwater.arenas import share_arenas
if sys.argv[1] == "shared":
    share_arenas()
together = threading.Barrier(20)
def allocate():
    ctypes.CDLL(None).malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(20)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(len(re.findall("<heap nr=", file.read().decode())))
"""


def arenas(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's arenas")
def test_twenty_threads_share_two_arenas():
    assert arenas("shared") <= 2 < arenas("not shared")
