"""Where a running stack answers, written down so that other commands find it."""

import fcntl
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses, host:port each; `vllm` is empty where nothing wants it.

    `embedded` names the servers that this stack started itself.
    """

    kafka: str
    redis: str
    triton_grpc: str
    triton_http: str
    vllm: str = ""
    api: str = ""
    embedded: tuple[str, ...] = ()


class AlreadyRunning(RuntimeError):
    """Another stack uses this folder."""


class Claim:
    """A folder held by one running stack, with its endpoints file.

    A file lock, and not a pid file: the kernel lets go of it however the holder ends.
    """

    def __init__(self, var: Path) -> None:
        folder = var / "run"
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "endpoints.json"
        self._lock = (folder / "lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise AlreadyRunning(
                f"a stack is running in {var} already: stop it first, or use another folder (HEADWATER_VAR)"
            ) from None

    def publish(self, endpoints: Endpoints) -> None:
        """Write `endpoints` for `running` to find."""
        draft = self._file.with_suffix(".tmp")
        draft.write_bytes(msgspec.json.encode(endpoints))
        draft.replace(self._file)

    def release(self) -> None:
        """Let another stack have the folder."""
        self._file.unlink(missing_ok=True)
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def running(var: Path) -> Endpoints | None:
    """Return the endpoints of the stack that runs in `var`, or None where none does."""
    try:
        with (var / "run" / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        try:
            return msgspec.json.decode((var / "run" / "endpoints.json").read_bytes(), type=Endpoints)
        except FileNotFoundError:
            return None
