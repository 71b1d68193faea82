"""The supervisor of a node: it keeps its children running, and speaks for them.

It runs no task and imports no module of the user's, so nothing that a task does can silence
it. It sees each child's end at once, reports what that child had begun, and starts another; it
beats for those that run (a stopped one does not); it ends tasks that reach their time limit;
and it ends with all its children, whatever it is ended by.

Everything is decided in one thread, `Supervisor._run`: it takes messages from an inbox, which
everybody else (the children's watchers, the reporter, a signal handler) only puts into. That
thread starts the children, since on Linux they are killed when it ends.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Self

from pyrotask.config import Settings
from pyrotask.errors import ConnectError, HandlerError
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.worker.begun import Begun, Goodbye, Number
from pyrotask.worker.bell import Bell
from pyrotask.worker.events import ChildInfo, Event
from pyrotask.worker.offspring import Change, Offspring
from pyrotask.worker.orders import Orders
from pyrotask.worker.place import Place
from pyrotask.worker.reporter import InVain, Reporter
from pyrotask.worker.trays import Trays

DRAIN_AGAIN_S = 0.25
"""How often children are told to drain: one that was just about to wait did not hear it."""

STARTING_FOR_A_CORE = 2
"""How many children may be starting at once, for each core: the first of hundreds shall soon be at work."""

ON_ITS_WAY_S = 60.0
"""How long after it was leased an attempt may be begun: its arguments may be large, and the network slow."""

LOOK_IN_VAIN_S = 0.25
"""How often is looked whether one has been begun that is in vain."""

FAREWELL_S = 2.0
"""How long the last reports may take when everything has ended."""


class Supervisor:
    """Runs ``count`` children that compute for a broker.

    Args:
        where: the broker's label or address.
        count: how many children; None: one for each core.
        modules: where the handlers are, dotted names or files; see `handlers`. Without
            one, the worker runs what every worker can run: the functions of Executors.
        settings: None: `Settings.load()`.
        period_s: the sign of life that is promised to the broker.
        info: what the broker shows about this node; None: the host's name.
        on_event: called with each `Event`, in the supervisor's thread: it must be quick.

    Use `run`, or `start` and `wait`. `drain` and `stop` may be called at any time, from any
    thread or signal handler, also before the start, and again.
    """

    def __init__(
        self,
        where: str,
        count: int | None = None,
        modules: Iterable[str] = (),
        *,
        settings: Settings | None = None,
        period_s: float = 5.0,
        info: str | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        number = (os.cpu_count() or 1) if count is None else count
        if number < 1:
            raise ValueError(f"a worker needs at least one child process, not {number}")
        if not period_s > 0:
            raise ValueError(f"the period must be greater than 0 s, not {period_s!r}")
        self._where = where
        self._modules = (modules,) if isinstance(modules, str) else tuple(modules)
        self._settings = settings or Settings.load()
        self._period_s = period_s
        self._info = info or socket.gethostname()
        self._on_event = on_event or (lambda _event: None)
        self._places = [Place() for _ in range(number)]
        self._most_starting = STARTING_FOR_A_CORE * (os.cpu_count() or 1)
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._reporter: Reporter | None = None
        self._node: Number | None = None
        self._ring = -1
        """What children ring with, while the thread runs."""
        self._has_worked = False
        """A child has got to work, ever."""
        self._ending = False
        self._end_at: float | None = None
        """When what still runs is given back, while draining."""
        self._drain_again_at = 0.0
        self._trays = Trays(self._give_back)
        self._in_vain: dict[InVain, float] = {}
        """Attempts that nobody wants any more and that were not begun yet, and until when they may be."""
        self._look_in_vain_at = 0.0
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="pyrotask-supervisor", daemon=True)
        self._is_over = threading.Event()

    # --- the caller's side --------------------------------------------------------------------

    def start(self) -> None:
        """Connect, and start the children. Returns once the broker knows this node.

        Raises:
            ConnectError: there is no way to the broker.
        """
        broker = BulkProxy(self._where, self._settings)
        broker.warn_of_python()
        reporter = Reporter(
            broker,
            self._period_s,
            self._info,
            alive=self._alive,
            registered=lambda node: self._inbox.put(lambda: self._node_registered(node)),
            given_up=lambda error: self._inbox.put(lambda: self._fail(error)),
            patience_s=self._settings.reconnect_timeout_s,
            in_vain=lambda attempts: self._inbox.put(lambda: self._heed_in_vain(attempts)),
            lost=lambda error: self._inbox.put(lambda: self._broker_lost(error)),
            found=lambda: self._inbox.put(self._broker_found),
        )
        try:
            reporter.start()
        except BaseException:
            reporter.finish(0.0)
            raise
        self._reporter = reporter
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until all children have ended. False: they have not, within the timeout.

        Raises:
            HandlerError: the children could not get to work; the text is their own.
            ConnectError: the broker has been away for too long.
        """
        if not self._is_over.wait(timeout_s):
            return False
        self._thread.join()
        if self._error is not None:
            raise self._error
        return True

    def run(self) -> None:
        """`start`, and `wait` until it was drained or stopped, or the task manager terminated."""
        self.start()
        self.wait()

    def drain(self) -> None:
        """Finish what runs, take nothing new, and end. Returns at once.

        After `Settings.drain_timeout_s`, what still runs is given back.
        """
        self._inbox.put(self._drain)

    def stop(self) -> None:
        """End now: what runs is given back to the broker, unfinished. Returns at once."""
        self._inbox.put(self._stop)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        self._is_over.wait()
        self._thread.join()

    @property
    def children(self) -> list[ChildInfo]:
        """The children at this moment. Thread-safe."""
        return [_info(child) for child in self._living()]

    # --- the supervisor's thread ----------------------------------------------------------------

    def _run(self) -> None:
        with Bell(lambda: self._inbox.put(self._look)) as bell:
            self._ring = bell.ring
            try:
                self._look_after_children()
            except Exception as error:  # noqa: BLE001 - the thread's outermost frame: whoever waits is told
                self._error = error
            finally:
                try:
                    self._end_all()
                finally:
                    self._reporter_().finish(FAREWELL_S)
                    self._is_over.set()

    def _look_after_children(self) -> None:
        while not (self._ending and not any(self._living())):
            self._start_children()
            self._drain_children()
            self._end_overdue()
            self._end_what_is_in_vain()
            self._trays.look()
            with contextlib.suppress(queue.Empty):
                self._inbox.get(timeout=self._seconds_to_next())()

    def _start_children(self) -> None:
        room = self._room_to_start()
        for place in self._places:
            if room > 0 and place.is_due:
                self._start_child(place)
                room -= 1

    def _room_to_start(self) -> int:
        """How many more children may be started now, if they are due."""
        if self._ending:
            return 0
        return self._most_starting - sum(place.is_starting for place in self._places)

    def _start_child(self, place: Place) -> None:
        try:
            child = Offspring(self._orders, self._ring, self._node, self._child_changed)
        except (OSError, RuntimeError) as error:
            if not self._has_worked:
                raise  # it is not for a moment, as far as we know
            # Others on this machine need too much right now. What our other children do goes on.
            delay_s = place.not_started()
            self._on_event(
                Event("not started", detail=f"no child can be started now; again in {delay_s:g} s: {error}")
            )
            return
        place.started(child)
        self._tell("started", child)

    def _orders(self, slate: int, tray: tuple[int, int], rope: int) -> Orders:
        return Orders(
            where=self._where,
            modules=self._modules,
            settings=self._settings,
            period_s=self._period_s,
            info=self._info,
            parent_pid=os.getpid(),
            slate=slate,
            tray=tray,
            rope=rope,
            bell=self._ring,
        )

    def _seconds_to_next(self) -> float | None:
        """Until something is due that nobody will tell us of."""
        now = time.monotonic()
        has_room = self._room_to_start() > 0
        instants = [place.start_at for place in self._places if place.child is None and has_room]
        if self._end_at is not None:
            instants += [self._end_at, self._drain_again_at]
        if self._trays.look_at is not None:
            instants.append(self._trays.look_at)
        if self._in_vain:
            instants.append(self._look_in_vain_at)
        limits = (child.limit_at_ns() for child in self._living() if not child.is_over)
        instants += [limit / 1e9 for limit in limits if limit is not None]
        return max(0.0, min(instants) - now) if instants else None

    def _drain_children(self) -> None:
        if self._end_at is not None and time.monotonic() >= self._drain_again_at:
            self._drain_again_at = time.monotonic() + DRAIN_AGAIN_S
            for child in self._living():
                child.drain()

    def _end_overdue(self) -> None:
        if self._end_at is not None and time.monotonic() >= self._end_at:
            self._stop()
        for child in self._living():
            begun = None if child.is_over else child.overdue(time.monotonic_ns())
            if begun is not None:
                self._end_for_limit(child, begun)

    def _end_for_limit(self, child: Offspring, begun: Begun) -> None:
        if child.process is not None:
            self._reporter_().time_limit_reached(child.process, begun.task, begun.attempt)
        child.end()
        self._tell("time limit", child, f"{begun.story} reached its time limit")

    # --- what waits in a busy child ---------------------------------------------------------------

    def _give_back(self, child: Offspring) -> None:
        """What waits in its tray can be run by others."""
        if not self._reporter_().can_give_back:
            return
        leases = child.recall()
        if leases and self._node is not None:
            self._reporter_().give_back(self._node, leases)

    def _heed_in_vain(self, attempts: list[InVain]) -> None:
        """Nobody wants these attempts any more: a child that runs one, now or soon, is ended."""
        until, self._look_in_vain_at = time.monotonic() + ON_ITS_WAY_S, 0.0
        self._in_vain.update(dict.fromkeys(attempts, until))
        self._end_what_is_in_vain()
        waiting = {attempt.process for attempt in attempts}
        for child in self._living():
            if child.process in waiting and not child.is_over:
                self._give_back(child)  # it is among those, or over, or on its way to the child

    def _end_what_is_in_vain(self) -> None:
        now = time.monotonic()
        if not self._in_vain or now < self._look_in_vain_at:
            return
        self._look_in_vain_at = now + LOOK_IN_VAIN_S
        living = {child.process: child for child in self._living() if not child.is_over}
        self._in_vain = {
            attempt: until
            for attempt, until in self._in_vain.items()
            if attempt.process in living and now < until
        }
        for process, child in living.items():
            running = child.slate.running
            if process is None or running is None:
                continue
            if self._in_vain.pop(InVain(process, running.task, running.attempt), None) is not None:
                self._tell("in vain", child, f"{running.story} was cancelled, or answered by another")
                child.end()

    # --- what happens to the children -------------------------------------------------------------

    def _child_changed(self, child: Offspring, change: Change) -> None:
        """In another thread: pass it on."""
        self._inbox.put(lambda: self._note(child, change))

    def _note(self, child: Offspring, change: Change) -> None:
        if change is Change.ENDED:
            self._child_ended(child)
        else:
            self._tell(change.value, child)

    def _child_ended(self, child: Offspring) -> None:
        place = next(place for place in self._places if place.child is child)
        place.child = None
        self._trays.forget(child)
        begun = child.slate.begun()
        in_order = child.is_over or child.goodbye in (Goodbye.DRAINED, Goodbye.TERMINATED)
        if self._end_at is not None and child.process is None:
            in_order = True  # told to end before it could answer to that
        self._report_end(child, in_order=in_order)
        child.let_go()
        story = child.story()
        tasks = tuple(f"{each.tag}_{each.task}" for each in begun)
        ended = Event("ended", child.pid, _number(child), story, tasks, in_order)
        self._on_event(ended)
        if child.goodbye is Goodbye.TERMINATED:
            self._end_after_termination()
        elif not in_order and not self._ending:
            self._child_died(place, child, worked=bool(begun))

    def _report_end(self, child: Offspring, *, in_order: bool) -> None:
        if child.process is None:
            return
        if in_order:
            self._reporter_().child_left(child.process)
            return
        # Tasks whose results were only not handed in yet have not killed it, if another one runs.
        last = child.slate.last
        attempts = [] if last is None else [[last.task, last.attempt]]
        self._reporter_().child_exited(child.process, attempts, self._whole_story(child))

    def _whole_story(self, child: Offspring) -> str:
        """What stands in the story of the task that it ran."""
        where = f"{child.story()} (pid {child.pid} on {self._info})"
        return f"{where}; its last lines:\n{child.last_lines}" if child.last_lines else where

    def _child_died(self, place: Place, child: Offspring, *, worked: bool) -> None:
        """It was to go on. Where none ever worked, one that cannot be set up is a mistake in the command."""
        if child.goodbye is Goodbye.CANNOT_WORK and not self._has_worked:
            self._fail(HandlerError(child.slate.text))
            return
        reason = place.child_died(child, worked=worked)
        if reason is None:
            return
        if any(other.child is not None and other.has_registered for other in self._places):
            # Somebody edits the module, say. What our other children compute is not to be lost by that.
            self._on_event(
                Event("not started", detail=f"a child cannot get to work; the others go on: {reason}")
            )
        else:
            self._fail(HandlerError(reason))

    def _look(self) -> None:
        """A child has registered, or waits to, or has a batch; or begun a task with a limit.

        The last is seen by the loop itself.
        """
        for place in self._places:
            child = place.child
            if child is None:
                continue
            if child.process is None:
                self._reporter_().beat_soon()
            elif not place.has_registered:
                place.has_registered = self._has_worked = True
                self._tell("registered", child)
            self._trays.heed(child)

    # --- what happens to us -----------------------------------------------------------------------

    def _node_registered(self, node: Number) -> None:
        self._node = node
        for child in self._living():
            child.slate.node = node
        self._on_event(Event("node registered", process=node.number))

    def _broker_lost(self, error: ConnectError) -> None:
        running = [child.slate.running for child in self._living()]
        kept = [f"{task.tag}_{task.task}" for task in running if task is not None]
        doing = f"{', '.join(kept)} {'goes' if len(kept) == 1 else 'go'} on" if kept else "nothing runs"
        self._on_event(
            Event(
                "broker lost",
                detail=f"broker {self._where} is away; {doing}, what is finished is kept, and the broker is "
                f"looked for (for up to {self._settings.reconnect_timeout_s:g} s): {error}",
            )
        )

    def _broker_found(self) -> None:
        self._on_event(Event("broker found", detail=f"broker {self._where} is back"))

    def _drain(self) -> None:
        if not self._ending:
            self._begin_to_drain()
            self._on_event(Event("draining"))

    def _end_after_termination(self) -> None:
        """One that starts, or is at work, would else look for a broker that may be gone by then."""
        if not self._ending:
            self._begin_to_drain()

    def _begin_to_drain(self) -> None:
        self._ending = True
        self._end_at = time.monotonic() + self._settings.drain_timeout_s

    def _stop(self) -> None:
        self._ending, self._end_at = True, None
        for child in self._living():
            child.end()

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._stop()

    def _end_all(self) -> None:
        """Whatever happened: no child is left, and each one's end is reported."""
        self._stop()
        while any(self._living()):
            self._inbox.get()()

    def _living(self) -> Iterator[Offspring]:
        return (child for child in [place.child for place in self._places] if child is not None)

    def _alive(self) -> list[Number]:
        """In the reporter's thread: whom we vouch for."""
        processes = (child.process for child in self._living() if not child.is_stopped)
        return [process for process in processes if process is not None]

    def _reporter_(self) -> Reporter:
        assert self._reporter is not None
        return self._reporter

    def _tell(self, kind: str, child: Offspring, detail: str = "") -> None:
        self._on_event(Event(kind, child.pid, _number(child), detail))


def _number(child: Offspring) -> int | None:
    return None if child.process is None else child.process.number


def _info(child: Offspring) -> ChildInfo:
    if child.is_stopped:
        state = "stopped"
    elif child.process is None:
        state = "starting"
    else:
        running = child.slate.running
        state = "idle" if running is None else f"running {running.story}"
    return ChildInfo(child.pid, _number(child), state)
