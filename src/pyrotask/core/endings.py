"""How tasks end, what follows for those that need their values, and how answers are delivered.

An answer leaves in two steps: it is handed out, and acknowledged, to each that has a claim to
it. Then the task is forgotten, unless an unfinished task needs its value (the last of those
takes it along), it has a key, or it is a failure of a session, which is kept for a while.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pyrotask.core import events as e
from pyrotask.core.deadlines import Due, Key
from pyrotask.core.model import (
    ACKNOWLEDGED,
    CANCELLED,
    FAILED,
    HANDED_OUT,
    NEW,
    NOT_HANDED_OUT,
    NUMBER_OF,
    PLAIN,
    PUBLIC,
    SCHEDULED,
    Answer,
    Delivered,
    Ended,
    Limits,
    Nanoseconds,
    Payload,
    Place,
    SessionId,
    Success,
    Task,
    TaskNumber,
)
from pyrotask.core.records import schedule_of
from pyrotask.errors import PayloadError

if TYPE_CHECKING:
    from pyrotask.core.deadlines import Deadlines
    from pyrotask.core.lanes import View
    from pyrotask.core.recorder import Recorder


SET_ASIDE = "set aside"
"""The group, in the line of finished tasks, of public answers that plain proxies were told about."""

EVERYTHING_PUBLIC = frozenset({PUBLIC, SET_ASIDE})


class Endings:
    """Ends tasks. A lease has been ended before (`leases`)."""

    def __init__(self, recorder: Recorder, deadlines: Deadlines, limits: Limits) -> None:
        self._recorder = recorder
        self._state = recorder.state
        self._deadlines = deadlines
        self._limits = limits
        self.kept: OrderedDict[TaskNumber, None] = OrderedDict()
        """Failures that were delivered, and are not forgotten yet: the oldest first."""

    # --- with a value -------------------------------------------------------------------

    def succeed(self, now: Nanoseconds, tasks: Sequence[Task], values: Sequence[Payload]) -> None:
        """The first valid answers have come, in whatever states the tasks are; each is there once."""
        for task in tasks:
            if task.state is SCHEDULED:
                self._deadlines.clear(Key(Due.TASK, task.number))
        numbers = tuple(map(NUMBER_OF, tasks))
        self._recorder.record(NEW(e.TasksSucceeded, (now, numbers, tuple(values))))
        for task in tasks:
            if task.dependents is not None:
                for number in list(task.dependents):
                    self._input_ready(self._state.tasks[number])
            self._finished(task)

    def _input_ready(self, task: Task) -> None:
        if schedule_of(task).unready == 0:
            self._recorder.record(e.InputsReady(task.number))
            self._recorder.touch(task)

    # --- without one ----------------------------------------------------------------------

    def cancel(self, now: Nanoseconds, task: Task, detail: str) -> None:
        """Nobody wants the answer any more."""
        self._deadlines.clear(Key(Due.TASK, task.number))
        self._recorder.record(e.TaskCancelled(now, task.number, detail))
        self.ended_without_value(now, task)

    def ended_without_value(self, now: Nanoseconds, task: Task) -> None:
        """What needs its value can never run; nor can what needs theirs."""
        ended = [task]
        while ended:
            source = ended.pop()
            for number in list(source.dependents or ()):
                dependent = self._state.tasks[number]
                self._fail_for_input(now, dependent, source)
                ended.append(dependent)
            self._finished(source)

    def fail_if_inputs_have(self, now: Nanoseconds, task: Task) -> None:
        """A new task may need a value that there will never be."""
        for number in task.inputs:
            source = self._state.tasks[number]
            if source.state is FAILED or source.state is CANCELLED:
                self._fail_for_input(now, task, source)
                return

    def _fail_for_input(self, now: Nanoseconds, task: Task, source: Task) -> None:
        self._deadlines.clear(Key(Due.TASK, task.number))
        why = f"its input, {name_of(source)}, ended without a value"
        self._recorder.record(e.TaskFailed(now, task.number, why))
        self._touch_claims(task)

    # --- delivering -----------------------------------------------------------------------

    def task_of(self, place: Place) -> Task:
        """The task whose answer stands there."""
        return self._state.tasks[place.number]

    def deliver(self, place: Place) -> Answer:
        """Hand the answer out."""
        task = self.task_of(place)
        if place.session != PUBLIC:
            self._recorder.expect_deliveries(self._state.sessions[place.session], 1)
        self._recorder.record(NEW(e.ResultsDelivered, ((task.number,), _other_session(task, place))))
        return answer_of(task)

    def deliver_many(self, view: View, count: int, sent_bytes: int = 0) -> list[Delivered]:
        """Hand out up to ``count`` answers of a session, with their numbers.

        There may be fewer: with ``sent_bytes``, they must fit into one reply.
        """
        delivered: list[Delivered] = []
        room_bytes = self._limits.max_reply_bytes - sent_bytes
        while room_bytes > 0 and (run := view.run(count - len(delivered))):
            session = self._state.sessions[run[0].session]
            answers: list[Answer] = []
            for place in run:
                answer = answer_of(self._state.tasks[place.number])
                answers.append(answer)
                room_bytes -= size_of(answer)
                if room_bytes <= 0:
                    break
            self._recorder.expect_deliveries(session, len(answers))
            first = session.next_delivery
            self._recorder.record(e.ResultsDelivered(tuple([one.task for one in answers]), session.id))
            delivered += [NEW(Delivered, one) for one in enumerate(answers, first)]
        return delivered

    def unreadable(self, place: Place) -> PayloadError | None:
        """Why a plain proxy cannot be handed the answer that stands there; None: it can.

        That is told once, to the first whose turn it is. Then the answer is set aside: plain
        proxies get what stands behind it, and all others find it at its place, as before.
        """
        task = self.task_of(place)
        outcome = task.detail
        if not (isinstance(outcome, Success) and outcome.value.format != PLAIN):
            return None
        if place.session == PUBLIC:
            # Which answers were set aside is forgotten at a restart: then it is told once more.
            self._state.finished.regroup(place, SET_ASIDE)
            self._recorder.touch(place)
        return PayloadError(
            f"the result of {name_of(task)} is a Python object that plain Pyro proxies cannot carry; "
            "collect it in the manager's own process (TaskManager, or MasterProcess). It stays there, and "
            "the next call goes on behind it"
        )

    def acknowledge(self, places: Iterable[Place]) -> None:
        """The answers, which were handed out, have arrived."""
        going: list[TaskNumber] = []
        for place in places:
            task = self._state.tasks[place.number]
            if place is task and self._may_go(task):
                going.append(task.number)
            else:
                self._recorder.record(e.DeliveryAcknowledged(task.number, _other_session(task, place)))
                self._forget_if_done(task)
        if going:
            self._recorder.record(NEW(e.TasksForgotten, (tuple(going),)))

    def undo_delivery(self, task: Task) -> None:
        """The answer has not arrived: it is first in line again."""
        self._recorder.record(e.DeliveryUndone(task.number))
        self._recorder.touch(task)

    def subscribe(self, task: Task, session: SessionId) -> None:
        """One more submit of its key: the answer goes to that session, also if it did before."""
        place = self._state.place_of(task, session)
        if place is not None and place.delivery is HANDED_OUT:
            # Its client may have taken it for the submit before, and told nobody yet.
            self.unsubscribe(task, session)
        elif place is not None and place.delivery is NOT_HANDED_OUT:
            return
        self._recorder.record(e.TaskSubscribed(task.number, session))
        self._touch_claims(task)

    def unsubscribe(self, task: Task, session: SessionId) -> None:
        """The session, which has a claim to the answer, has none any more."""
        place = self._state.place_of(task, session)
        assert place is not None, task.number
        if place.delivery is not ACKNOWLEDGED:
            self._recorder.record(e.TaskUnsubscribed(task.number, session))

    def drop(self, task: Task) -> None:
        """Nobody wants the answer, nor to look at it. What needs the value still gets it."""
        self.stop_keeping(task.number)
        for session in list(task.keyed.subscribers) if task.keyed is not None else ():
            self.unsubscribe(task, session)
        if task.delivery is not ACKNOWLEDGED:
            self._recorder.record(e.DeliveryAcknowledged(task.number))
        if task.dependents is None:
            self._recorder.record(e.TasksForgotten((task.number,)))

    # --- keeping --------------------------------------------------------------------------

    def keep(self, task: Task) -> None:
        """It was delivered, and can be looked at, and retried, for a while."""
        assert isinstance(task.detail, Ended), task.number
        self.kept[task.number] = None
        until = task.detail.ended_at + self._limits.keep_failed_ns
        self._deadlines.set(Key(Due.RETENTION, task.number), until)
        while len(self.kept) > self._limits.max_kept_failures:
            self.drop(self._state.tasks[next(iter(self.kept))])

    def stop_keeping(self, number: TaskNumber) -> None:
        """It is retried, or forgotten."""
        if number in self.kept:
            del self.kept[number]
            self._deadlines.clear(Key(Due.RETENTION, number))

    def is_to_be_kept(self, task: Task) -> bool:
        """Whether it stays for a while when it is delivered."""
        return task.state is FAILED and task.session != PUBLIC

    # --- the end --------------------------------------------------------------------------

    def _finished(self, task: Task) -> None:
        """Its answer can be collected, and it does not need its inputs any more."""
        self._touch_claims(task)
        for number in task.inputs:
            source = self._state.tasks.get(number)
            if source is not None:  # else another that ended with this one has taken it along
                self._forget_if_done(source)

    def _touch_claims(self, task: Task) -> None:
        self._recorder.touch(task)
        if task.keyed is not None:
            for place in task.keyed.subscribers.values():
                self._recorder.touch(place)

    def _forget_if_done(self, task: Task) -> None:
        if task.delivery is not ACKNOWLEDGED:
            return
        if self._may_go(task):
            self._recorder.record(e.TasksForgotten((task.number,)))
        elif self.is_to_be_kept(task) and task.keyed is None:
            self.keep(task)

    def _may_go(self, task: Task) -> bool:
        return task.dependents is None and task.keyed is None and not self.is_to_be_kept(task)


def answer_of(task: Task) -> Answer:
    """What a collector of the task is handed."""
    outcome = task.detail
    assert isinstance(outcome, (Success, Ended)), task.number
    return NEW(Answer, (task.number, task.tag, outcome))


def size_of(answer: Answer) -> int:
    """How many bytes of the user's are in it."""
    values = values_of(answer)
    return values[0].nbytes if values else 0


def values_of(answer: Answer) -> tuple[Payload, ...]:
    """What in it is the user's: one, or nothing."""
    outcome = answer.outcome
    if isinstance(outcome, Success):
        return (outcome.value,)
    return () if outcome.failure is None else (outcome.failure.error,)


def _other_session(task: Task, place: Place) -> SessionId | None:
    """Whose claim it is, as events say it: None for the task's own."""
    return None if place is task else place.session


def name_of(task: Task) -> str:
    """The task as the user knows it."""
    return f"task {task.tag}_{task.number}"


def check_answer(task: Task, value: Payload) -> None:
    """Refuse a value that the submitter of the task, a plain proxy, could not read."""
    if task.options.plain_answer and value.format != PLAIN:
        raise PayloadError(
            f"{name_of(task)} was submitted by a plain Pyro proxy, which cannot read a Python object: make "
            "its result of plain values, or store an exception"
        )
