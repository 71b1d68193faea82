"""The event loop's thread: the listening socket, all connections, and what they share.

The loop owns sockets, not state: whatever is to be done goes through the engine, under its
one lock, for microseconds. Nothing here ever waits; what takes long is an errand of a thread.

Others reach into the loop by `post` only.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import TYPE_CHECKING, Any, TypeVar

from pyrotask.arena import Shelf
from pyrotask.config import Settings
from pyrotask.engine import Engine
from pyrotask.errors import ConnectError
from pyrotask.remote.batch import BatchRun
from pyrotask.remote.blocks_on_wire import loader
from pyrotask.remote.connection import Connection
from pyrotask.remote.errands import Errands
from pyrotask.remote.inbox import Shared
from pyrotask.remote.loops import accepted_at_once, new_loop, sends_at_once
from pyrotask.remote.os_sockets import BACKLOG
from pyrotask.remote.serializing import make_codecs
from pyrotask.remote.services import Service

if TYPE_CHECKING:
    from pyrotask.reference import Origin
    from pyrotask.remote.daemon import PyroDaemon
    from pyrotask.remote.turn import Turn

log = logging.getLogger(__name__)

T = TypeVar("T")

NEWCOMERS = 256
"""Connections above the bound that are told that there is no room; more are just closed."""

LARGE_THREADS = 2
"""Threads for large values: they need the interpreter's lock most of the time anyway."""


class Deferring:
    """While it is entered, what is posted waits for its end, and is then done at once."""

    __slots__ = ("_deliver", "_mail", "is_on")

    def __init__(self, deliver: Callable[[], None], mail: Sized) -> None:
        self._deliver = deliver
        self._mail = mail
        self.is_on = False

    def __enter__(self) -> None:
        self.is_on = True

    def __exit__(self, *_: object) -> None:
        self._deliver()
        self.is_on = False
        if self._mail:  # of a finalizer, which Python called between these lines
            self._deliver()


ACCEPTING_TURNS = 100
"""For how many turns of the loop a stop waits for those who were accepted in the turn before."""


class Hub:
    """See the module's text.

    Args:
        engine: what the services' requests are done by.
        settings: the bounds.
        label: the broker's label.
        key: the broker's key; None: it asks for none.
        services: what is served by the loop itself, by object id.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        label: str,
        key: bytes | None,
        services: Mapping[str, Service],
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.label = label
        self.key = key
        self.services = services
        self.daemon: PyroDaemon
        """Pyro's own daemon, for all other objects. Set before the start."""
        self.on_died: Callable[[BaseException], None] = lambda _error: None
        """Called in the loop's thread, at its end, if it ended by an error."""
        self.loop = new_loop(settings.event_loop)
        self.sends_at_once = sends_at_once(self.loop)
        self.shared = Shared()
        self._mail: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.deferring = Deferring(self._deliver, self._mail)
        self.unsent: set[Turn] = set()
        """Turns that have something handed out which is not on its way yet."""
        self._connections: set[Connection] = set()
        self._newcomers: dict[Connection, float] = {}
        """Who has not been let in yet, and by when he has to be; the oldest first."""
        self._sweeper: asyncio.TimerHandle | None = None
        self._large = Errands("pyrotask-large", LARGE_THREADS)
        self.shelf = Shelf(self._do_large) if settings.arena_bytes else None
        """What clients on this host share with us; None: nothing."""
        self.codecs = make_codecs(loader(self.shelf, settings.max_message_bytes))
        self._rung = False
        self._delivering = False
        self._thread: threading.Thread | None = None
        self._thread_id: int | None = None
        self._servers: list[asyncio.Server] = []
        self._stopping = False

    # --- start and stop -------------------------------------------------------------------

    def start(self, listeners: Iterable[socket.socket]) -> None:
        """Serve what connects to these sockets, in a thread of our own. Returns when it does."""
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(listeners, ready), name="pyrotask-loop", daemon=True
        )
        self._thread.start()
        try:
            ready.wait()
        except BaseException:  # Ctrl-C
            ready.wait()  # some milliseconds: what is half started cannot be stopped
            self.stop(0.0)
            raise
        if not self._servers:
            raise RuntimeError("the event loop could not be started: see the log")
        self.engine.watchdog.judge_through(self._judge_soon)

    def stop(self, timeout_s: float) -> None:
        """Close all connections, and end the thread. Idempotent; not from the loop's own thread.

        Blocks until clients have what was written to them, at most for the timeout, and some
        milliseconds more.
        """
        thread = self._thread
        if thread is None or self.is_current_thread():
            return
        self.engine.watchdog.judge_through(None)
        self.post(self._begin_stop, timeout_s)
        thread.join()
        self._large.stop()
        if self.shelf is not None:
            self.shelf.close()

    def is_current_thread(self) -> bool:
        """Whether the caller runs in the loop's thread."""
        return threading.get_ident() == self._thread_id

    def _run(self, listeners: Iterable[socket.socket], ready: threading.Event) -> None:
        loop = self.loop
        self._thread_id = threading.get_ident()
        try:
            self._servers = [loop.run_until_complete(self._serve(listener)) for listener in listeners]
            loop.call_soon(ready.set)
            loop.run_forever()
        except BaseException as error:
            log.critical("the event loop of the broker %r has ended", self.label, exc_info=True)
            self.on_died(error)
        finally:
            ready.set()
            for turn in list(self.unsent):
                turn.undo()
            self._hang_up()
            loop.run_until_complete(asyncio.sleep(0))  # transports close a turn later
            loop.close()
            self._thread_id = None  # another thread may get it now

    async def _serve(self, listener: socket.socket) -> asyncio.Server:
        at_once = accepted_at_once(self.loop, BACKLOG)
        if listener.family in {socket.AF_INET, socket.AF_INET6}:
            server = await self.loop.create_server(lambda: Connection(self), sock=listener, backlog=at_once)
        else:
            server = await self.loop.create_unix_server(
                lambda: Connection(self), sock=listener, backlog=at_once
            )
        if at_once != BACKLOG:
            listener.listen(BACKLOG)  # as many may wait all the same
        return server

    def _hang_up(self) -> None:
        """After an error nobody is served any more, and everybody sees that."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.hang_up()

    def _begin_stop(self, timeout_s: float, turns: int = ACCEPTING_TURNS) -> None:
        if self._stopping:
            return
        if turns and asyncio.all_tasks(self.loop):
            # Somebody was accepted just now, and is no connection yet. If the server closed first,
            # asyncio would forget his socket, and he would wait for an answer.
            self.loop.call_soon(self._begin_stop, timeout_s, turns - 1)
            return
        self._stopping = True
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.finish()
        self.loop.call_later(timeout_s, self._abort_all)
        self._end_when_empty()

    def _abort_all(self) -> None:
        for connection in list(self._connections):
            connection.end()

    def _end_when_empty(self) -> None:
        if self._connections:
            return
        # Two turns more, for what was posted before the last connection was closed.
        self.loop.call_soon(self.loop.call_soon, self.loop.stop)

    # --- connections ------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """Somebody has connected, and has to say who he is."""
        self._connections.add(connection)
        if len(self._connections) > self.settings.max_connections + NEWCOMERS or self._stopping:
            connection.end()
            return
        self._newcomers[connection] = self.loop.time() + self.settings.handshake_timeout_s
        if self._sweeper is None:
            self._sweep()

    def admitted(self, connection: Connection) -> None:
        """He has been let in."""
        self._newcomers.pop(connection, None)

    def closed(self, connection: Connection) -> None:
        """He is gone."""
        self._connections.discard(connection)
        self._newcomers.pop(connection, None)
        if self._stopping:
            self._end_when_empty()

    def check_room(self) -> None:
        """Raise ConnectError if there are as many connections as there may be."""
        if len(self._connections) > self.settings.max_connections:
            raise ConnectError(
                f"no room: the broker {self.label!r} has {self.settings.max_connections} connections open. "
                "Try again later, or start it with a higher max_connections"
            )

    def metadata(self, object_id: object) -> dict[str, Any]:
        """What Pyro tells a proxy about an object. Raises DaemonError if there is none."""
        service = self.services.get(object_id) if isinstance(object_id, str) else None
        return self.daemon.metadata(object_id) if service is None else service.metadata

    def _sweep(self) -> None:
        now = self.loop.time()
        while self._newcomers:
            connection, until = next(iter(self._newcomers.items()))
            if until > now:
                self._sweeper = self.loop.call_at(until, self._sweep)
                return
            del self._newcomers[connection]
            log.warning("the connection of %s was dropped: it has not said who it is", connection.peer)
            connection.end()
        self._sweeper = None

    # --- work ---------------------------------------------------------------------------------

    def post(self, call: Callable[..., object], *args: Any) -> None:
        """Have the loop call it soon, in the order of posting. From any thread, also under the lock.

        Once the loop has ended, nothing happens.
        """
        self._mail.append((call, args))
        if self._rung or (self.deferring.is_on and self.is_current_thread()):
            return
        self._rung = True
        try:
            self.loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop is closed
            self._mail.clear()

    def repeat(self, every_s: float, work: Callable[[], object]) -> None:
        """Have the loop call it every so many seconds, until it ends. From any thread; it must not block."""
        self.post(self._repeat, every_s, work)

    def _repeat(self, every_s: float, work: Callable[[], object]) -> None:
        def again() -> None:
            self._repeat(every_s, work)
            work()

        self.loop.call_later(every_s, again)

    def run_large(self, work: Callable[[], T], then: Callable[[T], object]) -> None:
        """Do ``work``, which must not raise, in a thread; then ``then`` in the loop, with its result."""
        self._do_large(lambda: self.post(then, work()))

    def _do_large(self, work: Callable[[], object]) -> None:
        if not self._large.run(work):  # better it holds up the others than it is never done
            self.post(work)

    def run_batch(self, turn: Turn, batch: Any, origin: Origin, codec: Any) -> None:
        """Do the calls of a batch, and conclude the turn."""
        BatchRun(self, turn, batch, origin, codec).start()

    def deliver_first(self) -> None:
        """Do now what was posted while input is taken in. In the loop's thread.

        What a call brought about for those who wait goes out before its own reply, which its sender
        merely wants to know of.
        """
        if self._mail and self.deferring.is_on and not self._delivering:
            self._deliver()

    def _deliver(self) -> None:
        self._rung = False
        self._delivering = True  # what is posted meanwhile is done by this loop, however deep it comes from
        mail = self._mail
        try:
            while mail:
                call, args = mail.popleft()
                try:
                    call(*args)
                except Exception:
                    # It belongs to some other connection than the one that is being served.
                    log.exception("%s failed in the event loop", call)
        finally:
            self._delivering = False

    # --- deadlines ----------------------------------------------------------------------------

    def _judge_soon(self) -> None:
        """A deadline has come. Called by the watchdog."""
        try:
            self.loop.call_soon_threadsafe(self._judge, 2)
        except RuntimeError:  # the loop is closed
            self.engine.tick()

    def _judge(self, turns: int) -> None:
        # Each turn of the loop reads once from every socket that has something. Nobody is
        # judged whose sign of life has already arrived here.
        if turns:
            self.loop.call_soon(self._judge, turns - 1)
        else:
            self.engine.tick()
