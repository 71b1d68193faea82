"""A world: a broker, its clients, and their troubles, all of it from one number.

`World(seed).run()` raises when a law is broken. First there is trouble: connections break, workers
and masters are killed or stopped, the broker crashes. Then it is calm, and everything must come
to its end: each task answered once, to its own master, and nothing left behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from pyrotask.core.machine import Machine
from pyrotask.core.model import FINISHED, PUBLIC, SECOND, Limits, State
from pyrotask.core.state import DurableState
from pyrotask.journal import Policy
from tests.simulation.broker import Broker
from tests.simulation.disk import Disk, Journal
from tests.simulation.loop import Loop
from tests.simulation.masters import PlainMaster, SessionMaster
from tests.simulation.network import Network
from tests.simulation.witness import LawBrokenError, Witness
from tests.simulation.work import Work, unpacked
from tests.simulation.workers import PlainSlave, Supervisor

LIMITS = Limits(
    plain_grace_ns=2 * SECOND, recovery_grace_ns=3 * SECOND, max_crashes=3, max_losses=6, max_reply_bytes=200
)
TAGS = ("a", "b")
LONGEST_CALM_S = 120
"""By then everything has come to its end, or hangs."""

Defect = Callable[[Machine], None]
"""Something that we plant into each machine, to see that the laws find it."""


class World:
    """See the module's text.

    Args:
        seed: what makes it this world.
        defect: what is planted into each run's machine.
        acknowledges_at_once: the planted defect of a journal whose replies do not wait.
        looks_inside: check the machine's indexes, and its state against a replay. Without, only what
            clients can see, and the events, can break a law.
    """

    def __init__(
        self,
        seed: object,
        *,
        defect: Defect | None = None,
        acknowledges_at_once: bool = False,
        looks_inside: bool = True,
    ) -> None:
        self.seed = seed
        self.loop = loop = Loop(seed)
        self.witness = Witness(loop)
        self.network = Network(loop)
        self.is_calm = False
        self._defect = defect
        self._acknowledges_at_once = acknowledges_at_once
        self._policy = Policy.ALWAYS if loop.chance(0.5) else Policy.INTERVAL
        self._has_bad_power = loop.chance(0.15)
        """One power failure after another, and no other trouble."""
        self._disk = Disk()
        self._looks_inside = looks_inside
        self._check_every = loop.random.choice((7, 60, 60, 60)) if looks_inside else 0
        self._crashes = 0
        self._broker: Broker | None = None
        self._events_lost = False
        self._plain_answers: Counter[int] = Counter()
        random = loop.random
        self._masters = [
            SessionMaster(self, f"master{k}", random.randint(2, 8), TAGS)
            for k in range(random.choice((1, 1, 2)))
        ]
        self._plain = [
            PlainMaster(self, f"plain{k}", random.randint(1, 4), TAGS)
            for k in range(random.choice((0, 0, 1)))
        ]
        self._nodes = [
            Supervisor(self, f"node{k}", random.randint(1, 2)) for k in range(random.choice((1, 1, 2)))
        ]
        self._slaves = [PlainSlave(self, f"slave{k}") for k in range(random.choice((0, 0, 1)))]
        self.tasks_seem_short = loop.chance(0.5)
        """What workers say about how long tasks took, which decides how many go out together."""
        self._actors: list[SessionMaster | PlainMaster | Supervisor | PlainSlave] = [
            *self._masters, *self._plain, *self._nodes, *self._slaves
        ]  # fmt: skip

    def run(self) -> None:
        """From the beginning to the end. Raises when a law is broken."""
        loop = self.loop
        self._begin_run()
        trouble_s = loop.random.choice((1.0, 3.0, 6.0))
        for actor in self._actors:
            loop.after(loop.between(0.0, loop.random.choice((0.3, trouble_s))), actor.start)
        self._plan_troubles(trouble_s)
        loop.run(loop.now + int(trouble_s * SECOND))
        self._calm_down()
        end = loop.now + LONGEST_CALM_S * SECOND
        while not self._is_over():
            if loop.now >= end:
                raise LawBrokenError(f"it does not come to its end: {self._what_hangs()}")
            loop.run(loop.now + SECOND // 2)
        loop.run(loop.now + SECOND)  # what is on its way arrives
        self._judge()

    # --- troubles ---------------------------------------------------------------------------

    def _plan_troubles(self, seconds: float) -> None:
        random = self.loop.random
        troubles: list[Callable[[], None]] = [
            *[self._crash] * 5, self._kill_child, self._kill_child, self._kill_slave, self._kill_master,
            self._stop_somebody, self._stop_somebody, self._compact,
        ]  # fmt: skip
        if self._has_bad_power:
            troubles = [self._crash]
        for _ in range(random.choice((0, 2, 4, 7))):
            self.loop.after(self.loop.between(0.0, seconds), random.choice(troubles))

    def _crash(self) -> None:
        broker = self._broker
        if broker is None:
            return
        self._look_closely(broker)
        power = self._has_bad_power or self.loop.chance(0.5)
        self.witness.tell("the broker dies; the power fails:", power)
        broker.die()
        self.network.lose_broker()
        self._broker = None
        self._crashes += 1
        self.witness.crashed()
        if power and self._disk.fail(self.loop):
            self.witness.is_strict = False
        if self.loop.chance(0.1):
            self._disk.recode()
        self.loop.after(self.loop.random.choice((0.01, 0.3, 1.0)), self._begin_run)

    def _begin_run(self) -> None:
        journal = Journal(
            self.loop, self._disk, self._policy, acknowledges_at_once=self._acknowledges_at_once
        )
        machine = Machine(LIMITS, self._disk.fold())
        if self._defect is not None:
            self._defect(machine)
        self._broker = Broker(self.loop, machine, journal, self.witness, self._check_every)
        self._broker.start("simulated")
        self.network.broker = self._broker

    def _look_closely(self, broker: Broker) -> None:
        if self._looks_inside:
            broker.look_closely(partial(self._disk.fold, broker.journal.pending))

    def _compact(self) -> None:
        if self.loop.chance(0.5):
            self._disk.compact()

    def _kill_child(self) -> None:
        node = self.loop.random.choice(self._nodes)
        self.loop.random.choice(node.children).die()

    def _kill_slave(self) -> None:
        if self._slaves and not self.is_calm:
            self._slaves[0].die()

    def _kill_master(self) -> None:
        self.loop.random.choice(self._masters).die()

    def _stop_somebody(self) -> None:
        children = [child for node in self._nodes for child in node.children]
        somebody = self.loop.random.choice([*children, *self._nodes, *self._slaves])
        if not somebody.is_stopped:
            somebody.stop()
            self.loop.after(self.loop.random.choice((0.5, 2.0, 5.0)), somebody.continue_)

    def _calm_down(self) -> None:
        self.witness.tell("now it is calm")
        self.is_calm = True
        self.network.breaks = 0.0
        self.network.slowest_s = 0.05

    # --- the end ----------------------------------------------------------------------------

    def _is_over(self) -> bool:
        if self._broker is None or not all(master.is_done for master in self._masters):
            return False
        state = self._broker.machine.state
        return all(master.has_submitted for master in self._plain) and not any(
            task.state not in FINISHED or (task.session == PUBLIC and self._plain)
            for task in state.tasks.values()
        )

    def _what_hangs(self) -> str:
        if self._broker is None:
            return "there is no broker"
        tasks = self._broker.machine.state.tasks.values()
        unfinished = [
            (t.number, unpacked([t.payload.format, t.payload.buffers])[0], t.state.value, t.detail)
            for t in tasks
            if t.state not in FINISHED
        ]
        missing = {master.name: master.missing for master in self._masters if not master.is_done}
        return f"masters miss {missing}; unfinished are {unfinished}"

    def _judge(self) -> None:
        broker = self._broker
        assert broker is not None
        self._look_closely(broker)
        state = broker.machine.state
        self._judge_leftovers(state)
        self._judge_plain_answers()
        if self.witness.is_strict:
            for master in self._masters:
                self._judge_data(state, master)

    def _judge_leftovers(self, state: DurableState) -> None:
        names = {master.name for master in self._masters}
        sessions = [session.name for session in state.sessions.values() if session.name in names]
        if sessions and self.witness.is_strict:
            raise LawBrokenError(f"sessions that were closed are there: {sessions}")
        running = [number for number, task in state.tasks.items() if task.state is State.RUNNING]
        if running:
            raise LawBrokenError(f"tasks run, and there is nothing to do: {running}")

    def _judge_data(self, state: DurableState, master: SessionMaster) -> None:
        there = state.data.get(master.name)
        value = 0 if there is None else int(unpacked([there.format, there.buffers])[0])
        if value < master.stored:
            raise LawBrokenError(f"{master.name} stored {master.stored}, and {value} is there")

    def _judge_plain_answers(self) -> None:
        missing = [
            number for master in self._plain for number in master.submitted if not self._plain_answers[number]
        ]
        if missing and self.witness.is_strict and len(missing) > self.network.broken:
            raise LawBrokenError(
                f"plain masters never got {missing}, and only {self.network.broken} connections broke"
            )

    # --- what the actors find -----------------------------------------------------------------

    def plain_answer(self, master: PlainMaster, number: int, tag: str, name: str | None) -> None:
        """A plain master has got an answer."""
        self._plain_answers[number] += 1
        if self._plain_answers[number] > 1 and self.witness.is_strict:
            raise LawBrokenError(f"task {number} is answered twice, to {master.name}")
        if name is not None:
            if not any(name in other.sent for other in self._plain):
                raise LawBrokenError(f"{master.name} got the answer {name}, which nobody like it asked for")
            self.witness.saw("task", number, (name, tag))

    def check_crashed(self, task: int, work: Work) -> None:
        """A task has failed since its workers died: did they?"""
        deaths = self.witness.deaths[work.name]
        if work.deed != "poison" and not self._slaves and deaths < LIMITS.max_crashes:
            raise LawBrokenError(f"task {task}, {work.name}, has crashed; {deaths} workers died of it")


def live(seed: object) -> None:
    """Run the world of that seed; a broken law is told with the seed and the story."""
    world = World(seed)
    try:
        world.run()
    except Exception as error:
        what = f"world {seed}: {error!r}"
        raise LawBrokenError(
            f"{what}\n{world.witness.story()}\n{what}\nto see it again: pytest tests/simulation --seed {seed}"
        ) from error
