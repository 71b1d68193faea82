"""Masters: they ask for tasks and collect the results, and their process is the task manager."""

# The original's names, which scripts use:

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from pyrotask.config import Settings
from pyrotask.errors import ConnectError, TaskManagerTermination, UnknownLabel
from pyrotask.masterslave.code import CODE_LABEL
from pyrotask.masterslave.ending import Ending
from pyrotask.masterslave.launching import LaunchedSlaves
from pyrotask.masterslave.program import MasterProgram
from pyrotask.masterslave.serving import NameServerUse, serve
from pyrotask.masterslave.states import GlobalStates
from pyrotask.masterslave.telling import Waits, about_this_process
from pyrotask.remote.name_server import locate_name_server
from pyrotask.taskmanager import TaskManager

if TYPE_CHECKING:
    from pyrotask.remote.server import Server


class MasterProcess(MasterProgram):
    """A master and its task manager. Override `run`, or use it as it is. Thread-safe.

    Args:
        label: the name under which slaves find it: any text.
        use_name_server: True: be registered with the Pyro name server, if one answers;
            "start": and start one if none does; "require": raise if none does; False: leave
            name servers alone. Slaves of the same user on the same machine need none.
        host: the address to listen on; None: the setting ``host``. On any but this machine's own, a
            key is needed.
        port: None: the first free one of 7766 to 7775, else any.
        settings: None: `Settings.load()`.

    Attributes:
        label: as given.
        task_manager: the `TaskManager` itself; its methods can be called from any thread.
        process_id: the number of this process there: 0.
        pyro_daemon: the Pyro daemon that serves it; ``pyro_daemon.port`` is its port.
        global_states: the names of each global state that was not deleted, by its number.

    Raises:
        LabelHeld: another live master has the label.
        ConnectError: it cannot listen there, or not without a key.
    """

    def __init__(
        self,
        label: str,
        use_name_server: NameServerUse = True,
        *,
        host: str | None = None,
        port: int | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.label = label
        self._pid = os.getpid()
        self._settings = settings or Settings.load()
        self._closers: list[int] = []
        """The threads that have called `shutdown`; the first one does it."""
        self._has_ended = threading.Event()
        self._launched = LaunchedSlaves()
        self.task_manager = TaskManager(self._settings)
        self.process_id = self.task_manager.registerProcess(info=about_this_process())
        self._states = GlobalStates(self.task_manager)
        self.global_states = self._states.names
        self._waits = Waits(self.task_manager.broker, label)
        self._ending = Ending(self.task_manager.broker, label, self._launched, self._settings)
        try:
            self._server: Server = serve(
                self.task_manager, label, use_name_server, host or self._settings.host, port, self._settings
            )
        except BaseException:
            self._has_ended.set()
            self.task_manager.close()
            raise
        self.pyro_daemon = self._server.daemon
        self._uses_name_server = bool(use_name_server)
        atexit.register(self._at_exit)

    @property
    def pyro_ns(self) -> Any:
        """A proxy for the Pyro name server, for the calling thread; None: none is used, or there is none."""
        if not self._uses_name_server:
            return None
        try:
            return locate_name_server(self._settings)
        except ConnectError:
            return None

    # --- tasks --------------------------------------------------------------------------

    def requestTask(self, tag: str, *parameters: Any) -> str:
        """Ask for a task, and return its id. Never blocks.

        A slave runs it in its method ``do_<tag>`` with these parameters. In which order tasks
        are done is not defined. A `GlobalStateValue` among the parameters is replaced by its
        value there.

        Raises:
            TaskManagerTermination: the master is shutting down: no more tasks are taken.
            PayloadError: a parameter cannot be pickled.
        """
        if self._closers:
            raise TaskManagerTermination(f"the master {self.label} is shutting down, and takes no more tasks")
        return self.task_manager.addTaskRequest(tag, parameters, self.process_id)

    def retrieveResult(self, tag: str | None = None) -> tuple[str | None, str | None, Any]:
        """Wait for a finished task, with that tag if one is given; return its id, its tag and its result.

        Results come in the order of completion, each once. After the termination, when there
        are no more: ``(None, None, None)``. If nothing comes since nobody is there for what
        waits, that is said on stderr.

        Raises:
            TaskRaisedException: the task ended with an exception.
        """
        timeout_s = self._settings.explain_after_s
        while True:
            try:
                if tag is None:
                    return self.task_manager.getAnyResult(timeout=timeout_s)
                task_id, result = self.task_manager.getResultWithTag(tag, timeout=timeout_s)
                return task_id, tag, result
            except TimeoutError:
                self._waits.tell()
            except TaskManagerTermination:
                return None, None, None

    # --- global states ------------------------------------------------------------------

    def setGlobalState(self, **values: Any) -> int:
        """Store values for tasks to use, as ``GlobalStateValue(state_id, name)``; return the state's number.

        Numbers are 1, 2, 3, ... A value travels to each slave once, when it is first used there.
        """
        return self._states.set(values)

    def deleteGlobalState(self, state_id: int) -> None:
        """Delete the values of a state. Tasks that use it and are not done yet will fail.

        Slaves forget it when they get the next value of another state.

        Raises:
            UnknownLabel: there is no such state (any more).
        """
        self._states.delete(state_id)

    # --- slaves ---------------------------------------------------------------------------

    def launchSlaveJobs(self, n: int = 1, port: int | None = None) -> None:
        """Start ``n`` slaves on this machine, as processes that end with this one. Does not wait for them.

        Args:
            n: how many.
            port: where they shall connect to; None: to this master's own port.

        Raises:
            ValueError: the slaves' code is not known.
        """
        try:
            self.task_manager.retrieveData(CODE_LABEL)
        except UnknownLabel:
            raise ValueError(
                f"the master {self.label} does not know what its slaves shall run: use runJob, or name a "
                "slave_script or slave_module to initializeMasterProcess; or start the slaves' script by hand"
            ) from None
        self._launched.launch(self.label, self._own_address(port), n, self._settings.key_file)

    def _own_address(self, port: int | None) -> str:
        host = self._server.host
        if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - read, not bound
            host = "127.0.0.1"
        return (
            f"[{host}]:{port or self._server.port}" if ":" in host else f"{host}:{port or self._server.port}"
        )

    # --- from the beginning to the end --------------------------------------------------------

    def shutdown(self) -> None:
        """End the computation, and tell the slaves. Idempotent; may be called from a signal handler.

        No more tasks are taken from now on. What was asked for is still done: this blocks until
        nothing is unfinished, or no slave is left that could do it (one that may still come is
        waited for, for half a minute), or for as long as the setting ``shutdown_timeout_s`` says.
        Then the task manager terminates. Called once more by a signal handler meanwhile, it
        does not wait any longer.

        It is called when the interpreter ends, if nobody has called it before.
        """
        if self._has_ended.is_set() or os.getpid() != self._pid:
            return
        if self.task_manager.broker.engine.is_held_here:
            self.task_manager.terminate()  # we are in a finalizer that came in between: the rest is for later
            return
        me = threading.get_ident()
        self._closers.append(me)
        if self._closers[0] != me:
            self._has_ended.wait()
        elif self._closers.count(me) > 1:
            self._in_a_hurry = True  # we are in a signal handler, and below us is the first call
        else:
            self._shut_down()

    def _shut_down(self) -> None:
        try:
            self._ending.wait_for_work(lambda: self._in_a_hurry)
        finally:
            self.task_manager.terminate()
            self._ending.wait_for_slaves()
            self._launched.end()
            self._server.stop()
            self._has_ended.set()
            atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        if getattr(sys, "last_type", None) is KeyboardInterrupt:
            self._in_a_hurry = True  # the script was ended by Ctrl-C: nobody wants the rest
        self.shutdown()

    def _count_unfinished(self) -> int:
        waiting, running, _ = self.task_manager.numberOfTasks()
        return sum(waiting.values()) + sum(running.values())
