"""Simulated workers: supervisors with children, as `pyrotask.worker` has them, and plain slaves."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

from pyrotask.errors import NotHolder, TaskManagerTermination, UnknownProcess
from tests.simulation.client import Client
from tests.simulation.loop import Actor, Story
from tests.simulation.work import Work, packed, unpacked

if TYPE_CHECKING:
    from tests.simulation.network import Link
    from tests.simulation.world import World

PERIOD_S = 1.0
"""What supervisors and slaves promise."""


class Supervisor(Client):
    """A node: it beats for its children, and reports how they end."""

    def __init__(self, world: World, name: str, children: int) -> None:
        super().__init__(world, name)
        self.node: int | None = None
        self.reports: deque[tuple[Any, ...]] = deque()
        self.children = [Child(self, f"{name}.{k}") for k in range(children)]
        self._registrations = 0

    def start(self) -> None:
        """Begin, and start the children."""
        self.live(self.stay_connected(self._beat_or_report, longest_pause_s=0.2))
        for child in self.children:
            child.start()

    def _beat_or_report(self, link: Link) -> Story:
        try:
            if self.node is None:
                self._registrations += 1
                node = yield link.call("register_node", PERIOD_S, self.name)
                self.world.witness.saw("node", node, (self.name, self._registrations))
                self.node = node
            if self.reports:
                yield from self._report(link)
            elif self.loop.chance(0.2):
                self._recall()
            else:
                alive = [c.process for c in self.children if c.process is not None and c.is_heard]
                yield link.call("beat", self.node, alive)
                yield PERIOD_S / 2
        except UnknownProcess:
            self.node = None

    def _report(self, link: Link) -> Story:
        with contextlib.suppress(UnknownProcess, NotHolder):  # it is known
            yield link.call(*self.reports[0])
        self.reports.popleft()

    def _recall(self) -> None:
        """Take what a child has not begun out of its hands, as when it is long at something else."""
        child = self.loop.random.choice(self.children)
        if child.is_alive and (attempts := child.be_recalled()):
            self.reports.append(("give_back", self.node, attempts))

    def child_died(self, child: Child) -> None:
        """The operating system says so."""
        if child.process is not None:
            self.reports.append(("child_exited", child.process, child.begun, "signal 9"))
        child.forget_all()
        self.loop.after(self.loop.between(0.01, 0.2), child.start)


class Child(Client):
    """A child process: it leases, runs, and hands in."""

    def __init__(self, supervisor: Supervisor, name: str) -> None:
        super().__init__(supervisor.world, name)
        self.supervisor = supervisor
        self._prefetch = self.loop.random.randint(1, 4)
        self._registrations = 0
        self._link: Link | None = None
        self.forget_all()

    @property
    def is_heard(self) -> bool:
        """Whether its supervisor sees it running."""
        return self.is_alive and not self.is_stopped

    @property
    def begun(self) -> list[list[int]]:
        """What its supervisor sees on its slate."""
        running = [self._running[:2]] if self._running is not None else []
        return [result[:2] for result in self._results] + running

    def be_recalled(self) -> list[list[int]]:
        """What is in the queue is not its own any more: it will say so too."""
        attempts = [[task[0], task[2]] for task in self._queue]
        self._queue.clear()
        self._recalled += [[*attempt, "release", "not begun"] for attempt in attempts]
        return attempts

    def start(self) -> None:
        """A new process."""
        if not self.is_alive:
            self.live(self._work())

    def forget_all(self) -> None:
        """Nothing is left of the process that it was."""
        self.process: int | None = None
        self._queue: deque[list[Any]] = deque()
        self._results: list[list[Any]] = []
        self._recalled: list[list[Any]] = []
        self._running: list[Any] | None = None
        self._works: dict[tuple[int, int], str] = {}

    def die(self) -> None:
        """Be killed."""
        if not self.is_alive:
            return
        self.world.witness.tell("dies:", self.name, self.process, self.begun)
        self._count_deaths()
        self.kill()
        if self._link is not None:
            self._link.close()
            self._link = None
        self.supervisor.child_died(self)

    def stop(self) -> None:
        """Be stopped (SIGSTOP)."""
        self.world.witness.tell("is stopped:", self.name, self.process)
        super().stop()

    def _count_deaths(self) -> None:
        for task, attempt in self.begun:
            self.world.witness.deaths[self._works[task, attempt]] += 1

    def _work(self) -> Story:
        while True:
            try:
                if self._link is None:
                    yield from self._resume()
                if self.process is None:
                    yield from self._register()
                while self._queue:
                    yield from self._run(self._queue.popleft())
                    if self.loop.chance(0.5):
                        break
                yield from self._exchange()
            except UnknownProcess:
                self._results.clear()  # they were looked at all the same
                self.process = None
                self._queue.clear()
            except ConnectionError:
                self._link = None
                yield self.loop.between(0.01, 0.3)
            except TaskManagerTermination:
                return

    def _resume(self) -> Story:
        link = yield self.world.network.connect()
        self._recalled.clear()
        if self.process is not None:
            held = [result[:2] for result in self._results] + [[task[0], task[2]] for task in self._queue]
            if not (yield link.call("resume", self.process, held)):
                self.process = None
                self._queue.clear()
        self._link = link

    def _register(self) -> Story:
        node = self.supervisor.node
        if node is None:
            yield 0.02
            return
        self._registrations += 1
        assert self._link is not None
        process = yield self._link.call("register_worker", node, PERIOD_S, self.name, None)
        self.world.witness.saw("process", process, (self.name, self._registrations))
        self.process = process

    def _exchange(self) -> Story:
        if self.process is None:
            return
        assert self._link is not None
        results, recalled = list(self._results), list(self._recalled)
        patience_s = 0 if results or self._queue else self.loop.random.choice((0, 0.5, 2.0))
        room = self._prefetch - len(self._queue)
        ran = [[tag, 1, 1e-6 if self.world.tasks_seem_short else 1.0] for tag in ("a", "b")]
        reply = yield self._link.call(
            "exchange", self.process, results + recalled, None, room, patience_s, ran
        )
        self._results.clear()
        self._recalled = [one for one in self._recalled if one not in recalled]
        refused = {task for task, _ in reply["refused"]}
        for result in results:
            if result[2] == "value" and result[0] not in refused:
                self.world.witness.acknowledged(result[0])
        for task in reply["tasks"]:
            number, tag, attempt, payload = task[:4]
            work = unpacked(payload)
            self.world.witness.saw("task", number, (work[0], tag))
            self.world.witness.saw(
                "attempt", (number, attempt), (self.name, self.process, self._registrations)
            )
            self._works[number, attempt] = work[0]
            self._queue.append(task)
        if not reply["tasks"] and patience_s == 0 and not self._queue:
            yield 0.1

    def _run(self, task: list[Any]) -> Story:
        number, _, attempt, payload, _, limit_s, _ = task
        work = Work(*unpacked(payload))
        self._running = [number, attempt]
        if limit_s is not None and work.seconds > limit_s:
            yield limit_s
            self.supervisor.reports.append(("time_limit_reached", self.process, number, attempt))
            self._running = None
            self.die()
            return
        yield work.seconds
        if work.deed == "poison":
            self.die()
            yield 0.0
        self._running = None
        if work.deed == "raise" or (work.deed == "flaky" and self.loop.chance(0.5)):
            error = [number, attempt, "error", packed(work.name), "", ["ValueError"], work.name]
            self._results.append(error)
        else:
            self._results.append([number, attempt, "value", packed(work.name)])


class PlainSlave(Client):
    """A slave that speaks the reference API over a plain proxy, and pings over another."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.process: int | None = None
        self._registrations = 0
        self._running: str | None = None
        self._heart = Actor(world.loop)
        self._links: list[Link] = []

    def start(self) -> None:
        """A new process."""
        if not self.is_alive:
            self.process = None
            self.live(self.stay_connected(self._work, connected=self._links.append))
            self._heart.live(self.stay_connected(self._ping, connected=self._links.append))

    def die(self) -> None:
        """Be killed."""
        if self.is_alive:
            self.world.witness.tell("dies:", self.name, self.process)
            self.count_death()
            self.kill()
            self._heart.kill()
            while self._links:
                self._links.pop().close()
            self.loop.after(0.5, self.start)

    def stop(self) -> None:
        """Be stopped (SIGSTOP)."""
        self.world.witness.tell("is stopped:", self.name, self.process)
        self.count_death()
        super().stop()
        self._heart.stop()

    def continue_(self) -> None:
        """Go on."""
        super().continue_()
        self._heart.continue_()

    def count_death(self) -> None:
        """Whatever it runs may be counted as a crash: nobody can tell."""
        if self._running is not None:
            self.world.witness.deaths[self._running] += 1

    def _work(self, link: Link) -> Story:
        try:
            if self.process is None:
                self._registrations += 1
                process = yield link.plain("registerProcess", PERIOD_S, self.name)
                self.world.witness.saw("process", process, (self.name, self._registrations))
                self.process = process
            yield from self._serve(link)
        except (TimeoutError, NotHolder):
            pass
        except UnknownProcess:
            self.process = None
        except ConnectionError:
            self.count_death()
            raise

    def _serve(self, link: Link) -> Story:
        task_id, tag, work = yield link.plain("getAnyTask", self.process, 1.0)
        name, deed, seconds = work
        self.world.witness.saw("task", int(task_id.rpartition("_")[2]), (name, tag))
        self._running = name
        yield seconds
        if deed == "poison":
            self.die()
            yield 0.0
        if deed == "raise" or (deed == "flaky" and self.loop.chance(0.5)):
            yield link.plain("storeException", task_id, name, "")
        else:
            yield link.plain("storeResult", task_id, name)
        self._running = None

    def _ping(self, link: Link) -> Story:
        if self.process is not None:
            yield link.plain("ping", self.process)
        yield PERIOD_S / 2
