"""`TaskManager`: the reference API, as a class and as a Pyro object.

Every method is one line: the call as `reference` describes it, done by the broker. What comes in
over a stock Pyro daemon is told from a call in the manager's own process by Pyro's call context:
it belongs to a connection, carries plain values only, and its errors leave as built-in ones. Our
own server does not come through here; it does the same requests in its event loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Self, TypeVar, cast
from weakref import WeakKeyDictionary

import Pyro5.api
from Pyro5.callcontext import current_context
from Pyro5.serializers import serializers, serializers_by_id

from pyrotask.broker import Broker
from pyrotask.clock import Clock
from pyrotask.config import Settings
from pyrotask.errors import PyrotaskError
from pyrotask.journal import Journal
from pyrotask.reference import IN_PROCESS, Origin, Request, calls
from pyrotask.stock_connections import StockConnection
from pyrotask.wire_errors import to_builtin

M = TypeVar("M", bound=Callable[..., Any])


def _exposed(method: M) -> M:
    """Let Pyro proxies call the method."""
    return cast("M", Pyro5.api.expose(method))


class TaskManager:
    """A manager for computational tasks. Thread-safe.

    It takes task requests, hands the tasks out to processes, keeps the results until they are
    collected, and runs the tasks of processes that disappear again elsewhere. It can be used
    in its own process, or registered in a Pyro daemon; `pyrotask.remote.Server` serves it
    best.

    The ``get`` methods block until there is something; ``timeout`` is in seconds, None means
    no limit, 0 means not to wait. All other methods return at once. With a journal, every
    method is durable on return.

    A ``process_id`` is what `registerProcess` returned. Task parameters and results can be
    any objects in the manager's process (they are copied), and plain Python values over a
    Pyro proxy.

    Args:
        settings: bounds and periods; None: `Settings.load()`.
        clock: where time comes from; for tests.
        journal: where the state is kept: the path of a folder, made if it is missing. What an
            earlier manager has left in it goes on. None: in memory only.
        broker: serve this broker, instead of a new one made from the above.

    Raises (any method):
        TypeError, ValueError: an argument is no good. Nothing was changed.
        BrokerBroken: an internal error; see the log.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Clock | None = None,
        journal: Journal | str | os.PathLike[str] | None = None,
        broker: Broker | None = None,
    ) -> None:
        self.broker = broker or Broker(settings, clock=clock, journal=journal)
        self._connections: WeakKeyDictionary[Any, StockConnection] = WeakKeyDictionary()

    _pyroInstancing = ("single", None)  # noqa: N815 - Pyro looks for it
    """For those who register the class and not an object: one manager, not one a connection."""

    def close(self) -> None:
        """Let go of threads and journal. Idempotent. Not for remote callers."""
        self.broker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- processes ----------------------------------------------------------------------

    @_exposed
    def registerProcess(self, watchdog_period: float | None = None, info: str | None = None) -> int:
        """Take part as a process, and promise to ping every ``watchdog_period`` seconds.

        Without a period no pings are expected. ``info`` is any text for people to read. A
        process that keeps silent for four periods is lost: its tasks run again elsewhere.
        Process ids are 0, 1, 2, ...
        """
        return cast("int", self._do(calls.registerProcess, watchdog_period, info))

    @_exposed
    def unregisterProcess(self, process_id: int) -> None:
        """Leave. The tasks that the process runs are first in line again, in their old order.

        Raises:
            UnknownProcess: it is not registered (any more).
        """
        self._do(calls.unregisterProcess, process_id)

    @_exposed
    def ping(self, process_id: int) -> bool:
        """Tell that the process is still alive. False: it is not registered (any more)."""
        return cast("bool", self._do(calls.ping, process_id))

    @_exposed
    def numberOfActiveProcesses(self) -> int:
        """How many processes are registered."""
        return cast("int", self._do(calls.numberOfActiveProcesses))

    @_exposed
    def activeProcesses(self) -> list[int]:
        """The ids of the registered processes, in the order of registration."""
        return cast("list[int]", self._do(calls.activeProcesses))

    @_exposed
    def activeProcessInfo(self, pid: int) -> str:
        """The text that the process gave about itself when it registered, "" if none.

        Raises:
            UnknownProcess: it is not registered (any more).
        """
        return cast("str", self._do(calls.activeProcessInfo, pid))

    # --- tasks --------------------------------------------------------------------------

    @_exposed
    def numberOfTasks(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """How many tasks of each tag wait, run, and have a result to be collected.

        All three dictionaries hold a key for each tag that has a task; they were taken at
        one moment, so they add up.
        """
        return cast("tuple[dict[str, int], dict[str, int], dict[str, int]]", self._do(calls.numberOfTasks))

    @_exposed
    def explain(self) -> list[str]:
        """Why what waits waits: "3 tasks tagged sqrt wait; none of 4 workers has a handler for it"."""
        return cast("list[str]", self._do(calls.explain))

    @_exposed
    def addTaskRequest(
        self,
        tag: str,
        parameters: Any,
        process_id: int | None = None,
        *,
        priority: int = 0,
        retries: int = 0,
        time_limit: float | None = None,
    ) -> str:
        """Ask for a task to be done, and return its id, ``"tag_N"``. Never blocks.

        Args:
            tag: what kind of task it is; processes ask for tasks by tag, or for any.
            parameters: what the task needs.
            process_id: who asks.
            priority: tasks of a higher priority are handed out first.
            retries: how often it is run again when it raises.
            time_limit: after so many seconds of one attempt the task has failed.

        Raises:
            TaskManagerTermination: the manager was terminated.
            UnknownProcess: ``process_id`` is not registered (any more).
            QueueFull: too many tasks wait.
        """
        options = {"priority": priority, "retries": retries, "time_limit": time_limit}
        return cast("str", self._do(calls.addTaskRequest, tag, parameters, process_id, **options))

    @_exposed
    def getAnyTask(self, process_id: int | None = None, timeout: float | None = None) -> tuple[str, str, Any]:
        """Wait for a task, and return its id, tag and parameters. It is yours now.

        The highest priority comes first, then the first that was asked for; a task that was
        given back comes before all others of its priority. Callers are served in the order
        in which they came. Without a ``process_id``, the task belongs to the connection.

        Raises:
            TaskManagerTermination: no more tasks will come.
            UnknownProcess: ``process_id`` is not registered (any more).
            TimeoutError: nothing came.
        """
        return self._do(calls.getAnyTask, process_id, timeout)  # type: ignore[no-any-return]

    @_exposed
    def getTaskWithTag(
        self, tag: str, process_id: int | None = None, timeout: float | None = None
    ) -> tuple[str, Any]:
        """Wait for a task with that tag, and return its id and parameters. See `getAnyTask`."""
        return self._do(calls.getTaskWithTag, tag, process_id, timeout)  # type: ignore[no-any-return]

    @_exposed
    def storeResult(self, task_id: str, result: Any) -> None:
        """Hand in the result of a task. Never blocks.

        The first one counts; a later one is ignored. Anybody may hand it in, once the task
        was ever handed out.

        Raises:
            UnknownTask: no such id was ever given out.
            NotHolder: the task was never handed out.
        """
        self._do(calls.storeResult, task_id, result)

    @_exposed
    def storeException(self, task_id: str, exception: Any, traceback: str) -> None:
        """Hand in what a task raised: an exception or any object, and the traceback as text.

        Whoever asks for the result gets `TaskRaisedException`. Never blocks.

        Raises:
            UnknownTask: no such id was ever given out.
            NotHolder: the task is not (any more) leased to the caller.
        """
        self._do(calls.storeException, task_id, exception, traceback)

    @_exposed
    def returnTask(self, task_id: str) -> None:
        """Give a task back that you cannot handle: it is first in line again. Never blocks.

        Ignored for a task that waits or is finished.

        Raises:
            UnknownTask: no such id was ever given out.
            NotHolder: the task is leased to somebody else.
        """
        self._do(calls.returnTask, task_id)

    @_exposed
    def getAnyResult(self, timeout: float | None = None) -> tuple[str, str, Any]:
        """Wait for a finished task, and return its id, tag and result. It is forgotten then.

        Results come in the order of completion, each once.

        Raises:
            TaskRaisedException: the task ended with an exception; it is collected too.
            TaskManagerTermination: no more results will come.
            TimeoutError: nothing came.
        """
        return self._do(calls.getAnyResult, timeout)  # type: ignore[no-any-return]

    @_exposed
    def getResultWithTag(self, tag: str, timeout: float | None = None) -> tuple[str, Any]:
        """Wait for a finished task with that tag; return its id and result. See `getAnyResult`."""
        return self._do(calls.getResultWithTag, tag, timeout)  # type: ignore[no-any-return]

    # --- data and the end ----------------------------------------------------------------

    @_exposed
    def storeData(self, /, **kw: Any) -> None:
        """Store values under labels, for everybody; all of them become visible together."""
        self._do(calls.storeData, **kw)

    @_exposed
    def retrieveData(self, label: str) -> Any:
        """The value under that label.

        Raises:
            UnknownLabel: there is none. This call never waits for one.
        """
        return self._do(calls.retrieveData, label)

    @_exposed
    def deleteData(self, label: str) -> None:
        """Delete the value under that label.

        Raises:
            UnknownLabel: there is none.
        """
        self._do(calls.deleteData, label)

    @_exposed
    def terminate(self) -> None:
        """Say that no more tasks or results will be asked for. Idempotent.

        Everybody who waits gets `TaskManagerTermination` at once, and nobody waits any more:
        what is there is still handed out and collected, results of running tasks are taken.
        """
        self._do(calls.terminate)

    # --- doing it -----------------------------------------------------------------------

    # From here to the caller of a ``get`` nothing is called any more when the answer is there: an
    # interrupt (Ctrl-C) could strike in it, and the answer would be lost. So these have no `cast`.

    def _do(self, call: Callable[..., Request], /, *args: object, **kwargs: object) -> Any:
        client = current_context.client
        if client is None:
            return self._serve(call(IN_PROCESS, *args, **kwargs), None)
        serializer = _NAMES[type(serializers_by_id[current_context.serializer_id])]
        connection = self._connection(client)
        try:
            return self._serve(
                call(Origin(connection.number, serializer), *args, **kwargs), connection.is_there
            )
        except PyrotaskError as error:
            raise to_builtin(error, serializer) from error
        finally:
            # An answer counts as collected, and durably so, before it is sent: at most once.
            self.broker.call(lambda _m, _now: None)
            connection.leave_if_late()

    def _serve(self, request: Request, alive: Callable[[], bool] | None) -> Any:
        if request.blocks:
            says_why = request.is_for_result and alive is None
            return self.broker.ask(
                request.command, request.timeout, alive, request.present, says_why=says_why
            )
        return self.broker.call(lambda m, now: request.command(m, now, None), request.present)

    def _connection(self, client: Any) -> StockConnection:
        connection = self._connections.get(client)
        if connection is None:
            connection = self._connections[client] = StockConnection(self.broker, client.sock)
            current_context.track_resource(connection)
        # A oneway call has a thread of its own, and may come in after its connection has gone.
        return StockConnection(self.broker, client.sock) if connection.is_closed else connection


_NAMES = {type(serializer): name for name, serializer in serializers.items()}
