"""A way to the broker that outlives connections: each call is repeated until its reply is there.

Only calls that may be repeated go this way: those that change nothing, and the numbered ones
(docs/protocol.md, "Calls that are done once"). A broker that is killed, and comes back with
its journal, is noticed by the delay only.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from pyrotask.arena import Arena
from pyrotask.config import Settings
from pyrotask.errors import (
    AuthenticationFailed,
    ConnectError,
    KeyRequired,
    UnknownSession,
    VersionMismatch,
)
from pyrotask.remote.bulk_proxy import CALL_TIMEOUT_S, FIRST_PAUSE_S, LONGEST_PAUSE_S, BulkProxy

log = logging.getLogger("pyrotask.client")

FINAL = (KeyRequired, AuthenticationFailed, VersionMismatch)
"""The broker is there, and trying again cannot help."""


class Stopped(Exception):
    """The link was told to stop while a call was under way."""


class Link:
    """One connection at a time to one broker, by its lineage. For one thread; only `stop` is for others.

    Args:
        where: the broker's label or address.
        settings: how long to look for it, and with which key.
        lineage: None: connect now, to the broker that is there; else the first call connects, to this one.
        arena: for what goes this way; see `BulkProxy`.

    Raises:
        ConnectError: there is no broker now, or it does not let us in.
    """

    def __init__(
        self, where: str, settings: Settings, lineage: str | None = None, arena: Arena | None = None
    ) -> None:
        self._where = where
        self._settings = settings
        self._stop = threading.Event()
        self._proxy = BulkProxy(where, settings, connect=lineage is None, arena=arena)
        self._proxy.warn_of_python()
        self.lineage = lineage or self._proxy.lineage

    def call(self, method: str, *args: object, timeout_s: float | None = None) -> Any:
        """Call, again and again if need be, and return the reply.

        Args:
            method: a function of `remote.bulk`.
            args: its arguments.
            timeout_s: how long a living broker may take before its connection counts as broken.

        Raises:
            Stopped: `stop` was called.
            ConnectError: the broker has been away for `Settings.reconnect_timeout_s`, or does not let
                us in any more.
            UnknownSession: another broker has its place.
            PyrotaskError, TypeError, ValueError: as the function says.
        """
        breaks = 0
        while True:
            if self._stop.is_set():
                raise Stopped
            try:
                return self._proxy.call(method, *args, timeout_s=timeout_s)
            except FINAL:
                raise
            except ConnectError as error:
                breaks += 1
                log.info("%s", error)
            self._come_back(breaks)

    @property
    def wire(self) -> int:
        """The version of the protocol that is spoken, once it was connected."""
        return self._proxy.wire

    @property
    def is_ready(self) -> bool:
        """Whether `begin` merely sends: there is a connection, and nothing has to be said over it before."""
        return self._proxy.is_ready

    def begin(self, method: str, *args: object) -> None:
        """Send a call, over the connection that there is; then `end` must follow, with the same arguments.

        The one method that other threads may call, if they see to it that nobody else calls any.

        Raises:
            ConnectError: there is none, or it broke.
            TypeError: an argument cannot travel.
        """
        self._proxy.send((method, args))

    def end(self, method: str, *args: object) -> Any:
        """The reply to the call that was begun. If the connection broke, it is repeated, as by `call`."""
        try:
            return self._proxy.receive(method, CALL_TIMEOUT_S)
        except FINAL:
            raise
        except ConnectError as error:
            log.info("%s", error)
        self._come_back(1)
        return self.call(method, *args)

    def fileno(self) -> int:
        """The descriptor of the connection, -1 if there is none. Its end can be read, as a reply can."""
        return self._proxy.fileno()

    def call_once(self, method: str, *args: object, timeout_s: float) -> Any:
        """Call without repeating it, also after `stop`; only a broken connection is made anew, once."""
        try:
            return self._proxy.call(method, *args, timeout_s=timeout_s)
        except ConnectError:
            self._proxy.connect(timeout_s)
            self._check_lineage()
            return self._proxy.call(method, *args, timeout_s=timeout_s)

    def stop(self) -> None:
        """End a call that is under way, and all later ones, with `Stopped`. Thread-safe, idempotent."""
        self._stop.set()
        self._proxy.interrupt()

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._proxy.close()

    def _come_back(self, breaks: int) -> None:
        # A call that breaks each new connection must not do so in a hot loop.
        pause_s = 0.0 if breaks == 1 else min(FIRST_PAUSE_S * 2 ** (breaks - 2), LONGEST_PAUSE_S)
        if self._stop.wait(pause_s):
            raise Stopped
        try:
            self._proxy.reconnect(self._settings.reconnect_timeout_s, self._stop)
        except ConnectError:
            if self._stop.is_set():
                raise Stopped from None
            raise
        self._check_lineage()

    def _check_lineage(self) -> None:
        if self._proxy.lineage != self.lineage:
            self._proxy.close()
            raise UnknownSession(
                f"the broker of {self._where!r} at {self._proxy.location} is not the one that had our tasks: "
                "it was started anew, without the journal of the one before. What was not finished is lost: "
                f"submit it again; `pyrotask serve {self._where} --journal FOLDER` keeps it the next time"
            )
