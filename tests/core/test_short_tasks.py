"""How many tasks a worker is given that has waited: one, or several that are known to be short."""

from __future__ import annotations

from pyrotask.core.model import Kind, NewTask, Options
from pyrotask.core.paces import LONG_NS, MOST_TAGS, TOGETHER_NS, Paces
from tests.core.world import VALUE, World

LONG, SHORT = 2 * LONG_NS, TOGETHER_NS // 100


def world_of(*, idle: int, asks_for: int = 16, **each_ns: int) -> World:
    """Workers wait, and tasks of these tags are known to take so long."""
    world = World()
    for number in range(idle):
        world.park(f"worker {number}", process=world.register(), count=asks_for)
    for tag, ns in each_ns.items():
        world.machine.paces.note(tag, 1, ns)
    return world


def submit(world: World, *tags: str) -> list[int]:
    """Submit tasks of these tags together. Returns how many each worker got that was woken by it."""
    before = set(world.answers)
    world.do(world.machine.submit_many(world.now, [NewTask(tag, VALUE) for tag in tags]))
    return [len(world.answers[caller]) for caller in world.answers if caller not in before]


def test_ten_tasks_of_which_nothing_is_known_go_to_ten_waiting_workers() -> None:
    assert submit(world_of(idle=10), *["a"] * 10) == [1] * 10


def test_ten_long_tasks_go_to_ten_waiting_workers() -> None:
    assert submit(world_of(idle=10, a=LONG), *["a"] * 10) == [1] * 10


def test_short_tasks_go_to_few_of_those_who_wait_and_the_others_sleep_on() -> None:
    world = world_of(idle=10, a=SHORT)
    assert submit(world, *["a"] * 20) == [16, 4]
    assert len(world.machine.task_wants) == 8


def test_those_who_have_waited_longest_are_given_short_tasks_first() -> None:
    world = world_of(idle=3, a=SHORT)
    for _ in range(2):
        submit(world, "a", "a")
    assert list(world.answers) == ["worker 0", "worker 1"]


def test_no_more_than_take_a_moment_together_are_given_at_once() -> None:
    assert submit(world_of(idle=10, a=TOGETHER_NS // 4), *["a"] * 10) == [4, 4, 2]


def test_tasks_that_take_as_long_as_a_moment_go_out_one_by_one() -> None:
    assert submit(world_of(idle=10, a=TOGETHER_NS), *["a"] * 10) == [1] * 10


def test_nobody_is_given_more_than_he_asked_for() -> None:
    assert submit(world_of(idle=3, asks_for=2, a=SHORT), *["a"] * 5) == [2, 2, 1]


def test_a_lone_short_task_goes_out_at_once() -> None:
    assert submit(world_of(idle=2, a=SHORT), "a") == [1]


def test_a_task_of_which_nothing_is_known_does_not_wait_behind_short_ones() -> None:
    assert submit(world_of(idle=3, a=SHORT), "a", "a", "new", "a") == [2, 1, 1]


def test_a_short_task_does_not_wait_behind_one_of_which_nothing_is_known() -> None:
    assert submit(world_of(idle=3, a=SHORT), "new", "a", "a") == [1, 2]


def test_a_task_with_a_time_limit_goes_alone_however_short() -> None:
    world = world_of(idle=3, a=SHORT)
    items = [NewTask("a", VALUE), NewTask("a", VALUE, Options(time_limit_ns=1)), NewTask("a", VALUE)]
    world.do(world.machine.submit_many(world.now, items))
    assert [len(leases) for leases in world.answers.values()] == [1, 1, 1]


def test_who_comes_for_more_gets_short_tasks_beyond_his_fair_part() -> None:
    world = world_of(idle=0, a=SHORT)
    workers = [world.register() for _ in range(10)]
    submit(world, *["a"] * 20)
    assert len(world.lease(process=workers[0], count=16)) == 16


def test_who_comes_for_more_gets_no_long_task_beside_another() -> None:
    world = world_of(idle=0, a=LONG, b=SHORT)
    worker = world.register()
    submit(world, "b", "b", "a", "a", "b", "b")
    assert [len(world.lease(process=worker, count=16)) for _ in range(4)] == [2, 1, 1, 2]


def test_what_waited_behind_a_long_task_goes_to_one_worker_each_when_it_is_given_back() -> None:
    world = world_of(idle=0, a=SHORT)
    connection = world.connect()
    node = world.register_node(connection=connection)
    child = world.register(kind=Kind.WORKER, node=node)
    world.park("child", process=child, count=16)
    assert submit(world, *["a"] * 4) == [4]
    for number in range(3):
        world.park(f"other {number}", process=world.register(), count=16)

    _, *unbegun = world.answers["child"]
    given_back = {lease.task: lease.attempt for lease in unbegun}
    world.do(world.machine.give_back_unbegun(world.now, node, given_back, connection))

    assert [len(world.answers[f"other {number}"]) for number in range(3)] == [1, 1, 1]


def test_one_task_that_takes_long_once_changes_little() -> None:
    world = world_of(idle=4, a=SHORT)
    world.machine.paces.note("a", 1, LONG)
    assert submit(world, "a", "a") == [2]


def test_some_long_tasks_are_enough_to_hand_them_out_one_by_one() -> None:
    world = world_of(idle=4, a=SHORT)
    for _ in range(10):
        world.machine.paces.note("a", 1, LONG)
    assert submit(world, "a", "a") == [1, 1]


def test_that_tasks_have_become_short_is_believed_after_a_while() -> None:
    paces, measured = Paces(), 0
    paces.note("a", 1, LONG)
    while (paces.of("a") or 0) > 2 * SHORT:
        paces.note("a", 100, 100 * SHORT)
        measured += 1
    assert 10 < measured < 100


def test_of_a_million_tags_only_those_measured_last_are_remembered() -> None:
    paces = Paces()
    for number in range(3 * MOST_TAGS):
        paces.note_all([(f"tag{number}", 1, SHORT), ("again and again", 1, SHORT)])
    assert len(paces) == MOST_TAGS
    assert (paces.of("tag0"), paces.of(f"tag{3 * MOST_TAGS - 1}")) == (None, SHORT)
    assert paces.of("again and again") == SHORT
