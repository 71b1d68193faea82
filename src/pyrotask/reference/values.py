"""Task ids as text, and answers as what a master gets of them."""

from __future__ import annotations

import re

from pyrotask.core.model import Answer, Cause, Ended, Success, TaskNumber
from pyrotask.errors import (
    InputFailed,
    PyrotaskError,
    TaskCancelled,
    TaskRaisedException,
    TimeLimitExceeded,
    UnknownTask,
    WorkerCrashed,
    WorkerLost,
)
from pyrotask.reference.origin import IN_PROCESS, Origin

_NUMBER = re.compile("0|[1-9][0-9]{0,17}")
"""How `addTaskRequest` writes a task's number."""


def task_id(tag: str, number: int) -> str:
    """The id of a task, as the reference writes it."""
    return f"{tag}_{number}"


def task_number(task_id: object) -> TaskNumber:
    """The number of the task with that id. `UnknownTask`: there can be none."""
    if not isinstance(task_id, str):
        raise TypeError(f'a task id is a str like "sqrt_17", not {type(task_id).__name__}')
    tag, _, digits = task_id.rpartition("_")
    if not (tag and _NUMBER.fullmatch(digits)):
        raise UnknownTask(
            f'{task_id!r} is no task id; one looks like "sqrt_17", as addTaskRequest returned it'
        )
    return TaskNumber(int(digits))


def result_of(answer: Answer, origin: Origin = IN_PROCESS) -> object:
    """The value of an answer.

    Raises:
        TaskRaisedException: the task ended otherwise.
    """
    outcome = answer.outcome
    if isinstance(outcome, Success):
        return origin.decode(outcome.value, "result")
    raise TaskRaisedException(
        task_id(answer.tag, answer.task), answer.tag, exception_of(outcome, origin), _traceback(outcome)
    )


def exception_of(outcome: Ended, origin: Origin = IN_PROCESS) -> object:
    """What a task raised, as far as the origin can read it; or why it ended otherwise."""
    if outcome.failure is None:
        return _ENDS[outcome.cause](outcome.detail)
    return origin.decode_failure(outcome.failure)


def _traceback(outcome: Ended) -> str:
    return outcome.failure.traceback if outcome.failure else ""


_ENDS: dict[Cause, type[PyrotaskError]] = {
    Cause.CRASHED: WorkerCrashed,
    Cause.LOST: WorkerLost,
    Cause.TIME_LIMIT: TimeLimitExceeded,
    Cause.CANCELLED: TaskCancelled,
    Cause.INPUT_FAILED: InputFailed,
}
