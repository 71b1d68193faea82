"""A master of a broker that runs by itself: the work outlives whatever happens to the broker.

`pyrotask serve LABEL --journal FOLDER` is the task manager, and the master one of its clients. It
asks and collects through a `Session`: a broker that is killed and comes back is noticed by the
delay only, and each answer comes exactly once. Slaves and workers of the same broker run the tasks.
"""

# The original's names, which scripts use:

from __future__ import annotations

import atexit
import contextlib
import threading
import time
from collections import deque
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from pyrotask import payload
from pyrotask.client.link import Link
from pyrotask.client.session import Session
from pyrotask.config import Settings
from pyrotask.core.model import Payload
from pyrotask.errors import TaskManagerTermination, TaskRaisedException, UnknownLabel
from pyrotask.masterslave.code import CODE_LABEL
from pyrotask.masterslave.launching import LaunchedSlaves
from pyrotask.masterslave.states import STATES_OF_ONE_MASTER, data_label, live_label
from pyrotask.masterslave.telling import say, slave_command

if TYPE_CHECKING:
    from pyrotask.client.future import TaskFuture

LOOK_EVERY_S = 0.25
"""How often a shutdown looks whether anybody is there for the work."""


class RemoteMasterProcess:
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
        self.global_states: dict[int, tuple[str, ...]] = {}
        self._settings = settings or Settings.load()
        self._broker = broker
        self._session = Session(broker or label, settings=self._settings)
        self.task_manager = RemoteData(broker or label, self._settings)
        self._first_state = self._session.number * STATES_OF_ONE_MASTER
        self._last_state = self._first_state
        self._states_change = threading.Lock()
        self._launched = LaunchedSlaves()
        self._came = threading.Condition()
        self._answers: deque[TaskFuture] = deque()
        """That have come and were not retrieved, in the order of completion."""
        self._unfinished = 0
        self._is_over = False
        self._closing = threading.Lock()
        atexit.register(self.shutdown)

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
            raise TaskRaisedException(_id(future), future.tag, error, str(error.__cause__ or "")) from error

    def _next(self, tag: str | None) -> TaskFuture | None:
        for index, future in enumerate(self._answers):
            if tag is None or future.tag == tag:
                del self._answers[index]
                return future
        return None

    def _take(self, future: Any) -> None:
        with self._came:
            self._unfinished -= 1
            self._answers.append(future)
            self._came.notify_all()
