"""One child as its supervisor sees it: how it is started, what becomes of it, how it is ended.

`Offspring` is the running process and what it notes on its slate. A thread for each waits for
what the system has to tell (stopped, continued, ended) and passes it on at once.
"""

from __future__ import annotations

import contextlib
import enum
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pyrotask.worker.begun import Begun, Goodbye, Number, Slate
from pyrotask.worker.orders import inheritable
from pyrotask.worker.tail import Tail
from pyrotask.worker.tray import Lease, Tray

if TYPE_CHECKING:
    from pyrotask.worker.orders import Orders


SILENCE_S = 0.2
"""After how long a silence a dead child's last lines are all there, if a process of its task holds its
stderr open."""


GRACE_S = 1.0
"""How long what a dead child's tasks have started may take to end, before it is killed as well."""

GRACE_LOOK_S = 0.02
"""How often is looked meanwhile whether it has."""


class Change(enum.Enum):
    """What has become of a child."""

    STOPPED = "stopped"
    CONTINUED = "continued"
    ENDED = "ended"


class Ending(NamedTuple):
    """How a process ended: by its exit code, or (negative) by a signal."""

    code: int | None
    """None: somebody else in this process has taken it from the system."""

    @property
    def story(self) -> str:
        """The same for people."""
        if self.code is None:
            return "unknown exit code"
        if self.code >= 0:
            return f"exit code {self.code}"
        try:
            name = signal.Signals(-self.code).name
        except ValueError:
            name = "unknown"
        return f"killed by signal {-self.code} ({name})"


class Offspring:
    """A child that was started, until it has ended.

    Args:
        orders: makes the child's orders from the descriptors that it inherits: its slate, the
            two ends of its tray, and the reading end of the rope that ties it to us.
        bell: the writing end of the supervisor's bell; the child inherits it as well.
        node: what the slate says about us.
        changed: called in another thread with each change.

    Raises:
        OSError, RuntimeError: the system has no process, or no thread, for us now.
    """

    def __init__(
        self,
        orders: Callable[[int, tuple[int, int], int], Orders],
        bell: int,
        node: Number | None,
        changed: Callable[[Offspring, Change], None],
    ) -> None:
        self.started_at = time.monotonic()
        self.is_stopped = False
        self.is_over = False
        """We ended it: what it had begun is no crash."""
        self._ending: Ending | None = None
        self._changed = changed
        with contextlib.ExitStack() as in_any_case, contextlib.ExitStack() as if_it_fails:
            self.slate = Slate()
            in_any_case.callback(self.slate.close_descriptor)
            self.slate.node = node
            self.tray = Tray()
            if_it_fails.callback(self.tray.close)
            rope, self._rope = os.pipe()
            in_any_case.callback(os.close, rope)
            if_it_fails.callback(os.close, self._rope)
            tray = (self.tray.reading, self.tray.writing)
            its_orders = orders(self.slate.descriptor, tray, rope)
            letter = in_any_case.enter_context(inheritable(its_orders.to_json()))
            self._process = subprocess.Popen(
                its_orders.command(letter),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(self.slate.descriptor, *tray, rope, bell, letter),
                process_group=0,  # Ctrl-C is for the supervisor, which then tells its children
            )
            if_it_fails.callback(self._end_unwatched)
            assert self._process.stderr is not None
            self._tail = Tail(self._process.stderr)
            threading.Thread(target=self._watch, name=f"pyrotask-child-{self.pid}", daemon=True).start()
            if_it_fails.pop_all()

    @property
    def pid(self) -> int:
        """The system's number for it."""
        return self._process.pid

    @property
    def process(self) -> Number | None:
        """Its process number at the broker, once it has registered."""
        return self.slate.process

    @property
    def goodbye(self) -> Goodbye:
        """Its last word."""
        return self.slate.goodbye

    @property
    def ending(self) -> Ending | None:
        """How it ended; None: it runs."""
        return self._ending

    @property
    def age_s(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self.started_at

    def story(self) -> str:
        """How it ended, and with what at hand: ``exit code 3 while running sqrt_17, attempt 2``."""
        assert self._ending is not None, self.pid
        running = [begun.story for begun in self.slate.begun() if begun.is_running]
        return self._ending.story + (f" while running {', '.join(running)}" if running else "")

    @property
    def last_lines(self) -> str:
        """The end of what it has written to its stderr."""
        return self._tail.text

    def recall(self) -> list[Lease]:
        """Take from it what it has leased and not begun."""
        return self.tray.take_all()

    def keeps_others_waiting(self, now_ns: int, patience_ns: int) -> bool:
        """Whether it has run one task for longer than that, with others in its tray."""
        running = self.slate.running
        return running is not None and now_ns - running.begun_at_ns > patience_ns and not self.tray.is_empty()

    def overdue(self, now_ns: int) -> Begun | None:
        """The task that has reached its time limit by that instant of the monotonic clock."""
        running = self.slate.running
        if running is None or running.limit_ns is None or now_ns < running.begun_at_ns + running.limit_ns:
            return None
        return running

    def limit_at_ns(self) -> int | None:
        """When the task that it runs reaches its limit, if it has one."""
        running = self.slate.running
        return None if running is None or running.limit_ns is None else running.begun_at_ns + running.limit_ns

    def drain(self) -> None:
        """Ask it to finish what it runs, and to end.

        To be said again: a signal that comes in the instant before the child begins to wait
        does not wake it. It is sent none while it has something at hand: a task may have made it deadly.
        """
        self.slate.is_draining = True
        if self.slate.last is None:
            self._send(signal.SIGTERM)

    def end(self) -> None:
        """Kill it, and what its tasks have started. What it had begun is no crash."""
        self.is_over = True
        self._send(signal.SIGKILL)
        self._signal_group(signal.SIGTERM)

    def let_go(self) -> None:
        """It has ended: end what its tasks have started and left behind."""
        os.close(self._rope)
        self.tray.close()
        self._end_group()

    def _end_group(self) -> None:
        """End it in two steps, for the sake of what cleans up behind the dead.

        The resource tracker of multiprocessing ignores the first signal, removes the shared memory of
        processes that were killed, and ends: nobody else would remove that.
        """
        if self._signal_group(signal.SIGTERM):
            try:
                # No daemon: it is seen to even if our process is about to end.
                threading.Thread(target=self._end_stubborn, name="pyrotask-grace", daemon=False).start()
            except RuntimeError:  # the system has no thread for us, or the interpreter ends
                self._signal_group(signal.SIGKILL)

    def _end_stubborn(self) -> None:
        kill_at = time.monotonic() + GRACE_S
        while self._signal_group(0):
            if time.monotonic() >= kill_at:
                self._signal_group(signal.SIGKILL)
                return
            time.sleep(GRACE_LOOK_S)

    def _signal_group(self, number: int) -> bool:
        """Returns whether there is anybody in it."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _send(self, number: int) -> None:
        if self._ending is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _end_unwatched(self) -> None:
        self._process.kill()
        self._process.wait()

    def _watch(self) -> None:
        while self._ending is None:
            try:
                _, status = os.waitpid(self.pid, os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                self._process.returncode = 0
                self._ending = Ending(None)
                break
            if os.WIFSTOPPED(status):
                self.is_stopped = True
                self._changed(self, Change.STOPPED)
            elif os.WIFCONTINUED(status):
                self.is_stopped = False
                self._changed(self, Change.CONTINUED)
            else:
                code = os.waitstatus_to_exitcode(status)
                # Popen must not wait for a number that may be another process's by then.
                self._process.returncode = code
                self._ending = Ending(code)
        self._tail.settle(SILENCE_S)
        self._changed(self, Change.ENDED)
