"""The calls of the reference API, one function each; see the package's text.

They have the names and arguments of the reference, after an `Origin`: who asks.
"""

# The reference's names:

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyrotask import payload
from pyrotask.core.explain import explain as explanations
from pyrotask.core.model import Answer, Cause, Lease, Nanoseconds, Options, RetryPolicy, TaskNumber
from pyrotask.errors import PayloadError, UnknownProcess, UnknownTask
from pyrotask.reference import arguments
from pyrotask.reference.origin import Origin, Request
from pyrotask.reference.values import result_of, task_id, task_number

if TYPE_CHECKING:
    from pyrotask.callers import Caller
    from pyrotask.core.machine import Machine, Step

# --- processes ------------------------------------------------------------------------------


def registerProcess(origin: Origin, watchdog_period: float | None = None, info: str | None = None) -> Request:
    """See `TaskManager.registerProcess`."""
    period_ns = None if watchdog_period is None else arguments.nanoseconds(watchdog_period, "watchdog_period")
    about = "" if info is None else arguments.text(info, "info")
    return Request(
        lambda m, now, _: m.register(now, period_ns=period_ns, info=about, connection=origin.connection)
    )


def unregisterProcess(origin: Origin, process_id: int) -> Request:
    """See `TaskManager.unregisterProcess`."""
    del origin
    process = arguments.process(process_id)
    return Request(lambda m, now, _: m.unregister(now, process))


def ping(origin: Origin, process_id: int) -> Request:
    """See `TaskManager.ping`."""
    process = arguments.process(process_id)
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
    number = arguments.process(pid)

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
    checked_tag = arguments.tag(tag)
    process = None if process_id is None else arguments.process(process_id)
    options = Options(
        priority=arguments.integer(priority, "priority", at_least=-arguments.MOST),
        retry=RetryPolicy(retries=arguments.integer(retries, "retries", at_least=0)),
        time_limit_ns=None if time_limit is None else arguments.nanoseconds(time_limit, "time_limit"),
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

    return Request(
        _leasing(origin, None, process_id), present, blocks=True, timeout=arguments.timeout(timeout)
    )


def getTaskWithTag(
    origin: Origin, tag: str, process_id: int | None = None, timeout: float | None = None
) -> Request:
    """See `TaskManager.getTaskWithTag`."""

    def present(leases: tuple[Lease, ...]) -> object:
        (lease,) = leases
        return task_id(lease.tag, lease.task), origin.decode(lease.payload, "parameters")

    tags = frozenset({arguments.tag(tag)})
    return Request(
        _leasing(origin, tags, process_id), present, blocks=True, timeout=arguments.timeout(timeout)
    )


def _leasing(
    origin: Origin, tags: frozenset[str] | None, process_id: int | None
) -> Callable[[Machine, Nanoseconds, Caller | None], Step]:
    process = None if process_id is None else arguments.process(process_id)
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
        _collecting(origin, None),
        present,
        blocks=True,
        timeout=arguments.timeout(timeout),
        is_for_result=True,
    )


def getResultWithTag(origin: Origin, tag: str, timeout: float | None = None) -> Request:
    """See `TaskManager.getResultWithTag`."""

    def present(answer: Answer) -> object:
        return task_id(answer.tag, answer.task), result_of(answer, origin)

    return Request(
        _collecting(origin, arguments.tag(tag)),
        present,
        blocks=True,
        timeout=arguments.timeout(timeout),
        is_for_result=True,
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
    items = {arguments.text(label, "a label"): origin.encode(value, label) for label, value in kw.items()}
    return Request(lambda m, _now, _: m.store_data(items), _nothing)


def retrieveData(origin: Origin, label: str) -> Request:
    """See `TaskManager.retrieveData`."""
    checked = arguments.text(label, "a label")
    return Request(lambda m, _now, _: m.retrieve_data(checked), lambda value: origin.decode(value, checked))


def deleteData(origin: Origin, label: str) -> Request:
    """See `TaskManager.deleteData`."""
    del origin
    checked = arguments.text(label, "a label")
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


_UNREADABLE = "a plain proxy waits for it"


def _nothing(_: object) -> None:
    return None


def _check_tag(machine: Machine, given: str, number: TaskNumber) -> None:
    task = machine.state.tasks.get(number)
    if task is not None and task_id(task.tag, number) != given:
        raise UnknownTask(f"there is no task {given!r}; task {number} is {task_id(task.tag, number)!r}")
