"""What waiting tasks take of the memory: there can be millions of them."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgpack
import pytest

from pyrotask.core.machine import Machine
from pyrotask.core.model import PUBLIC, NewTask, Payload, SessionId

TASKS = 20_000
MOST_BYTES = 400


@contextmanager
def allocated(told: Callable[[int], None]) -> Iterator[None]:
    """Tell what was allocated in the block and is still needed."""
    gc.collect()
    tracemalloc.start()
    try:
        yield
        gc.collect()
        told(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()


def from_wire(number: int) -> NewTask:
    """A task as it comes in a message: with objects of its own for everything."""
    tag, kind, data = msgpack.unpackb(msgpack.packb(["sqrt", "plain", b"%08d" % number]))
    return NewTask(tag, Payload(kind, (data,)))


@pytest.mark.parametrize("of_a_session", [False, True], ids=["public", "of a session"])
def test_a_small_waiting_task_takes_less_than_400_bytes(
    of_a_session: bool,
    figure: Callable[[str], None],
) -> None:
    machine = Machine()
    machine.start(1, "test")
    session = PUBLIC
    if of_a_session:
        reply = machine.sessions.open(2, "mine").reply
        assert isinstance(reply, int)
        session = SessionId(reply)
    machine.submit_many(3, [from_wire(0)], session=session)
    seen: list[int] = []
    with allocated(seen.append):
        for start in range(1, TASKS, 1000):
            machine.submit_many(4, [from_wire(start + k) for k in range(1000)], session=session)

    each = seen[0] / TASKS
    figure(f"a small waiting task takes {each:.0f} bytes")
    assert each < MOST_BYTES
