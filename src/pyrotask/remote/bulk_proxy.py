"""`BulkProxy`: how our own programs call `remote.bulk`, and find the broker again when it is gone.

It never repeats a call on its own: whether that is safe, only the caller knows.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import Pyro5.errors

from pyrotask.arena import Arena, NoSegment, Opening, Reader, Recycling, Segment, Vanished
from pyrotask.config import Settings
from pyrotask.errors import AuthenticationFailed, BrokerBroken, ConnectError, KeyRequired, VersionMismatch
from pyrotask.remote import bulk, discovery, refusals, versions
from pyrotask.remote.keyed_proxy import KeyedProxy, key_is_a_must
from pyrotask.remote.lean import LeanConnection

if TYPE_CHECKING:
    import threading

    from pyrotask.remote.addresses import Address

log = logging.getLogger("pyrotask.proxy")

CALL_TIMEOUT_S = 30.0
"""How long a call that does not wait may take before the broker counts as gone: it may be
writing a long journal, or be reading a gigabyte from somebody else."""

FIRST_HELLO_S = 3.0
"""How long the first try to reconnect waits for the broker to say hello; the next ones wait longer, up
to `CALL_TIMEOUT_S`. A dead broker's port may have got another owner, who takes connections and
says nothing, while the broker is back elsewhere."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
"""Between two tries to reconnect: at once for a short break, gently for a long one."""

_CHANCE = secrets.SystemRandom()
"""Not the `random` module: its sequence belongs to the user's script, who may have seeded it, and forked
children would all draw the same."""

VAIN_CONNECTIONS = 3
"""After so many in a row, over which nothing in shared memory could be read, bytes are asked for."""


class BulkProxy:
    """A connection to the bulk object of a broker.

    Not thread-safe: used by one thread at a time. Use it with ``with``, or `close` it.

    Args:
        where: the broker's label or address, see `discovery.find`.
        settings: None: `Settings.load()`.
        connect: False: there is no connection until `reconnect` has made one.
        arena: where the caller keeps what he sends; it serves this connection only.
        recycling: gives memory for large values that come; None: each gets new memory.

    Attributes:
        label, lineage: the broker's; the lineage tells whether numbers from before a
            reconnect still mean the same.
        location: where it was found.
        has_journal: whether the broker's work outlives it: then it is worth waiting for its next run.
        wire: the version of the interface that both sides speak.
        python: the version of the broker's Python; see `warn_of_python`.

    Raises:
        BrokerNotFound, ConnectError: it cannot be reached.
        KeyRequired, AuthenticationFailed: it can, and does not let us in.
        VersionMismatch: it runs a version that we cannot talk to.
    """

    def __init__(
        self,
        where: str,
        settings: Settings | None = None,
        *,
        connect: bool = True,
        arena: Arena | None = None,
        recycling: Recycling | None = None,
    ) -> None:
        self._where = where
        self._settings = settings or Settings.load()
        self._proxy: KeyedProxy | None = None
        self._lean: LeanConnection | None = None
        """The same connection, for our calls."""
        self._arena = arena
        self._buffer = bytearray if recycling is None else recycling.buffer
        self._vain_connections = 0
        """In a row, which broke since what the broker referred to could not be read."""
        self._shown: Segment | None = None
        """The segment that we have shown over this connection."""
        self.label = ""
        self.lineage = ""
        self.location = ""
        self.has_journal = False
        self.wire = versions.WIRES.newest
        self.python = ""
        if connect:
            self.connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def call(self, method: str, *args: object, timeout_s: float | None = None) -> Any:
        """Call a function of `remote.bulk`, and return what it returns.

        ``timeout_s``: how long the broker may take; None: `CALL_TIMEOUT_S`.

        Raises:
            ConnectError: the connection broke, or the broker does. Whether the call was
                executed is unknown; the connection is closed: `reconnect`.
            PyrotaskError, TypeError, ValueError: as the function says; the connection lives on.
        """
        try:
            return self._open().call(method, args, CALL_TIMEOUT_S if timeout_s is None else timeout_s)
        except Exception as error:
            self._explain(method, error)
            raise

    @property
    def is_ready(self) -> bool:
        """Whether `send` merely sends: it is connected, and our arena is known to the broker."""
        is_known = self._arena is None or self._arena.segment is self._shown
        return self._lean is not None and is_known

    def send(self, *calls: tuple[str, tuple[object, ...]]) -> None:
        """Send calls, each a method and its arguments; the broker does them in order. See `receive`.

        Raises as `call` does when the connection breaks.
        """
        try:
            self._open().send(*calls)
        except Exception as error:
            self._explain(calls[0][0], error)
            raise

    def receive(self, method: str, timeout_s: float) -> Any:
        """The reply to the first call that was sent and has none yet; ``method`` is its name.

        Raises as `call` does.
        """
        try:
            return self._open().receive(timeout_s)
        except Exception as error:
            self._explain(method, error)
            raise

    def _open(self) -> LeanConnection:
        if self._lean is None:
            raise ConnectError(f"the connection to {self._where!r} is closed: call reconnect first")
        if self._arena is not None and self._arena.segment is not self._shown and self._lean.is_idle:
            self._show(self._lean, self._arena.segment)
        return self._lean

    def _show(self, lean: LeanConnection, segment: Segment | None) -> None:
        """Let the broker open our segment. If it cannot, all goes over the connection."""
        self._shown = segment
        if segment is not None and lean.reader is not None:
            named = (os.getpid(), segment.descriptor, segment.identity)
            lean.shared = segment.identity if lean.call("share", named, CALL_TIMEOUT_S) else None

    def _explain(self, method: str, error: Exception) -> None:
        """Raise what it means for our caller, unless it is for him as it is."""
        at = f"broker {self._where!r} at {self.location}"
        if isinstance(error, BrokerBroken):
            self.close()
            raise ConnectError(f"{at} has stopped: {error}") from error
        if isinstance(error, (Pyro5.errors.CommunicationError, ConnectionError)) and self._lean is not None:
            self._note_vanished(self._lean, error)
            self.close()
            raise ConnectError(f"the connection to {at} broke in {method} ({error})") from error
        if isinstance(error, AttributeError):  # of the broker
            raise VersionMismatch(
                f"the {at} is of an older pyrotask (interface {self.wire}), and cannot {method}: there, type "
                "`pip install -U pyrotask`, and start it again"
            ) from error

    def fileno(self) -> int:
        """The descriptor of the connection, -1 if it is closed.

        Between two calls it becomes readable when the broker has closed the connection: with a
        selector, that is seen at once.
        """
        connection = None if self._proxy is None else self._proxy._pyroConnection  # noqa: SLF001
        return -1 if connection is None else int(connection.sock.fileno())

    def interrupt(self) -> None:
        """Break the connection from another thread: a call that waits ends with a ConnectError."""
        with contextlib.suppress(OSError, AttributeError):  # it may be closed at this very moment
            self._proxy._pyroConnection.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]  # noqa: SLF001

    def connect(self, hello_s: float = CALL_TIMEOUT_S) -> None:
        """Find the broker and connect to it: once. Raises as the constructor does.

        ``hello_s``: how long it may take to say hello.
        """
        self.close()
        address = discovery.find(self._where, self._settings)
        try:
            self._connect_to(address, hello_s)
        except ConnectError as error:
            # One that says nothing is busy, and the same one over TCP.
            if address.near is None or isinstance(error.__cause__, Pyro5.errors.TimeoutError):
                raise
            log.debug("%s is no way to the broker, trying %s: %s", address.near, address.location, error)
            self._connect_to(replace(address, near=None), hello_s)

    def _connect_to(self, address: Address, hello_s: float) -> None:
        proxy = KeyedProxy(
            f"PYRO:{bulk.OBJECT_ID}@{address.shortest}",
            address.key_file,
            key_is_a_must=key_is_a_must(address),
        )
        proxy._pyroSerializer = "msgpack"  # noqa: SLF001
        proxy._pyroMethods = set(bulk.CALLS)  # noqa: SLF001 - so that it does not ask for them
        proxy._pyroTimeout = hello_s  # noqa: SLF001
        try:
            hello = proxy._pyroInvoke("hello", (), {})  # noqa: SLF001
            wire = refusals.common_wire(address, hello)
            refusals.check_label(address, hello)
            reader = self._reader_of(hello)
            if reader is not None:
                proxy._pyroInvoke("share", (os.getpid(), 0, b""), {})  # noqa: SLF001
        except (Pyro5.errors.CommunicationError, ConnectionError) as error:
            proxy._pyroRelease()  # noqa: SLF001
            if isinstance(error, ConnectError):
                raise
            raise refusals.unreachable(self._where, address, error) from error
        except AttributeError as error:
            proxy._pyroRelease()  # noqa: SLF001
            raise refusals.mismatch(address, "without this interface", "") from error
        except BaseException:
            proxy._pyroRelease()  # noqa: SLF001
            raise
        self._proxy = proxy
        self._lean = LeanConnection(proxy._pyroConnection.sock, bulk.OBJECT_ID)  # noqa: SLF001
        self._lean.reader, self._shown = reader, None
        self._lean.shared = None if reader is None else b""
        self._lean.most_bytes = self._settings.max_message_bytes
        if self._arena is not None:
            self._arena.serve(None if reader is None else reader.broker)
        self.label, self.lineage, self.location = hello["label"], hello["lineage"], address.location
        self.has_journal = hello.get("has_journal", False) is True
        self.wire, self.python = wire, str(hello.get("python", ""))

    def _reader_of(self, hello: dict[str, Any]) -> Reader | None:
        """How to read what the broker shares, if it is on this host."""
        plate = hello.get("arena")
        if plate is None or not self._settings.arena_bytes or self._vain_connections >= VAIN_CONNECTIONS:
            return None
        try:
            return Reader(Opening(*plate), self._buffer)
        except (TypeError, NoSegment) as error:
            log.debug("large values go over the connection: %s", error)
            return None

    def _note_vanished(self, lean: LeanConnection, error: Exception) -> None:
        if isinstance(error.__cause__, Vanished) and lean.reader is not None:
            self._vain_connections = 0 if lean.reader.has_fetched else self._vain_connections + 1

    def reconnect(self, timeout_s: float | None = None, stop: threading.Event | None = None) -> None:
        """Find the broker again, wherever it is now, and connect: as often as it takes.

        Blocks. Between two tries are pauses that grow, each of a random length, so that a
        thousand workers do not come back at the same moment.

        Args:
            timeout_s: after how long to give up; None: never.
            stop: give up when it is set.

        Raises:
            KeyRequired, AuthenticationFailed, VersionMismatch: it is there, and trying again
                cannot help.
            ConnectError: given up, with the reason of the last try.
        """
        give_up_at = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s, hello_s = FIRST_PAUSE_S, FIRST_HELLO_S
        while True:
            try:
                self.connect(hello_s)
                return
            except (KeyRequired, AuthenticationFailed, VersionMismatch):
                raise
            except (ConnectError, BrokerBroken) as error:
                if give_up_at is not None and time.monotonic() >= give_up_at:
                    raise ConnectError(
                        f"gave up after {timeout_s:g} s without broker {self._where!r}: {error}"
                    ) from error
                if _wait(pause_s * _CHANCE.uniform(0.5, 1.5), stop):
                    raise ConnectError(f"told to stop while broker {self._where!r} was away") from error
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                if isinstance(error.__cause__, Pyro5.errors.TimeoutError):
                    hello_s = min(2 * hello_s, CALL_TIMEOUT_S)

    def warn_of_python(self) -> None:
        """Log a warning if the broker's Python is another one, with what does not work then.

        For those who send or run functions: workers, and clients that submit.
        """
        warning = versions.python_warning(self.label, self.python) if self.python else None
        if warning is not None:
            log.warning("%s", warning)

    def close(self) -> None:
        """Close the connection. Idempotent; `reconnect` opens another."""
        proxy, self._proxy, self._lean = self._proxy, None, None
        if proxy is not None:
            proxy._pyroClaimOwnership()  # noqa: SLF001
            proxy._pyroRelease()  # noqa: SLF001


def _wait(seconds: float, stop: threading.Event | None) -> bool:
    if stop is not None:
        return stop.wait(seconds)
    time.sleep(seconds)
    return False
