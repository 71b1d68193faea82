"""Going on without values that cannot be read any more: what becomes of their tasks.

Tasks that cannot run are cancelled, as anybody could cancel them. A result that is lost cannot be
had again without anybody's asking: its task counts as lost with its worker, and may be retried.
"""

from __future__ import annotations

from pyrotask.core.blocks import Block
from pyrotask.core.machine import Machine
from pyrotask.core.model import FINISHED, Cause, Ended, Nanoseconds, Payload, State, Task
from pyrotask.core.records import result_of
from pyrotask.core.state import DurableState
from pyrotask.journal.blocks import Place, place_of, unreadable

_WHY = "was damaged on the disk of the broker's journal"


def give_up_lost_values(state: DurableState, lineage: str, now: Nanoseconds) -> int:
    """See that a state needs no value that cannot be read. Reads all of them.

    Returns:
        How many were lost. If there are any, the state is that of a run that has begun.
    """
    lost = unreadable(state)
    lost_tasks = [task for task in state.tasks.values() if _needs(lost, task.payload)]
    lost_results = [task for task in state.tasks.values() if _needs(lost, *result_of(task))]
    lost_data = [label for label, value in state.data.items() if _needs(lost, value)]
    if lost_tasks or lost_results or lost_data:
        machine = Machine(state=state)
        machine.start(now, lineage)
        for task in lost_tasks:
            _give_up_parameters(machine, now, task)
        for task in lost_results:
            _give_up_result(machine, now, task)
        for label in lost_data:
            machine.delete_data(label)
    return len(lost_tasks) + len(lost_results) + len(lost_data)


def _give_up_parameters(machine: Machine, now: Nanoseconds, task: Task) -> None:
    if task.state not in FINISHED:
        machine.cancel(now, task.number, f"what it was to work on {_WHY}")
    task.payload = Payload(task.format, ())  # nobody can decode that, either


def _give_up_result(machine: Machine, now: Nanoseconds, task: Task) -> None:
    for number in list(task.dependents or ()):
        machine.cancel(now, number, f"the value of an input {_WHY}")
    if isinstance(task.detail, Ended):
        task.detail = task.detail._replace(failure=None)
    elif task.number in machine.state.tasks:  # it may have stayed for those only
        task.state = State.FAILED
        task.detail = Ended(Cause.LOST, f"its result {_WHY}", None, now)


def _needs(lost: set[Place], *values: Payload) -> bool:
    return any(
        isinstance(buffer, Block) and place_of(buffer) in lost for value in values for buffer in value.buffers
    )
