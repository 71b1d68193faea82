"""`Server`: serves a task manager under a label.

It puts the rooms together: a listening socket, the event loop with the reference API and the
bulk object, Pyro's daemon for users' own objects, the connection file and the name server.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import pyrotask
from pyrotask import reference
from pyrotask.config import Settings
from pyrotask.errors import BrokerBroken
from pyrotask.remote import bulk
from pyrotask.remote.addresses import Address
from pyrotask.remote.connection_file import ConnectionFile
from pyrotask.remote.daemon import PyroDaemon
from pyrotask.remote.hub import Hub
from pyrotask.remote.labels import object_name
from pyrotask.remote.near_socket import NearSocket
from pyrotask.remote.os_sockets import listen
from pyrotask.remote.registration import LOOK_EVERY_S, NameServerUse, Registration
from pyrotask.remote.security import load_or_create_key, require_key_for
from pyrotask.remote.services import OWN_SERIALIZER, Service
from pyrotask.taskmanager import TaskManager

log = logging.getLogger(__name__)

STOP_S = 1.0
"""How long clients may take to read what was written to them before a stop."""

LEAVE_S = 0.5
"""How long a name server may hold up a stop: a stale name is replaced by its next owner."""


class Server:
    """Serves a task manager: to plain Pyro proxies, and to our own clients and workers.

    A server is started once and stopped once; ``with`` does both. It runs in threads of its
    own, none of which keeps the interpreter alive. Its methods may be called from any thread.

    Stopping is not terminating: whoever waits sees a broken connection. Call ``terminate`` of
    the task manager before, if they are to go home. With a journal, do not: our own workers
    and clients look for the next run, and go on there.

    Args:
        task_manager: what is served; None: a new one, with the settings.
        label: the name it is found under.
        host: the address to listen on. Other than this machine's loopback, a key is needed.
        port: the port; 0: any that is free.
        settings: bounds, places and periods; None: the task manager's.
        key_file: the file with the key that clients must have; it is made if it is missing.
        insecure: serve a public address without a key: whoever gets there can do everything.
        name_server: "auto": register in Pyro's name server if there is one; "require": or
            fail; "start": or start one; "off": do not ask for it.
        connection_file: whether to leave a connection file, by which this user's processes
            find the broker; and a unix socket beside it, by which those of this machine reach it.
        journal: the folder in which the new task manager keeps its state; see `TaskManager`.

    Raises:
        JournalError: the journal cannot be used: held by another broker, or damaged.
    """

    def __init__(
        self,
        task_manager: TaskManager | None = None,
        label: str = "",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        settings: Settings | None = None,
        key_file: str | os.PathLike[str] | None = None,
        insecure: bool = False,
        name_server: NameServerUse = "auto",
        connection_file: bool = True,
        journal: str | os.PathLike[str] | None = None,
    ) -> None:
        if task_manager is not None and journal is not None:
            raise ValueError("the task manager has its journal already: give it to one of the two")
        self.label = label
        self._name = object_name(label)
        self._owns_task_manager = task_manager is None
        self.task_manager = task_manager or TaskManager(settings, journal=journal)
        self.settings = settings or self.task_manager.broker.settings
        self.host = host
        self._port = port
        self._key_file = None if key_file is None else Path(key_file).expanduser().absolute()
        self._insecure = insecure
        self._name_server = name_server
        self._connection_file = connection_file
        self.daemon: PyroDaemon
        """Pyro's daemon, once it is started: other objects can be registered in it."""
        self._hub: Hub | None = None
        self._near: NearSocket | None = None
        self._registration: Registration | None = None
        self._broken: BrokerBroken | None = None
        self._on_broken: queue.SimpleQueue[Callable[[BrokerBroken], object]] = queue.SimpleQueue()
        self._stopping = threading.RLock()
        """Reentrant: a signal handler may stop it in the thread that stops it already."""
        self._stopped = threading.Event()

    # --- start and stop -------------------------------------------------------------------

    def start(self) -> Self:
        """Listen, and be found. Blocks until both are so: milliseconds, or seconds for a silent name server.

        Raises:
            KeyRequired: the address is public, and there is no key.
            AddressInUse: another program listens on the port.
            LabelHeld: a live broker has the label.
            NameServerNotFound: a name server is required, and none answers.
            PermissionError: the key file or the runtime directory is open to others.
        """
        if self._hub is not None:
            raise RuntimeError("a server can be started once: make another")
        try:
            self._listen()
            self._enter()
        except BaseException:
            self.stop(0.0)
            self._let_go()
            raise
        self.task_manager.broker.engine.on_broken(self._break)
        return self

    def stop(self, timeout_s: float = STOP_S) -> None:
        """Close all connections, and be gone. Idempotent; blocks for at most the timeout, and a moment.

        The task manager is left as it is, unless the server has made it: then it is closed.
        """
        with self._stopping:
            if self._hub is None or self._stopped.is_set():
                return
            if self._owns_task_manager:
                # Nobody is lost for a connection that we close ourselves.
                self.task_manager.broker.engine.watchdog.stop()
            if self._registration is not None:
                leave_within(LEAVE_S, self._registration)
            if self._near is not None:
                self._near.remove()
            self._hub.stop(timeout_s)
            self._stopped.set()
        self.daemon.close()
        self.daemon.unregister(self._name)
        self._let_go()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until the server is stopped; False if the timeout has passed before.

        Raises:
            BrokerBroken: it was stopped because the broker broke.
        """
        # In pieces: a wait without a timeout cannot be interrupted on every system.
        until = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while not self._stopped.wait(min(1.0, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                return False
        if self._broken is not None:
            raise self._broken
        return True

    def on_broken(self, call: Callable[[BrokerBroken], object]) -> None:
        """Have it called once, in some thread, when the server stops for an internal error; now, if it has.

        It must be quick.
        """
        self._on_broken.put(call)
        if self._broken is not None:
            self._tell_broken()

    def _tell_broken(self) -> None:
        assert self._broken is not None
        with contextlib.suppress(queue.Empty):
            while True:
                self._on_broken.get_nowait()(self._broken)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- where it is ------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port it listens on, once it is started."""
        return self._port

    @property
    def address(self) -> str:
        """``host:port``, as others reach it, once it is started."""
        host = socket.gethostname() if self.host in {"", "0.0.0.0", "::"} else self.host  # noqa: S104 - read
        return Address(host, self._port).location

    @property
    def uri(self) -> str:
        """Where the task manager is, for a plain ``Pyro5.api.Proxy``."""
        return f"PYRO:{self._name}@{self.address}"

    @property
    def warnings(self) -> Sequence[str]:
        """What is not as it should be, at the moment: sentences for the user."""
        return () if self._registration is None else self._registration.warnings

    # --- inside -----------------------------------------------------------------------------

    def _listen(self) -> None:
        key = None if self._key_file is None else load_or_create_key(self._key_file)
        require_key_for(self.host, key, insecure=self._insecure, label=self.label)
        engine = self.task_manager.broker.engine
        services = {
            self._name: Service(reference.CALLS),
            bulk.OBJECT_ID: Service(bulk.service(self.label, engine.journal), OWN_SERIALIZER, is_opaque=True),
        }
        listeners = [listen(self.host, self._port)]
        self._port = listeners[0].getsockname()[1]
        hub = Hub(engine, self.settings, self.label, key, services)
        try:
            hub.daemon = self.daemon = PyroDaemon(hub, listeners[0], self.address, services, self.stop)
            self.daemon.register(self.task_manager, self._name)
            hub.on_died = self._mourn
            if self._connection_file and (near := NearSocket.open(self.settings.runtime_dir)) is not None:
                self._near = near
                listeners.append(near.listener)
            hub.start(listeners)
        except BaseException:
            for listener in listeners:
                listener.close()
            if self._near is not None:
                self._near.remove()
            hub.loop.close()
            raise
        self._hub = hub

    def _let_go(self) -> None:
        if self._owns_task_manager:
            self.task_manager.close()

    def _enter(self) -> None:
        file = ConnectionFile(
            label=self.label,
            host=self.host,
            port=self._port,
            pid=os.getpid(),
            hostname=socket.gethostname(),
            lineage=self.task_manager.broker.engine.lineage,
            started_at=time.time(),
            version=pyrotask.__version__,
            key_file=self._key_file,
            near=None if self._near is None else self._near.path,
        )
        self._registration = Registration(
            file, self.uri, self.settings, self._name_server, with_file=self._connection_file
        )
        self._registration.enter()
        if self._connection_file and self._hub is not None:
            self._hub.repeat(LOOK_EVERY_S, self._registration.look_at_file)

    def _mourn(self, error: BaseException) -> None:
        """The event loop has ended by an error."""
        self._break(
            BrokerBroken(
                f"the event loop of the broker {self.label!r} has ended by {error!r}, and nobody is served "
                "any more: please report this with the log, and start the broker again"
            )
        )

    def _break(self, error: BrokerBroken) -> None:
        """The broker has broken: stop, from a thread that may wait for the loop."""
        if self._stopped.is_set() or self._broken is not None:
            return
        self._broken = error
        self._tell_broken()
        log.critical("the server %r stops, since its broker is broken: %s", self.label, error)
        threading.Thread(target=self.stop, name="pyrotask-stop", daemon=True).start()


def leave_within(seconds: float, registration: Registration) -> None:
    """Remove the entries, and do not wait longer for a name server that does not answer."""
    registration.leave_file()
    thread = threading.Thread(target=registration.leave, name="pyrotask-leave", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # at its end, the interpreter starts no more threads
        registration.leave()
        return
    thread.join(seconds)
    if thread.is_alive() and registration.is_in_name_server:
        log.warning("the name server is silent: the broker's name may stay there, and be replaced later")
