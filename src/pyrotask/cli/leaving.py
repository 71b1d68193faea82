"""Waiting until a broker that was terminated has gone: then its label is free for the next one."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from typing import TYPE_CHECKING

from pyrotask.errors import PyrotaskError

if TYPE_CHECKING:
    from pyrotask.config import Settings
    from pyrotask.remote.bulk_proxy import BulkProxy

CLOSING_S = 15.0
"""How long a broker that serves no more may take to close its journal: then its process ends. But a program
of the user's own that has served a label may run for as long as it likes."""

HELLO_S = 5.0
"""How long a broker may take to say that it is still there."""

LOOK_S = 0.02
"""How often is looked for what nobody tells."""


class Leaving:
    """A broker that will go, as it was told.

    Args:
        proxy: connected to it. Make this before the broker is told to go.
        settings: where its connection file is.
    """

    def __init__(self, proxy: BulkProxy, settings: Settings) -> None:
        self._proxy = proxy
        self._pid = _process_of(proxy, settings) if proxy.has_journal else None
        self._closed_by: float | None = None
        """When its journal is closed, at the latest; None: it serves yet."""

    def wait(self, timeout_s: float) -> bool:
        """Block until another broker may have its label, and its journal. False: not within the timeout."""
        until = time.monotonic() + timeout_s
        while _is_open(self._proxy, until) or self._is_still_there():
            if time.monotonic() >= until:
                return False
        if self._closed_by is None:
            self._closed_by = time.monotonic() + CLOSING_S
        return (
            self._pid is None
            or _ends(self._pid, min(until, self._closed_by))
            or time.monotonic() >= self._closed_by
        )

    def _is_still_there(self) -> bool:
        """The connection is closed. Whether for another reason: then there is a new one."""
        try:
            self._proxy.connect(HELLO_S)
            return bool(self._proxy.call("hello").get("terminated"))
        except PyrotaskError:  # nobody is there, or somebody else, who may want a key
            return False


def _process_of(proxy: BulkProxy, settings: Settings) -> int | None:
    """Its process, if that is on this machine, and another one than ours."""
    from pyrotask.remote.connection_file import ConnectionFile

    with contextlib.suppress(OSError, ValueError):
        file = ConnectionFile.read(settings.runtime_dir, proxy.label)
        is_here = file.hostname == socket.gethostname() and file.lineage == proxy.lineage
        return file.pid if is_here and file.pid != os.getpid() else None
    return None


def _is_open(proxy: BulkProxy, until: float) -> bool:
    """Block until the broker closes the connection (or the time is over); whether it has not."""
    descriptor = proxy.fileno()
    if descriptor < 0:
        return False
    readable, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
    return not readable


def _ends(pid: int, until: float) -> bool:
    """Block until the process has ended, or the time is over; whether it has ended."""
    if not hasattr(os, "pidfd_open"):  # elsewhere than on Linux
        return _is_seen_to_end(pid, until)
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ended, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
    finally:
        os.close(descriptor)
    return bool(ended)


def _is_seen_to_end(pid: int, until: float) -> bool:
    while os.name == "posix":  # elsewhere, to look at a process so is to end it
        try:
            os.kill(pid, 0)
        except OSError:  # there is none, or one of somebody else by now
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(LOOK_S)
    return True
