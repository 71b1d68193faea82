"""Slaves: processes that run tasks for a master."""

# The original's names, which scripts use:

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pyrotask.config import Settings
from pyrotask.core.model import Cause
from pyrotask.errors import ConnectError, HandlerError, TaskManagerTermination
from pyrotask.masterslave import finding, role
from pyrotask.masterslave.companion import Companion
from pyrotask.masterslave.interrupts import Interrupted, Interrupts
from pyrotask.masterslave.link import Link
from pyrotask.masterslave.states import GlobalStateCache
from pyrotask.masterslave.telling import say
from pyrotask.worker import running
from pyrotask.worker.begun import Slate

PREFIX = "do_"

PATIENCE_S = 5.0
"""How long one request for a task stays with the manager. So long may `terminationTest` go unasked, and a
signal unnoticed that comes at the very moment when the wait begins: CPython does not end the wait for it."""

Handler = Callable[..., Any]


class SlaveProcess:
    """A process that runs tasks. Subclass it, and add a method ``do_<tag>`` for each tag.

    A method gets the parameters that the master gave to `MasterProcess.requestTask`; what it
    returns is the result, and what it raises is raised as `TaskRaisedException` where the
    master asks for the result. Both can be whatever pickle or cloudpickle carries.

    Args:
        label: the label of the master.
        master_host: where the master is: ``"host"`` or ``"host:port"``. None: it is found by
            its label.
        watchdog_period: how often, in seconds, a sign of life is promised; after four silent
            periods the slave's task is run by another one. A slave that dies is noticed at once,
            whatever the period. None: nothing is promised.

    Attributes:
        process_id: the number of this process, once it has started.
        global_state_cache: the values of global states that were used here, by state and name.
    """

    def __init__(
        self, label: str | None, master_host: str | None = None, watchdog_period: float | None = 120.0
    ) -> None:
        self.label = label
        self.master_host = master_host
        self.watchdog_period = watchdog_period
        self.process_id: int | None = None
        self.global_state_cache: dict[int, dict[str, Any]] = {}

    def terminationTest(self) -> bool:
        """Override it to end the slave: it is asked before each task is fetched. True: it is enough."""
        return False

    def start(self, namespace: Mapping[str, Any] | None = None) -> None:
        """Run tasks until the master ends. Blocks.

        Handlers are the methods ``do_<tag>``, then the functions of that name in ``namespace``
        (None: the globals of the module that the class is defined in). Only tasks that there
        is a handler for are asked for. Tasks run one by one, in the calling thread, and may
        keep what they like in globals and attributes.

        Returns when the master has ended, or `terminationTest` says so.

        Raises:
            HandlerError: there is not a single handler.
            ConnectError: there is no such master.
            KeyboardInterrupt: Ctrl-C; what was begun is given back first.
        """
        handlers = find_handlers(self, namespace)
        settings = Settings.load()
        me = role.current()
        if me is not None:
            me.played = True
        # Whoever was launched ends with its master anyway, so it may wait for a broker that is away.
        is_launched = me is not None and me.rope is not None and self.master_host is None
        find = finding.wait_for_way if is_launched else finding.open_way
        way = find(self.label, self.master_host, settings)
        way.warn_of_python()
        slate = Slate()
        try:
            where = self.label if self.master_host is None and self.label is not None else way.location
            with (
                Interrupts() as interrupts,
                _companion(where, self.watchdog_period, slate, settings) as companion,
            ):
                link = Link(way, slate, handlers, self.watchdog_period, settings)
                _Work(self, link, slate, handlers, interrupts, companion).run()
            interrupts.end_as_told()
        finally:
            way.close()
            slate.close_descriptor()


def _companion(
    where: str, period_s: float | None, slate: Slate, settings: Settings
) -> AbstractContextManager[Companion | None]:
    me = role.current()
    rope = None if me is None else me.rope
    return nullcontext() if period_s is None else Companion(where, period_s, slate, settings, rope)


class _Work:
    """The work of a started slave."""

    def __init__(
        self,
        slave: SlaveProcess,
        link: Link,
        slate: Slate,
        handlers: Mapping[str, Handler],
        interrupts: Interrupts,
        companion: Companion | None,
    ) -> None:
        self._slave = slave
        self._link = link
        self._slate = slate
        self._interrupts = interrupts
        self._companion = companion
        self._handlers = {tag: self._resolving(handler) for tag, handler in handlers.items()}
        self._held: list[running.Result] = []
        """What is in hand: results, or the attempt that runs."""

    def run(self) -> None:
        """Work until there is nothing more to do."""
        self._slave.global_state_cache = GlobalStateCache(
            lambda label: self._link.retrieve(label, self._held)
        )
        try:
            self._link.register()
            self._slave.process_id = self._link.process_id
            self._run_tasks()
            self._link.leave()
        except TaskManagerTermination:
            self._link.leave()
        except Interrupted:
            self._link.leave(anew=True)
        except ConnectError as error:
            say(f"this slave ends, since its master is gone: {error}")
        except BaseException:
            self._link.leave(anew=True)
            raise

    def _run_tasks(self) -> None:
        while self._interrupts.by is None and not self._slave.terminationTest():
            for task in self._fetch():
                self._held = [self._run_task(task)]
                self._slate.finish()
        self._hand_in(0)

    def _fetch(self) -> list[running.Assigned]:
        if self._companion is not None:
            self._companion.revive()
        if self._held:
            return self._hand_in(1)
        return self._interrupts.raising(lambda: self._link.exchange([], 1, PATIENCE_S))  # type: ignore[no-any-return]

    def _hand_in(self, count: int) -> list[running.Assigned]:
        """Hand in at once: a result must not wait for the next task."""
        tasks = self._link.exchange(self._held, count, 0.0)
        self._slave.process_id = self._link.process_id
        self._held = []
        self._slate.clear()
        return tasks

    def _run_task(self, task: running.Assigned) -> running.Result:
        self._slate.begin(task.task, task.attempt, task.tag, time.monotonic_ns())
        self._held = [[task.task, task.attempt]]
        result = self._interrupts.raising(lambda: running.run(task, self._handlers))
        if self._interrupts.by is not None and result[2] == "error":
            # The signal was for us; and what the task made of it is no answer.
            return [task.task, task.attempt, "release", Cause.DRAINED.value]
        return result  # type: ignore[no-any-return]

    def _resolving(self, handler: Handler) -> Handler:
        def handle(*parameters: Any) -> Any:
            cache = self._slave.global_state_cache
            assert isinstance(cache, GlobalStateCache)
            return handler(*cache.resolve(parameters))

        return handle


def find_handlers(slave: SlaveProcess, namespace: Mapping[str, Any] | None = None) -> dict[str, Handler]:
    """The handlers of a slave by tag: its methods go before the functions of the namespace.

    Raises:
        HandlerError: there is none.
    """
    if namespace is None:
        module = sys.modules.get(type(slave).__module__)
        namespace = {} if module is None or type(slave) is SlaveProcess else vars(module)
    found: dict[str, Handler] = {}
    for name, value in namespace.items():
        if name.startswith(PREFIX) and len(name) > len(PREFIX) and callable(value):
            found[name.removeprefix(PREFIX)] = value
    for name in dir(slave):
        if name.startswith(PREFIX) and len(name) > len(PREFIX) and callable(getattr(slave, name)):
            found[name.removeprefix(PREFIX)] = getattr(slave, name)
    if not found:
        raise HandlerError(
            f"the slave {type(slave).__name__} can run nothing: give it methods, or its script functions, "
            "named do_<tag>, with the tags that the master gives to requestTask"
        )
    return found
