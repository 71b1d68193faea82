"""The calls of the reference API, each as a value: what to do, and what to return.

A call checks its arguments, encodes what it carries, and becomes a `Request`: the command for
the machine, and the function that makes the return value of its reply. Nothing is done yet.
So one description serves all who do it: a thread in the manager's own process or in a stock
daemon, which may be blocked (`taskmanager`), and the event loop, which may not (`remote`).

The functions have the names and arguments of the reference, after an `Origin`: who asks. Each
raises `TypeError` or `ValueError` (`PayloadError` among them) for an argument that is no good.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pyrotask import payload
from pyrotask.core.explain import explain as explanations
from pyrotask.core.machine import Machine, Step
from pyrotask.core.model import (
    SECOND,
    Answer,
    Cause,
    ConnectionId,
    Ended,
    Failure,
    Lease,
    Nanoseconds,
    Options,
    Payload,
    ProcessId,
    RetryPolicy,
    Success,
    TaskNumber,
)
from pyrotask.errors import (
    InputFailed,
    PayloadError,
    PyrotaskError,
    TaskCancelled,
    TaskRaisedException,
    TimeLimitExceeded,
    UnknownProcess,
    UnknownTask,
    WorkerCrashed,
    WorkerLost,
)

if TYPE_CHECKING:
    from pyrotask.callers import Caller


class Origin(NamedTuple):
    """Who asks: over which connection (None: in the manager's process), speaking what."""

    connection: ConnectionId | None = None
    serializer: str | None = None
    """The Pyro serializer of a proxy, which carries plain values only; None: no limits."""
    wire: int = sys.maxsize
    """The version of the bulk protocol that it speaks; who is of this very version need not say."""

    @property
    def plain_only(self) -> bool:
        """Whether it can send and read plain values only."""
        return self.serializer is not None

    def encode(self, value: object, what: str) -> Payload:
        """Encode a value of this origin; ``what`` names it in an error."""
        if self.serializer is None:
            return payload.encode(value).in_blocks()
        return payload.encode_plain(payload.from_wire(value, self.serializer), what).in_blocks()

    def decode(self, value: Payload, what: str) -> object:
        """Decode a value for this origin."""
        if self.serializer is None:
            return payload.decode(value)
        return payload.to_wire(payload.decode_plain(value), self.serializer, what)

    def encode_failure(self, exception: object, traceback: str) -> Failure:
        """Encode what a task raised: an exception or any other object."""
        if self.serializer is None and isinstance(exception, BaseException):
            failure = payload.encode_error(exception)._replace(traceback=traceback)
        else:
            if self.serializer is not None:
                exception = payload.from_wire(exception, self.serializer)
            failure = payload.encode_plain_error(exception, traceback)
        return failure._replace(error=failure.error.in_blocks())

    def decode_failure(self, failure: Failure) -> object:
        """Decode it for this origin, at least as a `RuntimeError` with its text."""
        return payload.decode_error(failure, plain_only=self.plain_only)


IN_PROCESS = Origin()


class Request(NamedTuple):
    """A call that has been checked, and not been done."""

    command: Callable[[Machine, Nanoseconds, Caller | None], Any]
    present: Callable[[Any], object] = lambda reply: reply
    blocks: bool = False
    """Whether it may have to wait; the others ignore the caller."""
    timeout: float | None = None
    """Seconds; None: no limit; 0: do not wait."""
    is_for_result: bool = False
    """Whether a master waits for it, who wants to know why it takes long."""


# --- processes ------------------------------------------------------------------------------


def registerProcess(origin: Origin, watchdog_period: float | None = None, info: str | None = None) -> Request:
    """See `TaskManager.registerProcess`."""
    period_ns = None if watchdog_period is None else _nanoseconds(watchdog_period, "watchdog_period")
    about = "" if info is None else _text(info, "info")
    return Request(
        lambda m, now, _: m.register(now, period_ns=period_ns, info=about, connection=origin.connection)
    )


def unregisterProcess(origin: Origin, process_id: int) -> Request:
    """See `TaskManager.unregisterProcess`."""
    del origin
    process = _process(process_id)
    return Request(lambda m, now, _: m.unregister(now, process))


def ping(origin: Origin, process_id: int) -> Request:
    """See `TaskManager.ping`."""
    process = _process(process_id)
    return Request(lambda m, now, _: m.ping(now, process, origin.connection))


def numberOfActiveProcesses(origin: Origin) -> Request:
    """See `TaskManager.numberOfActiveProcesses`."""
    del origin
    return Request(lambda m, _now, _: len(m.state.processes))


def activeProcesses(origin: Origin) -> Request:
    """See `TaskManager.activeProcesses`."""
    del origin
    return Request(lambda m, _now, _: list(m.state.processes))


def activeProcessInfo(origin: Origin, pid: int) -> Request:
    """See `TaskManager.activeProcessInfo`."""
    del origin
    number = _process(pid)

    def info(machine: Machine, _now: Nanoseconds, _: Caller | None) -> str:
        process = machine.state.processes.get(number)
        if process is None:
            active = ", ".join(map(str, machine.state.processes)) or "none"
            raise UnknownProcess(f"process {number} is not active; active process ids: {active}")
        return process.info

    return Request(info)


# --- tasks ----------------------------------------------------------------------------------


def numberOfTasks(origin: Origin) -> Request:
    """See `TaskManager.numberOfTasks`."""
    del origin
    return Request(lambda m, _now, _: tuple(dict(counts) for counts in m.state.counts()))


def explain(origin: Origin) -> Request:
    """See `TaskManager.explain`."""
    del origin
    return Request(lambda m, now, _: [one.sentence for one in explanations(m, now)])


def addTaskRequest(
    origin: Origin,
    tag: str,
    parameters: object,
    process_id: int | None = None,
    *,
    priority: int = 0,
    retries: int = 0,
    time_limit: float | None = None,
) -> Request:
    """See `TaskManager.addTaskRequest`."""
    checked_tag = _tag(tag)
    process = None if process_id is None else _process(process_id)
    options = Options(
        priority=_integer(priority, "priority", at_least=-MOST),
        retry=RetryPolicy(retries=_integer(retries, "retries", at_least=0)),
        time_limit_ns=None if time_limit is None else _nanoseconds(time_limit, "time_limit"),
        plain_answer=origin.plain_only,
    )
    encoded = origin.encode(parameters, "parameters")
    return Request(
        lambda m, now, _: m.submit(
            now, checked_tag, encoded, options=options, process=process, connection=origin.connection
        ),
        lambda number: task_id(checked_tag, number),
    )


def getAnyTask(origin: Origin, process_id: int | None = None, timeout: float | None = None) -> Request:
    """See `TaskManager.getAnyTask`."""

    def present(leases: tuple[Lease, ...]) -> object:
        (lease,) = leases
        return task_id(lease.tag, lease.task), lease.tag, origin.decode(lease.payload, "parameters")

    return Request(_leasing(origin, None, process_id), present, blocks=True, timeout=_timeout(timeout))


def getTaskWithTag(
    origin: Origin, tag: str, process_id: int | None = None, timeout: float | None = None
) -> Request:
    """See `TaskManager.getTaskWithTag`."""

    def present(leases: tuple[Lease, ...]) -> object:
        (lease,) = leases
        return task_id(lease.tag, lease.task), origin.decode(lease.payload, "parameters")

    tags = frozenset({_tag(tag)})
    return Request(_leasing(origin, tags, process_id), present, blocks=True, timeout=_timeout(timeout))


def _leasing(
    origin: Origin, tags: frozenset[str] | None, process_id: int | None
) -> Callable[[Machine, Nanoseconds, Caller | None], Step]:
    process = None if process_id is None else _process(process_id)
    return lambda m, now, caller: m.lease(
        now,
        tags=tags,
        process=process,
        connection=origin.connection,
        plain_only=origin.plain_only,
        caller=caller,
    )


def storeResult(origin: Origin, task_id: str, result: object) -> Request:
    """See `TaskManager.storeResult`."""
    number = task_number(task_id)
    value = origin.encode(result, "result")

    def store(machine: Machine, now: Nanoseconds, _: Caller | None) -> Step | str:
        _check_tag(machine, task_id, number)
        try:
            return machine.succeed(now, number, value, connection=origin.connection)
        except PayloadError:
            # Which part of it is no plain value takes a while to find: not under the lock.
            return _UNREADABLE

    def present(reply: object) -> None:
        if reply is _UNREADABLE:
            payload.encode_plain(result, f"the result of {task_id}, which a plain Pyro proxy waits for")

    return Request(store, present)


def storeException(origin: Origin, task_id: str, exception: object, traceback: str) -> Request:
    """See `TaskManager.storeException`."""
    number = task_number(task_id)
    if not isinstance(traceback, str):
        raise TypeError(f"traceback must be a str, not {type(traceback).__name__}")
    failure = origin.encode_failure(exception, traceback)

    def store(machine: Machine, now: Nanoseconds, _: Caller | None) -> Step:
        _check_tag(machine, task_id, number)
        return machine.fail(now, number, failure, connection=origin.connection)

    return Request(store, _nothing)


def returnTask(origin: Origin, task_id: str) -> Request:
    """See `TaskManager.returnTask`."""
    number = task_number(task_id)

    def give_back(machine: Machine, now: Nanoseconds, _: Caller | None) -> Step:
        _check_tag(machine, task_id, number)
        return machine.give_back(now, number, cause=Cause.RETURNED, connection=origin.connection)

    return Request(give_back, _nothing)


def getAnyResult(origin: Origin, timeout: float | None = None) -> Request:
    """See `TaskManager.getAnyResult`."""

    def present(answer: Answer) -> object:
        return task_id(answer.tag, answer.task), answer.tag, result_of(answer, origin)

    return Request(
        _collecting(origin, None), present, blocks=True, timeout=_timeout(timeout), is_for_result=True
    )


def getResultWithTag(origin: Origin, tag: str, timeout: float | None = None) -> Request:
    """See `TaskManager.getResultWithTag`."""

    def present(answer: Answer) -> object:
        return task_id(answer.tag, answer.task), result_of(answer, origin)

    return Request(
        _collecting(origin, _tag(tag)), present, blocks=True, timeout=_timeout(timeout), is_for_result=True
    )


def _collecting(origin: Origin, tag: str | None) -> Callable[[Machine, Nanoseconds, Caller | None], Step]:
    return lambda m, now, caller: m.collect(
        now,
        tag=tag,
        plain_only=origin.plain_only,
        connection=origin.connection,
        final=False,
        caller=caller,
    )


# --- data and the end -------------------------------------------------------------------------


def storeData(origin: Origin, /, **kw: object) -> Request:
    """See `TaskManager.storeData`."""
    items = {_text(label, "a label"): origin.encode(value, label) for label, value in kw.items()}
    return Request(lambda m, _now, _: m.store_data(items), _nothing)


def retrieveData(origin: Origin, label: str) -> Request:
    """See `TaskManager.retrieveData`."""
    checked = _text(label, "a label")
    return Request(lambda m, _now, _: m.retrieve_data(checked), lambda value: origin.decode(value, checked))


def deleteData(origin: Origin, label: str) -> Request:
    """See `TaskManager.deleteData`."""
    del origin
    checked = _text(label, "a label")
    return Request(lambda m, _now, _: m.delete_data(checked), _nothing)


def terminate(origin: Origin) -> Request:
    """See `TaskManager.terminate`."""
    del origin
    return Request(lambda m, now, _: m.terminate(now), _nothing)


CALLS: dict[str, Callable[..., Request]] = {
    call.__name__: call
    for call in (
        registerProcess,
        unregisterProcess,
        ping,
        numberOfActiveProcesses,
        activeProcesses,
        activeProcessInfo,
        numberOfTasks,
        explain,
        addTaskRequest,
        getAnyTask,
        getTaskWithTag,
        storeResult,
        storeException,
        returnTask,
        getAnyResult,
        getResultWithTag,
        storeData,
        retrieveData,
        deleteData,
        terminate,
    )
}
"""All calls by name: `TaskManager` has a method for each."""


def signature(call: str) -> inspect.Signature:
    """The signature of a call as its callers see it, without the origin."""
    full = inspect.signature(CALLS[call])
    return full.replace(parameters=list(full.parameters.values())[1:])


# --- values -----------------------------------------------------------------------------------


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


_UNREADABLE = "a plain proxy waits for it"


def _nothing(_: object) -> None:
    return None


def _check_tag(machine: Machine, given: str, number: TaskNumber) -> None:
    task = machine.state.tasks.get(number)
    if task is not None and task_id(task.tag, number) != given:
        raise UnknownTask(f"there is no task {given!r}; task {number} is {task_id(task.tag, number)!r}")


# --- checking arguments ---------------------------------------------------------------------------


MOST = 1 << 31
"""The largest number that a caller may give for anything that is not an id."""

LONGEST_S = 1_000_000_000
"""The longest duration, some 30 years: in nanoseconds it still fits everywhere."""

_NUMBER = re.compile("0|[1-9][0-9]{0,17}")
"""How `addTaskRequest` writes a task's number."""


def _tag(tag: object) -> str:
    if not _text(tag, "a tag"):
        raise ValueError("a tag must not be empty")
    return cast("str", tag)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{what} must be text, and {value!r} has half characters (surrogates)") from None
    return value


def _process(process_id: object) -> ProcessId:
    return ProcessId(_integer(process_id, "a process id", at_least=None, at_most=None))


def _integer(value: object, what: str, at_least: int | None, at_most: int | None = MOST) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}")
    if at_least is not None and value < at_least:
        raise ValueError(f"{what} must be at least {at_least}, not {value}")
    if at_most is not None and value > at_most:
        raise ValueError(f"{what} must be at most {at_most}, not {value}")
    return value


def _nanoseconds(seconds: object, what: str) -> Nanoseconds:
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"{what} must be a number of seconds, not {type(seconds).__name__}")
    if not 0 < seconds <= LONGEST_S:
        raise ValueError(f"{what} must be greater than 0 s and at most {LONGEST_S} s, not {seconds!r}")
    return max(1, int(seconds * SECOND))


def _timeout(timeout: object) -> float | None:
    if timeout is None:
        return None
    if not isinstance(timeout, (int, float)) or isinstance(timeout, bool):
        raise TypeError(f"timeout must be a number of seconds or None, not {type(timeout).__name__}")
    if not timeout >= 0:
        raise ValueError(f"timeout must be 0 s or more, or None for no limit, not {timeout!r}")
    return float(timeout) if timeout <= LONGEST_S else None
