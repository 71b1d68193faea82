"""`Session`: what a program submits to and collects from, over any trouble in between."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from pyrotask import payload
from pyrotask.arena import Arena
from pyrotask.client.collector import Collector
from pyrotask.client.future import TaskFuture
from pyrotask.client.identity import check_repeatable
from pyrotask.client.ledger import Delivery
from pyrotask.client.link import Link
from pyrotask.client.lone import Lone
from pyrotask.client.looking import Looking
from pyrotask.client.near import NearLink
from pyrotask.client.numbers import Numbers
from pyrotask.client.outcomes import decoded
from pyrotask.client.sender import Sender
from pyrotask.client.state import State
from pyrotask.config import Settings
from pyrotask.core.model import Payload
from pyrotask.errors import PayloadError, PyrotaskError, SessionExpired, UnknownLabel

if TYPE_CHECKING:
    from pyrotask.broker import Broker

log = logging.getLogger("pyrotask.client")

CLOSE_S = 10.0
"""How long a close, or the interpreter's end, tries to send what is unsent, and to say goodbye."""

GOODBYE_S = 2.0
"""How long the goodbye alone may take: without one, the session ends by itself some day."""

ENVELOPE_BYTES = 64
"""About what a task has in a submit besides its payload."""


HERE = b"this process"
"""What an arena serves whose broker is here: that hands out references to it, as to those of its clients."""


class Answer(NamedTuple):
    """The answer of a task, as `Session.results` gives it: a value, or an error."""

    task: int
    tag: str
    key: str | None
    value: Any
    error: BaseException | None

    def result(self) -> Any:
        """The value. Raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return self.value


class Session:
    """Submits tasks to a broker and gets their answers, each exactly once.

    Broken connections, and a broker that is killed and comes back with its journal, are noticed by
    the delay only. What cannot be helped ends all futures with an error that says what is wrong:
    a broker that stays away for `Settings.reconnect_timeout_s`, another one in its place, a key or
    version that does not fit.

    Thread-safe. Not for a child made by ``os.fork``: open another one there. Two threads of its own
    run while it is open; they use no time while nothing is to be done, and keep no interpreter alive.

    Args:
        where: the broker's label or address (``host:port``).
        name: with a name, the session outlives this program: `close` leaves the tasks to the broker,
            and whoever opens a session of the same name, on any machine, gets the answers that are
            left. One program at a time may have it open. None: a session for this object only,
            which ends with it.
        settings: None: `Settings.load()`.
        broker: the broker there, if it is in this process: then no connection is needed.
        worker_command: what starts a worker, for those who wait and are told that there is none; None:
            ``pyrotask worker LABEL``.

    Blocks until it is connected.

    Raises:
        ConnectError: there is no way to the broker; the subclass and the text say why.
        QueueFull: too many sessions are open there.
    """

    def __init__(
        self,
        where: str,
        name: str | None = None,
        settings: Settings | None = None,
        *,
        broker: Broker | None = None,
        worker_command: str | None = None,
    ) -> None:
        self._where = where
        self.name = name
        self._settings = settings or Settings.load()
        self._state = State(self._settings)
        self._state.worker_command = worker_command
        self._broker = broker
        self._arena = Arena(self._settings.arena_bytes)
        if broker is not None:
            self._arena.serve(HERE)
        self._link = self._new_link(arena=self._arena)
        try:
            called = name or f"{socket.gethostname()}, process {os.getpid()}, {uuid.uuid4()}"
            self._session = int(self._link.call("open_session", called))
        except BaseException:
            self._link.close()
            raise
        self._collecting = self._new_link(self._link.lineage)
        self._looking = Looking(lambda: self._new_link(self._link.lineage), self._session)
        self._state.looking = self._looking
        self._pid = os.getpid()
        self._starting = threading.Lock()
        self._jobs: dict[str, Callable[[], None]] | None = None
        """What its threads are for, and none has begun; None: there is nothing to do yet."""
        self._threads: list[threading.Thread] = []
        self._is_working = False
        self._labels: list[str] = []
        """What we have stored, and is to go with us."""
        self._closing = threading.Lock()
        self._is_closed = False
        self._is_aborted = False
        atexit.register(self._leave_at_exit)

    @property
    def is_of_a_parent(self) -> bool:
        """Whether this process is a forked child of the one that has opened the session."""
        return self._pid != os.getpid()

    @property
    def where(self) -> str:
        """The broker's label or address, as it was given."""
        return self._where

    @property
    def number(self) -> int:
        """The session's number at its broker."""
        return self._session

    @property
    def has_room(self) -> bool:
        """Whether a submit would not wait now."""
        return self._state.has_room()

    @property
    def pending(self) -> list[TaskFuture]:
        """The futures that have no answer yet."""
        return self._state.pending()

    def __repr__(self) -> str:
        name = "" if self.name is None else f" {self.name!r}"
        return f"<pyrotask session{name} at {self._where}{', closed' if self._is_closed else ''}>"

    # --- submitting -------------------------------------------------------------------------------

    def submit(
        self,
        tag: str,
        *parameters: Any,
        priority: int = 0,
        key: str | None = None,
        delay_s: float = 0,
        inputs: Sequence[TaskFuture | int] = (),
        retries: int = 0,
        retry_delay_s: float | None = None,
        retry_factor: float | None = None,
        retry_max_delay_s: float | None = None,
        retry_jitter: float | None = None,
        retry_only: Sequence[str] | None = None,
        time_limit_s: float | None = None,
        max_crashes: int | None = None,
        max_losses: int | None = None,
    ) -> TaskFuture:
        """Have a worker call its handler for the tag with these parameters; returns the future answer.

        Returns at once: a lone task is sent on the spot, others in the background, together with what
        else has gathered; the reply is not waited for. It waits only while 100,000 tasks or 64 MiB are
        unsent. The parameters are copied here and now. What the broker refuses is the future's exception.

        Args:
            tag: which handler.
            parameters: any values; plain ones or what pickle or cloudpickle can carry.
            priority: higher goes first.
            key: a name for this very piece of work. It is done once, whoever submits it, and its
                answer stays at the broker until it is forgotten (``pyrotask forget``): so a script
                that is run again gets the answers that exist, and has the rest computed.
            delay_s: it is not due before.
            inputs: tasks whose values it needs, by futures of this session, or by numbers.
            retries: how often it runs again after it raised, or reached its time limit.
            retry_delay_s: how long after the first time.
            retry_factor: by how much longer each time.
            retry_max_delay_s: but not longer than this.
            retry_jitter: spread by so much of itself.
            retry_only: the names of the exception types after which it runs again; none: all.
            time_limit_s: how long an attempt may run before its process is ended.
            max_crashes: how many workers may die of it. None: as the broker has it, likewise below.
            max_losses: how many may be lost with it.

        Raises:
            PayloadError: a parameter cannot travel, or not with a key; or it is larger than a message may be.
            KeyConflict: the key is in use here with another tag or other parameters.
            SessionExpired, ConnectError, TaskManagerTermination: the session is over.
        """
        options = {
            "priority": priority or None,
            "key": key,
            "delay_s": delay_s or None,
            "retries": retries or None,
            "retry_delay_s": retry_delay_s,
            "retry_factor": retry_factor,
            "retry_max_delay_s": retry_max_delay_s,
            "retry_jitter": retry_jitter,
            "retry_only": None if retry_only is None else list(retry_only),
            "time_limit_s": time_limit_s,
            "max_crashes": max_crashes,
            "max_losses": max_losses,
        }
        said = {name: value for name, value in options.items() if value is not None}
        return self.submit_payload(tag, self.encode(parameters), said, inputs)

    def encode(self, value: object, *, for_many: bool = False) -> Payload:
        """Encode a value for `submit_payload` or `store`. Thread-safe; copies.

        At a broker on this host, large buffers are where it and its workers can read them.

        ``for_many``: many tasks will read it, as with what is stored. Then the workers on this host map
        its large buffers, and copy only what a task writes to, which no other task sees. (Who encodes a bare
        `pickle.PickleBuffer` gets a memoryview there, and a bytearray elsewhere.)

        Raises:
            PayloadError: the value cannot travel.
        """
        return payload.encode(value, self._arena.keep_for_many if for_many else self._arena.keep)

    def submit_payload(
        self,
        tag: str,
        value: Payload,
        options: dict[str, Any] | None = None,
        inputs: Sequence[TaskFuture | int] = (),
    ) -> TaskFuture:
        """`submit`, of parameters that are encoded already, and options as in docs/protocol.md."""
        self._check_process()
        size = value.nbytes + ENVELOPE_BYTES
        if size > self._settings.max_message_bytes:
            raise PayloadError(
                f"a task tagged {tag!r} has {size:,} bytes of parameters, and a message may have "
                f"{self._settings.max_message_bytes:,}: submit less (the name of a file, say), or raise "
                "max_message_bytes here and at the broker"
            )
        said = options or {}
        key = said.get("key")
        if key is not None:
            check_repeatable(key, value)
        future = TaskFuture(tag, key, size - value.shared_bytes, self._state)
        if inputs:
            future.inputs = tuple(inputs)
            said = {**said, "inputs": []}
        future.item = (tag, value, said) if said else (tag, value)
        return self._added(future, value)

    def attach(self, key: str) -> TaskFuture:
        """The future answer of the task that was submitted under this key: by whomever, wherever, whenever.

        Returns at once. If there is no such task, the future raises `UnknownTask`.

        Raises:
            SessionExpired, ConnectError, TaskManagerTermination: the session is over.
        """
        self._check_process()
        future = TaskFuture("", key, len(key) + ENVELOPE_BYTES, self._state)
        future.called = f"key {key!r}"
        future.item = (None, None, {"key": key})
        return self._added(future)

    def store(self, label: str, value: Payload, *, for_good: bool = True) -> None:
        """Store a value at the broker, as the reference API's ``storeData`` does, before later submits.

        Returns at once. If it is not for good, it is deleted when this session ends.
        """
        self._check_process()
        if not for_good:
            self._labels.append(label)
        self._start()
        self._state.store(label, value)

    # --- answers ------------------------------------------------------------------------------------

    def results(self, timeout_s: float | None = None) -> Iterator[Answer]:
        """The answers that no future of this object waits for: of the session's earlier life.

        In the order of completion, until nothing of the session is unfinished any more. Each one is
        taken over when the next one is asked for, or when the session is closed in order: a program
        that dies in between gets it again when it comes back.

        Args:
            timeout_s: how long to wait for each; None: for ever.

        Raises:
            TimeoutError: none came in time.
            PyrotaskError: the session is over.
        """
        self._check_process()
        self._start()
        keys: dict[int, str | None] = {}
        with contextlib.closing(self._new_link(self._link.lineage)) as looking:
            while (delivery := self._state.read(timeout_s)) is not None:
                try:
                    if delivery.task not in keys:
                        keys = self._keys(looking)
                    answer = _answer(delivery, keys[delivery.task])
                except BaseException:  # Ctrl-C, say: nobody has seen it
                    self._state.unread(delivery)
                    raise
                yield answer

    def wait(self, timeout_s: float | None = None, *, confirmed: bool = True) -> bool:
        """Block until all futures are done; False: they are not, within the timeout.

        ``confirmed``: and until the broker, which may be away, has confirmed what was cancelled.
        """
        self._check_process()
        state = self._state
        return state.wait_until_quiet(timeout_s) if confirmed else state.wait_until_done(timeout_s)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Block until all that was submitted is at the broker (on its disk, if it has a journal), or refused.

        False: it is not, within the timeout.
        """
        return self._state.wait_until_sent(timeout_s)

    def withdraw(self) -> None:
        """Cancel what has not begun; what runs goes on. Returns at once."""
        self._check_process()
        self._state.withdraw()

    def count_workers(self) -> int:
        """How many worker processes the broker has now."""
        self._check_process()
        with contextlib.closing(self._new_link(self._link.lineage)) as looking:
            return len(looking.call("status")["processes"])

    # --- the end ------------------------------------------------------------------------------------

    def abort(self, error: BaseException) -> None:
        """End all futures that are not done with this error, and take no more. Then `close` it."""
        self._is_aborted = True
        self._state.fail(error)

    def close(self) -> None:
        """Leave. Idempotent; takes some seconds at most.

        A session without a name ends: its tasks are cancelled, and the futures too. One with a name
        goes on at the broker: what was submitted is sent, answers that were given out are taken
        over, and futures that are not done raise `SessionExpired`.
        """
        self._leave(ends=self.name is None, in_order=True)

    def end(self) -> None:
        """Leave, and end the session at the broker: unfinished tasks are cancelled, answers forgotten.

        Tasks with a key stay there.
        """
        self._leave(ends=True, in_order=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all futures, then `close`. After an exception, close at once."""
        in_order = False
        try:
            if kind is None:
                self.wait(confirmed=False)
                in_order = True
        finally:  # Ctrl-C may end the wait
            self._leave(ends=self.name is None, in_order=in_order)

    # --- inside -------------------------------------------------------------------------------------

    def _added(self, future: TaskFuture, value: Payload | None = None) -> TaskFuture:
        if not self._is_working:
            self._start()  # first: so a Ctrl-C in it leaves nothing undone
        return self._state.add(future, value)

    def _start(self) -> None:
        """Have its threads work. If a Ctrl-C comes in between, the next call does the rest."""
        with self._starting:
            if self._is_working or self._is_closed:
                return
            if self._jobs is None:
                self._jobs = self._new_jobs()
            for name in tuple(self._jobs):
                thread = threading.Thread(target=_begin, args=(self._jobs, name), name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
            self._is_working = True

    def _new_jobs(self) -> dict[str, Callable[[], None]]:
        numbers = Numbers(self._session)
        connected = self._collecting if isinstance(self._collecting, Link) else None
        lone = Lone(self._state, connected, numbers)
        if connected is not None:
            self._state.send_directly = lone.send
        return {
            "pyrotask-sender": Sender(self._state, self._link, numbers, lone).run,
            "pyrotask-collector": Collector(self._state, self._collecting, self._session, lone).run,
        }

    def _leave(self, *, ends: bool, in_order: bool) -> None:
        if self.is_of_a_parent:
            return
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
        atexit.unregister(self._leave_at_exit)
        self._state.close()
        if not ends and not self._state.wait_until_sent(CLOSE_S):
            log.warning("%r: the broker was away, and not all that was submitted has reached it", self)
        is_over = self._state.error is not None and not self._is_aborted
        self._state.fail(SessionExpired(self._last_words(ends=ends)), cancel=ends)
        self._end_threads()
        if not is_over:
            self._say_goodbye(ends=ends, in_order=in_order)
        self._link.close()
        self._collecting.close()
        self._looking.close()
        self._state.bell.close()
        self._state.wanted.close()
        self._arena.serve(None)  # its memory goes with the last that is in it

    def _leave_at_exit(self) -> None:
        self._leave(ends=self.name is None, in_order=False)

    def _last_words(self, *, ends: bool) -> str:
        if ends:
            return "the session was closed in this program, and its tasks were cancelled"
        return (
            f"the session was closed in this program, and its tasks go on: Session({self._where!r}, "
            f"name={self.name!r}).results() gets their answers"
        )

    def _end_threads(self) -> None:
        self._collecting.stop()
        started = [thread for thread in self._threads if thread.ident is not None]
        others = [thread for thread in started if thread is not threading.current_thread()]
        for thread in others:
            thread.join(GOODBYE_S)
        if any(thread.is_alive() for thread in others):
            self._link.stop()  # the sender: the broker is away
            for thread in others:
                thread.join(GOODBYE_S)

    def _say_goodbye(self, *, ends: bool, in_order: bool) -> None:
        taken_over, received = self._state.taken_over(with_read=in_order)
        try:
            if ends:
                self._link.call_once("close_session", self._session, timeout_s=GOODBYE_S)
                for label in self._labels:
                    with contextlib.suppress(UnknownLabel):
                        self._link.call_once("delete_data", label, timeout_s=GOODBYE_S)
            else:
                self._link.call_once(
                    "collect", self._session, taken_over, 0, 0, received, timeout_s=GOODBYE_S
                )
        except (PyrotaskError, OSError) as error:
            log.info("%r was closed without a goodbye to the broker: %s", self, error)

    # --- reading ------------------------------------------------------------------------------------

    def _check_process(self) -> None:
        if self.is_of_a_parent:
            raise RuntimeError(
                f"this session was opened by process {self._pid}, and a forked child cannot use it: open "
                "another `Session` in it"
            )

    def _new_link(self, lineage: str | None = None, arena: Arena | None = None) -> Link | NearLink:
        if self._broker is not None:
            return NearLink(self._broker)
        return Link(self._where, self._settings, lineage, arena)

    def _keys(self, looking: Link | NearLink) -> dict[int, str | None]:
        """The keys of all answers that are at hand for readers. They are there until they are taken over."""
        tasks = self._state.left_tasks()
        listed = looking.call("tasks", {"tasks": tasks}, len(tasks))["tasks"]
        return dict.fromkeys(tasks) | {each["task"]: each["key"] for each in listed}


def _begin(jobs: dict[str, Callable[[], None]], name: str) -> None:
    """Do the job, unless another thread has begun it."""
    job = jobs.pop(name, None)
    if job is not None:
        job()


def _answer(delivery: Delivery, key: str | None) -> Answer:
    value, error = decoded(delivery.outcome, delivery.tag, delivery.task)
    return Answer(delivery.task, delivery.tag, key, value, error)
