"""A master of a broker that runs by itself: the work outlives whatever happens to the broker.

`pyrotask serve LABEL --journal FOLDER` is the task manager, and the master one of its clients. It
asks and collects through a `Session`: a broker that is killed and comes back is noticed by the
delay only, and each answer comes exactly once. Slaves and workers of the same broker run the tasks.
"""

# The original's names, which scripts use:

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections import deque
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from pyrotask import payload
from pyrotask.arena import Arena
from pyrotask.client.link import Link
from pyrotask.client.outcomes import RemoteTraceback
from pyrotask.client.session import Session
from pyrotask.config import Settings
from pyrotask.core.model import Payload
from pyrotask.errors import (
    ConnectError,
    TaskManagerTermination,
    TaskRaisedException,
    UnknownLabel,
    UnknownSession,
)
from pyrotask.masterslave.code import CODE_LABEL
from pyrotask.masterslave.launching import LaunchedSlaves
from pyrotask.masterslave.program import MasterProgram
from pyrotask.masterslave.states import STATES_OF_ONE_MASTER, GlobalStates
from pyrotask.masterslave.telling import say, slave_command

if TYPE_CHECKING:
    from pyrotask.client.future import TaskFuture

LOOK_EVERY_S = 0.5
"""How often a shutdown looks whether anybody is there for the work."""


class RemoteMasterProcess(MasterProgram):
    """A master whose task manager is a running broker. Override `run`, or use it as it is. Thread-safe.

    Several masters can use one broker; each gets the answers of its own tasks. But the code for
    slaves is one for all: that of the master which came last.

    Args:
        label: the broker's label.
        broker: where it is, if its label does not tell: ``"host:port"``.
        settings: None: `Settings.load()`.

    Attributes:
        label: as given.
        task_manager: labelled values at the broker: ``storeData``, ``retrieveData`` and ``deleteData``
            as of a `TaskManager`.
        global_states: the names of each global state that was not deleted, by its number.

    Blocks until it is connected.

    Raises:
        ConnectError: there is no such broker.
    """

    def __init__(self, label: str, broker: str | None = None, *, settings: Settings | None = None) -> None:
        self.label = label
        self._pid = os.getpid()
        self._settings = settings or Settings.load()
        self._broker = broker
        self._slave_command = slave_command(label, broker)
        self._session = Session(broker or label, settings=self._settings, worker_command=self._slave_command)
        self.task_manager = RemoteData(broker or label, self._settings)
        self._states = GlobalStates(self.task_manager, self._session.number * STATES_OF_ONE_MASTER)
        self.global_states = self._states.names
        self._launched = LaunchedSlaves()
        self._came = threading.Condition()
        self._answers: deque[TaskFuture] = deque()
        """That have come and were not retrieved, in the order of completion."""
        self._unfinished = 0
        self._is_over = False
        self._has_ended = threading.Event()
        atexit.register(self._at_exit)

    # --- tasks --------------------------------------------------------------------------

    def requestTask(self, tag: str, *parameters: Any) -> str:
        """Ask for a task, and return its id.

        Blocks until the broker has taken it on (durably, if it has a journal): about a
        millisecond, or for as long as it is away. See `MasterProcess.requestTask` for the rest.

        Raises:
            TaskManagerTermination: the master is shutting down, or the broker is terminated.
            PayloadError: a parameter cannot be pickled.
            ConnectError: the broker has been away for too long (the setting ``reconnect_timeout_s``).
        """
        if self._is_over:
            raise TaskManagerTermination(f"the master {self.label} is shutting down, and takes no more tasks")
        future = self._session.submit(tag, *parameters)
        with self._came:
            self._unfinished += 1
        self._session.flush()
        if future.task is None:  # it was refused
            with self._came:
                self._unfinished -= 1
            raise future.exception() or TaskManagerTermination(f"the master {self.label} was shut down")
        future.add_done_callback(self._take)
        return _id(future)

    def retrieveResult(self, tag: str | None = None) -> tuple[str | None, str | None, Any]:
        """Wait for a finished task, with that tag if one is given; return its id, its tag and its result.

        Results come in the order of completion, each once. After the shutdown, when there are
        no more: ``(None, None, None)``. What the tasks wait for is logged as a warning.

        Raises:
            TaskRaisedException: the task ended with an exception.
            ConnectError: the broker has been away for too long.
        """
        told = False
        with self._came:
            while (future := self._next(tag)) is None:
                if self._is_over and not self._unfinished:
                    return None, None, None
                if not self._unfinished and not told:
                    told = True
                    say(
                        f"{self.label} waits for a result, and no task of this master waits or runs: none "
                        "will come by itself"
                    )
                self._came.wait(self._settings.explain_after_s)
        try:
            return _id(future), future.tag, future.result()
        except (TaskManagerTermination, CancelledError):
            return None, None, None
        except TaskRaisedException:
            raise
        except Exception as error:
            if future.task is None or not _is_of_task(error):
                raise
            cause = error.__cause__
            traceback = cause.args[0] if isinstance(cause, RemoteTraceback) else ""
            raise TaskRaisedException(_id(future), future.tag, error, traceback) from None

    def _next(self, tag: str | None) -> TaskFuture | None:
        for index, future in enumerate(self._answers):
            if tag is None or future.tag == tag:
                del self._answers[index]
                return future
        return None

    def _take(self, future: Any) -> None:
        with self._came:
            self._unfinished -= 1
            if not future.cancelled():  # as all are at the end that are not done
                self._answers.append(future)
            self._came.notify_all()

    # --- global states ------------------------------------------------------------------

    def setGlobalState(self, **values: Any) -> int:
        """Store values for tasks to use, as ``GlobalStateValue(state_id, name)``; return the state's number.

        Numbers are different from those of other masters of the same broker. A value travels
        to each slave once, when it is first used there.
        """
        return self._states.set(values)

    def deleteGlobalState(self, state_id: int) -> None:
        """Delete the values of a state. Tasks that use it and are not done yet will fail.

        Raises:
            UnknownLabel: there is no such state (any more).
        """
        self._states.delete(state_id)

    # --- slaves ---------------------------------------------------------------------------

    def launchSlaveJobs(self, n: int = 1, port: int | None = None) -> None:
        """Start ``n`` slaves on this machine, as processes that end with this one. Does not wait for them.

        Args:
            n: how many.
            port: of no use here, where the broker is known by its label or address.

        Raises:
            ValueError: the slaves' code is not known.
        """
        del port
        try:
            self.task_manager.retrieveData(CODE_LABEL)
        except UnknownLabel:
            raise ValueError(
                f"the broker {self.label} does not know what its slaves shall run: use runJob, or name a "
                "slave_script or slave_module to initializeMasterProcess; or start workers by "
                "`pyrotask worker`"
            ) from None
        self._launched.launch(self.label, self._broker, n, self._settings.key_file)

    # --- from the beginning to the end --------------------------------------------------------

    def shutdown(self) -> None:
        """End this master's part of the work. Idempotent. The broker, and who else works there, go on.

        What was asked for is still done: this blocks until nothing of it is unfinished, or no
        worker is left that could do it (one that may still come is waited for, for half a minute),
        or for as long as the setting ``shutdown_timeout_s`` says. Then what is left is cancelled.
        """
        if self._pid != os.getpid():
            return
        with self._came:
            is_first, self._is_over = not self._is_over, True
            self._came.notify_all()
        if not is_first:
            self._has_ended.wait()
            return
        try:
            self._wait_for_work()
        finally:
            self._end_slaves()
            self._session.end()
            self.task_manager.close()
            self._has_ended.set()
            atexit.unregister(self._at_exit)

    def _wait_for_work(self) -> None:
        began_at = hopeful_at = time.monotonic()
        while not self._in_a_hurry and not self._session.wait(LOOK_EVERY_S):
            now = time.monotonic()
            if self._session.count_workers() or self._launched.alive:
                hopeful_at = now
            patience_s = self._settings.plain_grace_s
            if now - hopeful_at > patience_s or now - began_at > self._settings.shutdown_timeout_s:
                say(
                    f"{self.label} ends with {self._unfinished} tasks undone: start a slave with "
                    f"`{self._slave_command}`"
                )
                return

    def _count_unfinished(self) -> int:
        return self._unfinished

    def _end_slaves(self) -> None:
        for pid in self._launched.alive:
            os.kill(pid, signal.SIGTERM)  # they give back what they have begun for others
        self._launched.end()

    def _at_exit(self) -> None:
        self._in_a_hurry |= getattr(sys, "last_type", None) is KeyboardInterrupt
        self.shutdown()


class RemoteData:
    """Labelled values at a broker; each call is repeated until it is answered. Thread-safe.

    Args:
        where: the broker's label or address.
        settings: how long to look for it.
    """

    def __init__(self, where: str, settings: Settings) -> None:
        self._arena = Arena(settings.arena_bytes)
        self._link = Link(where, settings, arena=self._arena)
        self._one_at_a_time = threading.Lock()

    def storeData(self, **values: Any) -> None:
        """Store values under labels, for everybody; all of them become visible together."""
        encoded = {label: payload.encode(value, self._arena.keep_for_many) for label, value in values.items()}
        wire = {label: [value.format, list(value.buffers)] for label, value in encoded.items()}
        self._call("store_data", wire)

    def retrieveData(self, label: str) -> Any:
        """The value under that label.

        Raises:
            UnknownLabel: there is none.
        """
        kind, buffers = self._call("retrieve_data", label)
        return payload.decode(Payload(kind, tuple(buffers)))

    def deleteData(self, label: str) -> None:
        """Delete the value under that label; afterwards there is none, also if there was none before."""
        self._call("delete_data", label)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._link.close()

    def _call(self, method: str, *arguments: object) -> Any:
        with self._one_at_a_time:
            return self._link.call(method, *arguments)


def _id(future: TaskFuture) -> str:
    return f"{future.tag}_{future.task}"


def _is_of_task(error: Exception) -> bool:
    """Whether it is the answer of a task, and no trouble of the session."""
    return isinstance(error.__cause__, RemoteTraceback) or not isinstance(
        error, ConnectError | UnknownSession
    )
