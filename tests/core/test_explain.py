"""What a person is told whose tasks wait."""

from __future__ import annotations

from pyrotask.core.explain import MOST_LOOKED_AT, Explanation, Reason, explain
from pyrotask.core.model import SECOND, Kind, Options, RetryPolicy
from tests.core.world import OBJECT, VALUE, World


def explained(world: World) -> list[Explanation]:
    before = world.machine.state.image()
    explanations = explain(world.machine, world.now)
    assert world.machine.state.image() == before
    return explanations


def sentences(world: World) -> list[str]:
    return [explanation.sentence for explanation in explained(world)]


def submit(world: World, number: int, tag: str) -> None:
    for _ in range(number):
        world.submit(tag)


def worker(world: World, *tags: str) -> int:
    connection = world.connect()
    return world.register(kind=Kind.WORKER, tags=frozenset(tags) or None, connection=connection)


def slave(world: World) -> int:
    """A plain process over a proxy, which asked for a task once and got none."""
    connection = world.connect()
    process = world.register(connection=connection)
    world.lease("nothing of that name", process=process, connection=connection)
    return process


def test_nothing_waits_and_nothing_is_said() -> None:
    world = World()
    world.run()

    assert sentences(world) == []


def test_nobody_is_there_to_run_it() -> None:
    world = World()
    submit(world, 3, "sqrt")

    assert explained(world) == [Explanation(Reason.NO_WORKER, "sqrt", 3, 0)]
    assert sentences(world) == ["3 tasks tagged sqrt wait; no worker is registered"]


def test_what_executors_submit_is_named_as_their_users_know_it() -> None:
    world = World()
    submit(world, 1, "pyrotask.call")
    submit(world, 3, "pyrotask.map")

    assert sentences(world) == [
        "1 call of an Executor waits; no worker is registered",
        "3 chunks of Executors' maps wait; no worker is registered",
    ]


def test_a_master_is_no_worker() -> None:
    world = World()
    world.register()
    submit(world, 1, "sqrt")

    assert sentences(world) == ["1 task tagged sqrt waits; no worker is registered"]


def test_nobody_has_a_handler() -> None:
    world = World()
    submit(world, 3, "sqrt")
    for _ in range(4):
        worker(world, "cbrt")

    assert sentences(world) == ["3 tasks tagged sqrt wait; none of 4 workers has a handler for it"]


def test_the_only_worker_has_no_handler() -> None:
    world = World()
    submit(world, 1, "sqrt")
    worker(world, "cbrt")

    assert sentences(world) == ["1 task tagged sqrt waits; the only worker has no handler for it"]


def test_a_slave_that_waits_for_another_tag_counts_as_one_without_a_handler() -> None:
    world = World()
    connection = world.connect()
    process = world.register(connection=connection)
    world.park("slave", "cbrt", process=process, connection=connection, plain_only=True)
    submit(world, 1, "sqrt")

    assert [explanation.reason for explanation in explained(world)] == [Reason.NO_HANDLER]


def test_all_who_could_are_busy() -> None:
    world = World()
    submit(world, 9, "x")
    for _ in range(2):
        world.take(process=worker(world, "x", "y"))
    worker(world, "y")

    assert sentences(world) == ["7 tasks tagged x wait: all 2 workers that have a handler are busy"]


def test_a_slave_that_has_asked_may_do_anything() -> None:
    world = World()
    slave(world)
    submit(world, 1, "x")

    assert sentences(world) == ["1 task tagged x waits: the only worker that has a handler is busy"]


def test_an_unregistered_slave_is_a_worker_too() -> None:
    world = World()
    submit(world, 2, "x")
    world.take(connection=world.connect())

    assert sentences(world) == ["1 task tagged x waits: the only worker that has a handler is busy"]


def test_an_unregistered_slave_that_waits_for_another_tag_is_a_worker_too() -> None:
    world = World()
    world.park("slave", "y", connection=world.connect())
    submit(world, 1, "x")

    assert sentences(world) == ["1 task tagged x waits; the only worker has no handler for it"]


def test_python_objects_wait_while_only_plain_slaves_are_there() -> None:
    world = World()
    slave(world)
    world.submit("x", OBJECT)
    connection = world.connect()
    world.park("plain", connection=connection, plain_only=True)

    assert explained(world) == [Explanation(Reason.UNREADABLE, "x", 1, 1)]
    assert "read plain values only" in sentences(world)[0]


def test_python_objects_wait_while_a_plain_slave_is_idle() -> None:
    world = World()
    world.park("plain", connection=world.connect(), plain_only=True)
    world.submit("x", OBJECT)

    assert explained(world) == [Explanation(Reason.UNREADABLE, "x", 1, 0)]


def test_a_slave_in_our_own_process_reads_everything() -> None:
    world = World()
    process = world.register()
    world.lease(process=process)
    world.submit("x", OBJECT)

    assert [explanation.reason for explanation in explained(world)] == [Reason.BUSY]


def test_scheduled_tasks_wait_for_their_time() -> None:
    world = World()
    for seconds in (5, 3):
        world.submit("x", due_at=world.now + seconds * SECOND)
    world.submit("y", due_at=world.now + SECOND)
    world.now += SECOND // 2

    assert sentences(world) == [
        "2 tasks tagged x wait for their time: the next is due in 2.5 s",
        "1 task tagged y waits for its time: it is due in 0.5 s",
    ]


def test_tasks_wait_for_the_values_of_others() -> None:
    world = World()
    source = world.submit("x")
    world.take(process=worker(world))
    world.submit("y", inputs=[source])

    assert sentences(world) == ["1 task tagged y waits for the values of other tasks, which are unfinished"]


def test_when_the_next_task_of_a_tag_is_due_is_told_where_that_is_near() -> None:
    world = World()
    for number in range(MOST_LOOKED_AT):
        world.machine.submit(world.now, "x", VALUE, due_at=world.now + number * SECOND + SECOND)
    world.submit("y", due_at=world.now + 3600 * SECOND)

    assert sentences(world) == [
        "1000 tasks tagged x wait for their time: the next is due in 1.0 s",
        "1 task tagged y waits for its time",
    ]


def test_a_task_that_is_not_due_and_needs_values_too_waits_for_these() -> None:
    world = World()
    world.submit("y", inputs=[world.submit("x")], due_at=world.now + SECOND)

    assert [each.reason for each in explained(world)] == [Reason.NO_WORKER, Reason.INPUTS]


def test_a_task_that_is_due_again_after_a_failure_waits_for_its_time() -> None:
    world = World()
    task = world.submit("x", options=Options(retry=RetryPolicy(retries=1, jitter=0)))
    world.fail(world.take())
    assert [each.reason for each in explained(world)] == [Reason.NOT_DUE]
    world.cancel(task)
    assert explained(world) == []


def test_nobody_waits_for_our_own_workers_that_are_out_of_reach() -> None:
    world = World()
    connections = [world.connect() for _ in range(2)]
    for connection in connections:
        world.register(kind=Kind.WORKER, connection=connection)
    submit(world, 1, "x")
    world.disconnect(connections[0])
    assert sentences(world) == ["1 task tagged x waits: the only worker that has a handler is busy"]
    world.disconnect(connections[1])
    assert sentences(world) == ["1 task tagged x waits; no worker is registered"]


def test_a_worker_that_is_out_of_reach_and_runs_a_task_may_come_back() -> None:
    world = World()
    connection = world.connect()
    process = world.register(kind=Kind.WORKER, connection=connection)
    submit(world, 2, "x")
    world.take(process=process, connection=connection)
    world.disconnect(connection)
    assert sentences(world) == ["1 task tagged x waits: the only worker that has a handler is busy"]
