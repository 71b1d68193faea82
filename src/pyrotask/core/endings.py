"""How tasks end, what follows for those that need their values, and how answers are delivered.

An answer leaves in two steps: it is handed out, and acknowledged. Then the task is forgotten,
unless an unfinished task needs its value; the last of those takes it along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrotask.core import events as e
from pyrotask.core.deadlines import Due, Key
from pyrotask.core.model import (
    PLAIN,
    Answer,
    Delivery,
    Ended,
    Nanoseconds,
    Payload,
    State,
    Success,
    Task,
)
from pyrotask.core.state import schedule_of
from pyrotask.errors import PayloadError

if TYPE_CHECKING:
    from pyrotask.core.deadlines import Deadlines
    from pyrotask.core.recorder import Recorder


class Endings:
    """Ends tasks. A lease has been ended before (`leases`)."""

    def __init__(self, recorder: Recorder, deadlines: Deadlines) -> None:
        self._recorder = recorder
        self._state = recorder.state
        self._deadlines = deadlines

    # --- with a value -------------------------------------------------------------------

    def succeed(self, now: Nanoseconds, task: Task, value: Payload) -> None:
        """The first valid answer has come, in whatever state the task is."""
        if task.state is State.SCHEDULED:
            self._deadlines.clear(Key(Due.TASK, task.number))
        self._recorder.record(e.TaskSucceeded(now, task.number, value))
        for number in list(task.dependents or ()):
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
            if source.state is State.FAILED or source.state is State.CANCELLED:
                self._fail_for_input(now, task, source)
                return

    def _fail_for_input(self, now: Nanoseconds, task: Task, source: Task) -> None:
        self._deadlines.clear(Key(Due.TASK, task.number))
        why = f"its input, {name_of(source)}, ended without a value"
        self._recorder.record(e.TaskFailed(now, task.number, why))
        self._recorder.touch(task)

    # --- delivering -----------------------------------------------------------------------

    def deliver(self, task: Task) -> Answer:
        """Hand the answer out."""
        outcome = task.detail
        assert isinstance(outcome, (Success, Ended)), task.number
        self._recorder.record(e.ResultDelivered(task.number))
        return Answer(task.number, task.tag, outcome)

    def acknowledge(self, task: Task) -> None:
        """The answer has arrived, or nobody wants it. A second time, nothing happens."""
        if task.delivery is Delivery.HANDED_OUT and task.dependents is None:
            self._recorder.record(e.TaskForgotten(task.number))
            return
        if task.delivery is not Delivery.ACKNOWLEDGED:
            self._recorder.record(e.DeliveryAcknowledged(task.number))
            self._forget_if_done(task)

    def undo_delivery(self, task: Task) -> None:
        """The answer has not arrived: it is first in line again."""
        self._recorder.record(e.DeliveryUndone(task.number))
        self._recorder.touch(task)

    def _finished(self, task: Task) -> None:
        """Its answer can be collected, and it does not need its inputs any more."""
        self._recorder.touch(task)
        for number in task.inputs:
            self._forget_if_done(self._state.tasks[number])

    def _forget_if_done(self, task: Task) -> None:
        if task.delivery is Delivery.ACKNOWLEDGED and task.dependents is None:
            self._recorder.record(e.TaskForgotten(task.number))


def name_of(task: Task) -> str:
    """The task as the user knows it."""
    return f"task {task.tag}_{task.number}"


def check_readable(task: Task) -> None:
    """Refuse to hand out to a plain proxy what it cannot read."""
    outcome = task.detail
    if isinstance(outcome, Success) and outcome.value.format != PLAIN:
        raise PayloadError(
            f"the result of {name_of(task)} is a Python object that plain Pyro proxies cannot carry; "
            "collect it with pyrotask's own client, or in the manager's process. It stays there"
        )
