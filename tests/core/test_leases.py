"""Who holds a task, and the ways in which that ends."""

from __future__ import annotations

import pytest

from pyrotask.core import events as e
from pyrotask.core.model import SECOND, UNFINISHED, Cause, Ended, Kind, Limits, Options, State, TaskNumber
from pyrotask.errors import NotHolder, Refused, UnknownProcess, UnknownTask
from tests.core.world import ERROR, VALUE, World

PLAIN_GRACE_S = Limits().plain_grace_ns / SECOND

# --- who may end it ---------------------------------------------------------------------------


def test_anybody_may_hand_in_a_value_once_the_task_was_leased() -> None:
    world = World()
    task = world.submit()
    world.take(process=world.register())

    assert world.succeed(task, connection=world.connect())
    assert world.state(task) is State.SUCCEEDED


def test_a_value_for_a_task_that_was_never_leased_is_refused() -> None:
    world = World()
    task = world.submit()

    with pytest.raises(NotHolder, match="never handed out"):
        world.succeed(task)
    assert world.waiting() == [task]


@pytest.mark.parametrize("attempt", [0, 2, -1])
def test_a_value_of_an_attempt_that_was_never_made_is_refused(attempt: int) -> None:
    world = World()
    task = world.submit()
    world.take()

    with pytest.raises(NotHolder, match=f"as attempt {attempt}"):
        world.succeed(task, attempt=attempt)


def test_a_value_is_accepted_from_an_earlier_attempt_and_ends_the_later_one() -> None:
    world = World()
    first, second = world.register(), world.register()
    task = world.submit()
    world.take(process=first)
    world.give_back(task)
    world.take(process=second)

    assert world.succeed(task, attempt=1)
    assert not world.machine.state.processes[second].tasks


def test_a_value_is_accepted_while_the_task_waits_again() -> None:
    world = World()
    task = world.submit()
    world.take()
    world.give_back(task)

    assert world.succeed(task)
    assert world.waiting() == []


def test_a_second_value_is_counted_and_dropped() -> None:
    world = World()
    task = world.run()

    assert not world.succeed(task, VALUE._replace(buffers=(b"other",)))
    assert world.machine.state.late_answers == 1
    answer = world.collect()
    assert answer is not None
    assert answer.outcome == (VALUE,)


def test_a_value_for_a_task_that_was_collected_is_counted_and_dropped() -> None:
    world = World()
    task = world.run()
    world.collect()

    assert not world.succeed(task)
    assert world.machine.state.late_answers == 1


def test_a_value_for_a_number_that_was_never_given_out_is_refused() -> None:
    world = World()

    with pytest.raises(UnknownTask, match="no task has the number 7"):
        world.succeed(TaskNumber(7))
    with pytest.raises(UnknownTask):
        world.succeed(TaskNumber(-1))


def test_the_holder_may_fail_its_task() -> None:
    world = World()
    process = world.register()
    task = world.submit()
    world.take(process=process)

    assert world.fail(task, process=process, attempt=1)
    assert world.ended(task) == Ended(Cause.RAISED, "bad luck", ERROR, world.now)


def test_a_connection_that_is_bound_to_the_holder_may_fail_its_task() -> None:
    world = World()
    connection = world.connect()
    world.register(connection=connection)
    task = world.submit()
    process = world.register(connection=connection)
    world.take(process=process, connection=connection)

    assert world.fail(task, connection=connection)


def test_a_connection_that_is_bound_to_nobody_may_fail_a_task() -> None:
    world = World()
    task = world.submit()
    world.take(process=world.register())

    assert world.fail(task, connection=world.connect())


def test_another_process_may_neither_fail_nor_return_a_task() -> None:
    world = World()
    holder, other = world.register(), world.register()
    task = world.submit()
    world.take(process=holder)

    with pytest.raises(NotHolder, match="not leased to process 1; attempt 1 runs on process 0"):
        world.fail(task, process=other)
    with pytest.raises(NotHolder):
        world.give_back(task, process=other)
    assert world.state(task) is State.RUNNING


def test_a_connection_that_is_bound_to_another_process_may_not_fail_a_task() -> None:
    world = World()
    task = world.submit()
    world.take(process=world.register())
    connection = world.connect()
    world.register(connection=connection)

    with pytest.raises(NotHolder):
        world.fail(task, connection=connection)


def test_a_supervisor_may_fail_the_tasks_of_its_children() -> None:
    world = World()
    connection = world.connect()
    node = world.register_node(connection=connection)
    child = world.register(node=node)
    task = world.submit()
    world.take(process=child)

    assert world.fail(task, connection=connection)


def test_a_supervisor_may_not_fail_the_tasks_of_others() -> None:
    world = World()
    connection = world.connect()
    process = world.register(connection=connection)
    world.register_node(connection=connection)
    task = world.submit()
    world.take(process=world.register())

    with pytest.raises(NotHolder, match=f"process {process}"):
        world.fail(task, connection=connection)


def test_a_failure_of_an_earlier_attempt_is_refused() -> None:
    world = World()
    task = world.submit()
    world.take()
    world.give_back(task)
    world.take()

    with pytest.raises(NotHolder, match="attempt 1: no longer yours; attempt 2 runs on an unreg"):
        world.fail(task, attempt=1)


def test_a_failure_of_a_task_that_is_not_running_is_refused() -> None:
    world = World()
    task = world.submit()
    world.take()
    world.give_back(task)

    with pytest.raises(NotHolder, match="is not running as attempt 1"):
        world.fail(task, attempt=1)


def test_a_failure_after_the_answer_is_counted_and_dropped() -> None:
    world = World()
    task = world.run()

    assert not world.fail(task)
    assert world.machine.state.late_answers == 1


def test_anybody_may_return_the_task_of_an_unregistered_client() -> None:
    world = World()
    task = world.submit()
    world.take(connection=world.connect())

    assert world.give_back(task, connection=world.connect())


def test_returning_a_task_that_waits_or_is_finished_is_ignored() -> None:
    world = World()
    task = world.submit()
    assert not world.give_back(task)
    world.succeed(world.take())

    assert not world.give_back(task)
    assert world.state(task) is State.SUCCEEDED


def test_a_lease_for_an_unknown_process_hands_out_nothing() -> None:
    world = World()
    task = world.submit()

    with pytest.raises(UnknownProcess, match="active: none"):
        world.machine.lease(world.now, process=world.machine.state.next_process)  # type: ignore[arg-type]
    assert world.waiting() == [task]


def test_nothing_is_handed_out_over_a_closed_connection() -> None:
    world = World()
    task = world.submit()
    connection = world.connect()
    world.disconnect(connection)

    with pytest.raises(Refused, match="is closed"):
        world.lease(connection=connection)
    assert world.waiting() == [task]


def test_a_value_counts_also_when_its_connection_is_closed_by_now() -> None:
    world = World()
    connection = world.connect()
    task = world.submit()
    world.take(connection=connection)
    world.disconnect(connection)

    assert world.succeed(task, connection=connection)


# --- replies that were lost -------------------------------------------------------------------


def test_a_lease_that_could_not_be_handed_over_is_undone() -> None:
    world = World()
    task = world.submit()
    (lease,) = world.lease()
    world.do(world.machine.undo_lease(world.now, task, lease.attempt))

    assert world.waiting() == [task]


def test_undoing_a_lease_does_not_end_a_later_one() -> None:
    world = World()
    task = world.submit()
    (first,) = world.lease()
    world.do(world.machine.undo_lease(world.now, task, first.attempt))
    world.lease()
    world.do(world.machine.undo_lease(world.now, task, first.attempt))

    assert world.state(task) is State.RUNNING


def test_a_worker_that_comes_back_keeps_what_it_names_and_nothing_else() -> None:
    world = World()
    worker = world.register(kind=Kind.WORKER)
    kept, lost, older = world.submit(), world.submit(), world.submit()
    world.lease(process=worker, count=3)
    world.do(world.machine.hold_only(world.now, worker, {kept: 1, older: 0}))

    assert world.state(kept) is State.RUNNING
    assert world.waiting() == [lost, older]


def test_a_worker_that_has_come_back_is_handed_nothing_over_its_old_connection() -> None:
    world = World()
    old = world.connect()
    worker = world.register(kind=Kind.WORKER, connection=old)
    new = world.connect()
    world.do(world.machine.hold_only(world.now, worker, {}, new))
    task = world.submit()

    assert world.lease(process=worker, connection=old, caller="sent before") == ()
    assert world.take(process=worker, connection=new) == task


def test_what_a_worker_had_asked_for_over_its_old_connection_ends_when_it_comes_back() -> None:
    world = World()
    old = world.connect()
    worker = world.register(kind=Kind.WORKER, connection=old)
    world.park("nobody reads this", process=worker, connection=old)
    world.do(world.machine.hold_only(world.now, worker, {}, world.connect()))
    task = world.submit()

    assert isinstance(world.answers["nobody reads this"], Refused)
    assert world.waiting() == [task]


def test_an_old_word_of_what_a_worker_holds_changes_nothing() -> None:
    world = World()
    old, new = world.connect(), world.connect()
    worker, task = world.register(kind=Kind.WORKER, connection=old), world.submit()
    world.do(world.machine.hold_only(world.now, worker, {}, new))
    world.take(process=worker, connection=new)

    with pytest.raises(Refused, match="over a newer connection"):
        world.machine.hold_only(world.now, worker, {}, old)
    assert world.state(task) is State.RUNNING


def test_a_plain_process_that_asks_anew_gives_back_what_its_closed_connection_was_handed() -> None:
    world = World()
    process = world.register()
    first, task = world.connect(), world.submit()
    world.take(process=process, connection=first)
    world.disconnect(first)
    (lease,) = world.lease(process=process, connection=world.connect())

    assert (lease.task, lease.attempt) == (task, 2)


def test_a_plain_process_keeps_what_its_open_connections_were_handed() -> None:
    world = World()
    process = world.register()
    world.submit()
    task = world.take(process=process, connection=world.connect())

    assert world.lease(process=process, connection=world.connect()) == ()
    assert world.state(task) is State.RUNNING


def test_a_worker_of_ours_keeps_its_tasks_when_it_asks_over_a_new_connection() -> None:
    world = World()
    worker = world.register(kind=Kind.WORKER)
    connection, task = world.connect(), world.submit()
    world.take(process=worker, connection=connection)
    world.disconnect(connection)

    assert world.lease(process=worker, connection=world.connect()) == ()
    assert world.state(task) is State.RUNNING


# --- leases of nobody's ---------------------------------------------------------------------------


def test_an_anonymous_lease_ends_a_grace_after_its_connection_closed() -> None:
    world = World()
    connection, task = world.connect(), world.submit()
    world.take(connection=connection)
    world.disconnect(connection)
    world.pass_time(PLAIN_GRACE_S, ns=-1)
    assert world.state(task) is State.RUNNING
    world.pass_time(ns=1)

    assert world.waiting() == [task]


def test_an_anonymous_lease_lasts_as_long_as_its_connection() -> None:
    world = World()
    task = world.submit()
    world.take(connection=world.connect())
    world.pass_time(1e6)

    assert world.state(task) is State.RUNNING


def test_an_anonymous_lease_in_our_own_process_never_ends_by_itself() -> None:
    world = World()
    task = world.submit()
    world.take()
    world.pass_time(1e6)

    assert world.state(task) is State.RUNNING


def test_a_client_that_died_with_one_lease_crashed_and_with_two_was_lost() -> None:
    world = World()
    for count in (1, 2):
        connection = world.connect()
        for _ in range(count):
            world.submit()
        world.lease(connection=connection, count=count)
        world.disconnect(connection)
    world.pass_time(PLAIN_GRACE_S)

    ends = [type(event) for event in world.events if isinstance(event, (e.TaskCrashed, e.TaskLost))]
    assert ends == [e.TaskCrashed, e.TaskLost, e.TaskLost]


def test_closing_a_connection_twice_does_nothing() -> None:
    world = World()
    connection = world.connect()
    world.disconnect(connection)
    events = len(world.events)
    world.disconnect(connection)

    assert len(world.events) == events


# --- crashes and losses ---------------------------------------------------------------------------


def crash(world: World, task: TaskNumber, attempt: int) -> None:
    child = world.register(kind=Kind.WORKER)
    assert world.take(process=child) == task
    world.do(world.machine.child_exited(world.now, child, {task: attempt}, "signal 9"))


def lose(world: World) -> None:
    world.take(process=world.register(period_s=1))
    world.pass_time(4)


def test_a_task_that_crashes_its_workers_fails_at_the_bound() -> None:
    world = World()
    task = world.submit()
    for attempt in (1, 2):
        crash(world, task, attempt)
        assert world.waiting() == [task]
    crash(world, task, 3)

    assert world.ended(task) == Ended(Cause.CRASHED, "signal 9", None, world.now)


@pytest.mark.parametrize("bound", [0, 1])
def test_a_task_may_be_submitted_with_a_bound_on_crashes_of_its_own(bound: int) -> None:
    world = World()
    task = world.submit(options=Options(max_crashes=bound))
    crash(world, task, 1)

    assert world.state(task) is State.FAILED


def test_a_task_that_is_lost_fails_at_a_bound_of_its_own() -> None:
    world = World()
    task = world.submit()
    for _ in range(9):
        lose(world)
    assert world.waiting() == [task]
    lose(world)

    assert world.ended(task).cause is Cause.LOST
    assert "process 9 was silent for 4.0 s" in world.ended(task).detail


def test_a_task_may_be_submitted_with_a_bound_on_losses_of_its_own() -> None:
    world = World()
    task = world.submit(options=Options(max_losses=1))
    lose(world)

    assert world.state(task) is State.FAILED


def test_crashes_losses_and_returns_are_counted_apart() -> None:
    world = World(Limits(max_crashes=2, max_losses=2))
    task = world.submit()
    crash(world, task, 1)
    lose(world)
    for _ in range(5):
        world.give_back(world.take())

    assert world.waiting() == [task]
    trouble = world.machine.state.tasks[task].trouble
    assert trouble is not None
    assert (trouble.crashes, trouble.losses, trouble.retries) == (1, 1, 0)


def test_a_failed_task_keeps_its_story() -> None:
    world = World(Limits(max_crashes=2))
    task = world.submit()
    crash(world, task, 1)
    crash(world, task, 2)
    trouble = world.machine.state.tasks[task].trouble

    assert trouble is not None
    assert [(end.attempt, end.process, end.cause) for end in trouble.story] == [
        (1, 0, Cause.CRASHED),
        (2, 1, Cause.CRASHED),
    ]


def test_a_task_that_crashed_once_is_leased_alone() -> None:
    world = World()
    dangerous = world.submit()
    crash(world, dangerous, 1)
    innocent = [world.submit(), world.submit()]

    assert [lease.task for lease in world.lease(count=9)] == [dangerous]
    assert [lease.task for lease in world.lease(count=9)] == innocent


def test_a_task_that_crashed_once_never_joins_a_batch_of_innocents() -> None:
    world = World()
    innocent = world.submit(options=Options(priority=1))
    dangerous = world.submit()
    assert [lease.task for lease in world.lease(count=2)] == [innocent, dangerous]
    world.give_back(innocent)
    world.give_back(dangerous)
    world.take("a", process=world.register())
    crash(world, dangerous, 2)
    world.give_back(innocent)

    assert [lease.task for lease in world.lease(count=2)] == [innocent]
    assert [lease.task for lease in world.lease(count=2)] == [dangerous]


def test_only_what_the_child_had_begun_crashed() -> None:
    world = World()
    child = world.register(kind=Kind.WORKER)
    tasks = [world.submit() for _ in range(3)]
    world.lease(process=child, count=3)
    world.do(world.machine.child_exited(world.now, child, {tasks[1]: 1}, "signal 9"))

    assert world.waiting() == tasks
    crashed = [event.task for event in world.events if isinstance(event, e.TaskCrashed)]
    assert crashed == [tasks[1]]
    assert not world.is_registered(child)


def test_a_dead_childs_task_is_handed_to_who_waits_at_once() -> None:
    world = World()
    child, task = world.register(kind=Kind.WORKER), world.submit()
    world.take(process=child)
    world.park("waits")
    world.do(world.machine.child_exited(world.now, child, {task: 1}, "signal 9"))

    assert [lease.attempt for lease in world.answers["waits"]] == [2]


# --- limits -------------------------------------------------------------------------------------


LIMITED = Options(time_limit_ns=10 * SECOND)


def test_a_task_ends_at_its_time_limit() -> None:
    world = World()
    task = world.submit(options=LIMITED)
    world.take()
    world.pass_time(10, ns=-1)
    assert world.state(task) is State.RUNNING
    world.pass_time(ns=1)

    detail = "attempt 1 ran longer than its limit of 10 s"
    assert world.ended(task) == Ended(Cause.TIME_LIMIT, detail, None, world.now)


def test_the_time_limit_counts_from_the_lease() -> None:
    world = World()
    task = world.submit(options=LIMITED)
    world.pass_time(100)
    world.take()
    world.pass_time(9)
    world.give_back(task)
    world.pass_time(9)
    world.take()
    world.pass_time(9)

    assert world.state(task) is State.RUNNING


def test_a_time_limit_is_no_crash() -> None:
    world = World()
    task = world.submit(options=LIMITED)
    world.take()
    world.pass_time(10)
    trouble = world.machine.state.tasks[task].trouble

    assert trouble is not None
    assert trouble.crashes == 0


def test_a_supervisor_may_end_a_task_at_its_limit_before_it_kills_the_child() -> None:
    world = World()
    child, task = world.register(kind=Kind.WORKER), world.submit(options=LIMITED)
    world.take(process=child)
    world.do(world.machine.reach_time_limit(world.now, task, 1, child))
    world.do(world.machine.child_exited(world.now, child, {task: 1}, "killed for its limit"))

    assert world.ended(task).cause is Cause.TIME_LIMIT
    assert not [event for event in world.events if isinstance(event, e.TaskCrashed)]


def test_a_supervisor_cannot_end_what_its_child_does_not_hold() -> None:
    world = World()
    child, task = world.register(kind=Kind.WORKER), world.submit(options=LIMITED)
    world.take()

    with pytest.raises(NotHolder):
        world.machine.reach_time_limit(world.now, task, 2, child)
    world.succeed(task)
    world.do(world.machine.reach_time_limit(world.now, task, 1, child))
    assert world.state(task) is State.SUCCEEDED


def test_a_poison_task_among_innocents_ends_alone() -> None:
    world = World()
    tasks = [world.submit() for _ in range(64)]
    poison, died = tasks[17], 0
    while any(world.state(task) in UNFINISHED for task in tasks):
        worker = world.register(kind=Kind.WORKER)
        leases = world.lease(process=worker, count=64)
        for lease in leases:
            if lease.task == poison:
                begun = {poison: lease.attempt}
                world.do(world.machine.child_exited(world.now, worker, begun, "signal 9"))
                died += 1
                break
            world.succeed(lease.task, attempt=lease.attempt)

    assert [task for task in tasks if world.state(task) is not State.SUCCEEDED] == [poison]
    assert (world.ended(poison).cause, died) == (Cause.CRASHED, world.machine.limits.max_crashes)
