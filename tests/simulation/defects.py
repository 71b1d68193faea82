"""Defects to plant into a simulated broker: each has been in some task queue of this world.

They live here only. Each takes something away from a machine that has just been made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyrotask.core import events as e
from pyrotask.core.machine import Machine
from pyrotask.core.model import Cause, Nanoseconds, Session, SessionId, TaskNumber


def accept_failures_of_anybody(machine: Machine) -> None:
    """The fence is gone: who lost its lease long ago can still end the task."""

    def check_nothing(*_: Any) -> None:
        pass

    machine._leases.check_holder = check_nothing  # type: ignore[assignment,method-assign]


def lose_a_requeue(machine: Machine) -> None:
    """A lease whose reply was lost does not end."""
    release_all = machine._leases.release_all

    def release_some(numbers: Iterable[TaskNumber], cause: Cause) -> None:
        if cause is not Cause.UNDELIVERED:
            release_all(numbers, cause)

    machine._leases.release_all = release_some  # type: ignore[method-assign]


def take_over_by_any_call(machine: Machine) -> None:
    """Whatever a client calls, the broker believes that it has all that was handed out."""
    contact, take_over = machine.sessions.contact, machine.sessions._take_over

    def contact_and_take_over(now: Nanoseconds, number: SessionId) -> Session:
        session = contact(now, number)
        take_over(session, session.next_delivery)
        return session

    machine.sessions.contact = contact_and_take_over  # type: ignore[method-assign]


def _without_blocks(machine: Machine, *kinds: str) -> None:
    state = machine.state
    changes = state._changes
    begin, *tables = changes[e.BrokerStarted]

    def begin_with_the_numbers_that_are_known(event: e.BrokerStarted) -> None:
        known = {kind: getattr(state, kind) for kind in kinds}
        deliveries = {number: session.next_delivery for number, session in state.sessions.items()}
        begin(event)
        vars(state).update(known)
        for number, next_delivery in deliveries.items() if not kinds else ():
            state.sessions[number].next_delivery = next_delivery

    changes[e.BrokerStarted] = (begin_with_the_numbers_that_are_known, *tables)  # type: ignore[assignment]


def use_task_numbers_again(machine: Machine) -> None:
    """After a power failure, tasks are numbered from the last that the disk knows of."""
    _without_blocks(machine, "next_task")


def use_attempts_again(machine: Machine) -> None:
    """The same for attempts."""
    _without_blocks(machine, "first_attempt")


def use_processes_again(machine: Machine) -> None:
    """The same for processes."""
    _without_blocks(machine, "next_process")


def use_sessions_again(machine: Machine) -> None:
    """The same for sessions."""
    _without_blocks(machine, "next_session")


def use_deliveries_again(machine: Machine) -> None:
    """The same for deliveries."""
    _without_blocks(machine)
