"""Whose turn it is: priority, then first in first out; what was given back comes first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyrotask.core.lanes import MAX_EMPTY_LANES, MAX_VIEWS, Lanes
from pyrotask.core.model import DEFAULT_OPTIONS, PUBLIC, Options, Payload, Task, TaskNumber
from tests.core.world import OBJECT, VALUE, World


def test_tasks_are_handed_out_first_in_first_out_over_all_tags() -> None:
    world = World()
    tasks = [world.submit(tag) for tag in "abacb"]

    assert [world.take() for _ in tasks] == tasks


def test_within_a_tag_tasks_are_handed_out_first_in_first_out() -> None:
    world = World()
    tasks = [world.submit(tag) for tag in "abab"]

    assert [world.take("b"), world.take("b")] == [tasks[1], tasks[3]]


def test_a_higher_priority_goes_first() -> None:
    world = World()
    world.submit()
    urgent = world.submit("b", options=Options(priority=1))

    assert world.take() == urgent


def test_a_returned_task_is_handed_out_first() -> None:
    world = World()
    first, _ = world.submit("a"), world.submit("b")
    world.give_back(world.take())

    assert world.take() == first


def test_a_returned_task_is_handed_out_first_within_its_tag_too() -> None:
    world = World()
    first = world.submit()
    world.submit()
    world.give_back(world.take())

    assert world.take("a") == first


def test_a_returned_task_does_not_pass_a_higher_priority() -> None:
    world = World()
    world.submit()
    world.give_back(world.take())
    urgent = world.submit(options=Options(priority=1))

    assert world.take() == urgent


def test_a_batch_is_handed_out_in_the_order_of_single_ones() -> None:
    world = World()
    tasks = [world.submit(tag) for tag in "abcab"]

    assert [lease.task for lease in world.lease(count=3)] == tasks[:3]
    assert [lease.task for lease in world.lease(count=9)] == tasks[3:]


def test_a_request_for_several_tags_gets_the_oldest_of_them() -> None:
    world = World()
    tasks = [world.submit(tag) for tag in "abc"]

    assert world.take("c", "b") == tasks[1]


def test_a_plain_reader_is_never_offered_a_python_object() -> None:
    world = World()
    world.submit(payload=OBJECT)
    plain = world.submit()

    assert world.take(plain_only=True) == plain
    assert world.lease(plain_only=True) == ()


def test_a_task_may_leave_from_the_middle_of_the_line() -> None:
    world = World()
    first, middle, last = world.submit(), world.submit(), world.submit()
    world.cancel(middle)

    assert [world.take(), world.take()] == [first, last]


def test_asking_an_empty_manager_gets_nothing() -> None:
    world = World()

    assert world.lease() == ()


# --- against a model ------------------------------------------------------------------------


class Model:
    """A list, looked through from its beginning: the rule in its plainest form."""

    def __init__(self) -> None:
        self.line: list[tuple[TaskNumber, str, int, str]] = []

    def lease(self, tags: frozenset[str] | None, plain_only: bool) -> TaskNumber | None:
        suits = [
            t for t in self.line if (tags is None or t[1] in tags) and (not plain_only or t[3] == "plain")
        ]
        if not suits:
            return None
        best = max(suits, key=lambda t: t[2])  # the first of them
        self.line.remove(best)
        return best[0]


TAGS = st.sampled_from("abcd")
SUBMITS = st.tuples(st.just("submit"), TAGS, st.integers(0, 2), st.sampled_from([VALUE, OBJECT]))
LEASES = st.tuples(st.just("lease"), st.none() | st.frozensets(TAGS, min_size=1), st.booleans())
OTHERS = st.tuples(st.sampled_from(["return", "cancel", "finish"]), st.integers(0, 100))


@given(st.lists(SUBMITS | LEASES | OTHERS, max_size=60))
def test_every_lease_gets_what_a_simple_list_would_give(story: list[tuple[object, ...]]) -> None:
    world, model = World(), Model()
    known: dict[TaskNumber, tuple[TaskNumber, str, int, str]] = {}
    running: list[TaskNumber] = []
    for what, *how in story:
        if what == "submit":
            tag, priority, payload = how
            assert isinstance(tag, str)
            assert isinstance(priority, int)
            assert isinstance(payload, Payload)
            number = world.submit(tag, payload, options=Options(priority=priority))
            known[number] = (number, tag, priority, payload.format)
            model.line.append(known[number])
        elif what == "lease":
            tags, plain_only = how
            step = world.machine.lease(world.now, tags=tags, plain_only=bool(plain_only))  # type: ignore[arg-type]
            got = [lease.task for lease in world.do(step)]
            expected = model.lease(tags, bool(plain_only))  # type: ignore[arg-type]
            assert got == ([] if expected is None else [expected])
            running += got
        elif what == "cancel" and model.line:
            task = model.line.pop(how[0] % len(model.line))  # type: ignore[operator]
            assert world.cancel(task[0])
        elif what == "return" and running:
            number = running.pop(how[0] % len(running))  # type: ignore[operator]
            assert world.give_back(number)
            model.line.insert(0, known[number])
        elif what == "finish" and running:
            assert world.succeed(running.pop(how[0] % len(running)))  # type: ignore[operator]


# --- what is bounded --------------------------------------------------------------------------


def a_task(number: int, tag: str) -> Task:
    return Task(TaskNumber(number), tag, VALUE, DEFAULT_OPTIONS, PUBLIC)


ALL = frozenset({"group"})


def test_tags_that_are_used_no_more_are_forgotten() -> None:
    lanes = Lanes()
    for number in range(2 * MAX_EMPTY_LANES):
        task = a_task(number, f"tag {number}")
        lanes.push_back(task, "group", 0)
        lanes.remove(task)

    assert len(lanes._lanes) <= MAX_EMPTY_LANES + 2
    assert len(lanes._lanes_of_tag) == len(lanes._lanes)


def test_requests_that_nobody_makes_any_more_are_forgotten() -> None:
    lanes = Lanes()
    for number in range(2 * MAX_VIEWS):
        lanes.view(ALL, frozenset({f"tag {number}"}))

    assert len(list(lanes.views())) <= MAX_VIEWS
    assert len(lanes._views_of) == len(list(lanes.views()))


def test_a_view_is_kept_while_somebody_is_parked_on_it() -> None:
    lanes = Lanes()
    held = lanes.view(ALL, frozenset({"held"}))
    held.in_use = 1
    for number in range(2 * MAX_VIEWS):
        lanes.view(ALL, frozenset({f"tag {number}"}))
    task = a_task(0, "held")
    lanes.push_back(task, "group", 0)

    assert held.first() is task


def test_a_new_view_works_also_when_all_others_are_in_use() -> None:
    lanes = Lanes()
    for number in range(MAX_VIEWS):
        lanes.view(ALL, frozenset({f"tag {number}"})).in_use = 1
    new = lanes.view(ALL, frozenset({"new"}))
    task = a_task(0, "new")
    lanes.push_back(task, "group", 0)

    assert new.first() is task


def test_a_view_that_was_dropped_is_made_anew_with_what_waits() -> None:
    lanes = Lanes()
    task = a_task(0, "held")
    lanes.push_back(task, "group", 0)
    before = lanes.view(ALL, frozenset({"held"}))
    for number in range(2 * MAX_VIEWS):
        lanes.view(ALL, frozenset({f"tag {number}"}))
    after = lanes.view(ALL, frozenset({"held"}))

    assert after is not before
    assert after.first() is task


def test_a_view_that_is_never_read_does_not_grow() -> None:
    lanes = Lanes()
    unread = lanes.view(ALL, None)
    for number in range(10_000):
        task = a_task(number, "tag")
        lanes.push_back(task, "group", 0)
        lanes.remove(task)

    assert len(unread._heap) <= 65


def test_a_tag_with_several_lanes_is_forgotten_with_the_last_of_them() -> None:
    lanes = Lanes()
    for priority in range(2):
        task = a_task(priority, "tag")
        lanes.push_back(task, "group", priority)
        lanes.remove(task)
    for number in range(MAX_EMPTY_LANES):
        task = a_task(number, f"tag {number}")
        lanes.push_back(task, "group", 0)
        lanes.remove(task)

    assert "tag" not in lanes._lanes_of_tag


def test_a_dropped_view_leaves_others_of_the_same_tags_alone() -> None:
    lanes = Lanes()
    lanes.view(ALL, frozenset({"tag"}))
    wider = lanes.view(frozenset({"group", "other"}), frozenset({"tag"}))
    wider.in_use = 1
    for number in range(MAX_VIEWS):
        lanes.view(ALL, frozenset({f"tag {number}"}))
    task = a_task(0, "tag")
    lanes.push_back(task, "group", 0)

    assert wider.first() is task


def test_a_dropped_view_over_all_tags_leaves_its_lanes() -> None:
    lanes = Lanes()
    task = a_task(0, "tag")
    lanes.push_back(task, "group", 0)
    old = lanes.view(ALL, None)
    for number in range(MAX_VIEWS):
        lanes.view(ALL, frozenset({f"tag {number}"}))

    assert task.lane is not None
    assert old not in task.lane.views
