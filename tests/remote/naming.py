"""What the tests of names and places share: labels, and real peers of every temper."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import Pyro5.api
from hypothesis import strategies as st

from pyrotask.remote.connection_file import ConnectionFile
from pyrotask.remote.labels import object_name
from tests.daemons import serve_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator


OLD_SCRIPT_LABEL = "msd_Sun_Nov_22_10:10:09_2026"
SHORT_S = 0.3
"""What a silent peer may cost here: no test waits for something to arrive in that time."""

LABELS = st.text(st.characters(codec=None), min_size=1)
NASTY_LABELS = [
    "a b",
    "me@host",
    "100%",
    "%40",
    "a/b",
    "..",
    ".",
    ".hidden",
    "µ-ß",
    "\ud800",
    "a\nb",
    "CON:1",
    "x" * 999,
]


@contextlib.contextmanager
def serving_pyro(daemon: Any) -> Iterator[Any]:
    """Let a real Pyro daemon serve in a thread."""
    thread = serve_in_thread(daemon)
    try:
        yield daemon
    finally:
        daemon.shutdown()
        thread.join()
        daemon.close()


@Pyro5.api.expose
class Manager:
    """What a broker registers: for these tests, that it is there is enough."""


@contextlib.contextmanager
def pyro_broker(label: str, daemon_class: type = Pyro5.api.Daemon) -> Iterator[str]:
    """Run a Pyro server that has the label's object; lend its URI."""
    with serving_pyro(daemon_class(host="127.0.0.1")) as daemon:
        yield str(daemon.register(Manager, object_name(label)))


class KeyedDaemon(Pyro5.api.Daemon):  # type: ignore[misc]
    """A broker that lets in nobody."""

    def validateHandshake(self, conn: object, data: object) -> object:
        raise PermissionError("a key is asked for")


@contextlib.contextmanager
def name_server_process() -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run ``pyro5-ns`` in a process of its own, which a test can stop or kill."""
    command = [sys.executable, "-u", "-m", "Pyro5.nameserver", "-n", "127.0.0.1", "-p", "0", "-x"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = next(line for line in process.stdout if line.startswith("URI"))
            yield int(address.rpartition(":")[2]), process
        finally:
            process.kill()


def file_of(label: str, **changes: Any) -> ConnectionFile:
    plain = ConnectionFile(
        label=label, host="127.0.0.1", port=5000, pid=os.getpid(), hostname=socket.gethostname(),
        lineage="0123abcd", started_at=1.5, version="1.0", key_file=None,
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)
