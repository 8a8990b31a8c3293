"""Loopback ports: a free one, or the one that was asked for and is free."""

import socket

import psutil

LOOPBACK = "127.0.0.1"

# A port is bound only when its server starts: until then the system would give it out again.
_given: set[int] = set()


class PortTaken(OSError):
    """Another process listens on a configured port. The message says which process, where it can be seen."""


def choose(wanted: int, *, setting: str, host: str = LOOPBACK) -> int:
    """Return `wanted`, or any free port where it is 0.

    Raises:
        PortTaken: somebody listens there; `setting` is the option to change.
    """
    with socket.socket() as probe:
        # As servers do: a port whose last connections still linger in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted))
        except OSError as error:
            raise PortTaken(
                f"port {wanted} on {host} ({setting}) is taken by {_listener(wanted)}: "
                f"stop it, or set {setting} to another port (0 picks a free one)"
            ) from error
        port: int = probe.getsockname()[1]
    if wanted == 0 and port in _given:
        return choose(wanted, setting=setting, host=host)
    _given.add(port)
    return port


def _listener(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return "another user's process"
