"""What is told about sessions."""

from __future__ import annotations

import pytest

from pyrotask.core.model import SessionId
from pyrotask.core.session_info import SessionInfo, sessions, to_collect
from tests.core.test_sessions import collect, park, restart
from tests.core.world import VALUE, World


@pytest.fixture
def world() -> World:
    return World()


def open_named(world: World, name: str) -> SessionId:
    return SessionId(world.do(world.machine.sessions.open_named(world.now, name)))


def info(world: World, session: SessionId) -> SessionInfo:
    (found,) = [info for info in sessions(world.machine) if info.id == session]
    return found


def test_those_that_were_heard_of_last_come_first_and_not_too_many(world: World) -> None:
    names = []
    for name in "abc":
        open_named(world, name)
        world.pass_time(1)
    open_named(world, "a")
    names = [info.name for info in sessions(world.machine, limit=2)]

    assert names == ["a", "c"]


def test_one_is_found_by_its_name(world: World) -> None:
    open_named(world, "a")
    mine = open_named(world, "b")

    assert [info.id for info in sessions(world.machine, name="b")] == [mine]
    assert sessions(world.machine, name="c") == []


def test_it_tells_when_it_was_opened_and_heard_of(world: World) -> None:
    session, opened_at = open_named(world, "a"), world.now
    world.pass_time(5)
    collect(world, session)
    heard_at = world.now
    world.pass_time(5)

    assert info(world, session)[2:4] == (opened_at, heard_at)


def test_it_tells_what_is_unfinished_and_what_waits_to_be_collected(world: World) -> None:
    session = open_named(world, "a")
    world.submit("run")  # somebody else's
    done = [world.run(tag, session=session) for tag in "xxy"]
    collect(world, session, count=1)
    world.submit("later", session=session)
    told = info(world, session)

    assert (told.unfinished, told.answers, told.handed_out) == (1, len(done) - 1, 1)


def test_a_claim_by_a_key_counts_until_it_is_answered(world: World) -> None:
    one, two = open_named(world, "a"), open_named(world, "b")
    task = world.submit(session=one, key="k")
    world.submit(session=two, key="k")
    assert (info(world, one).unfinished, info(world, two).unfinished) == (1, 1)
    world.do(world.machine.sessions.end(world.now, two))
    again = open_named(world, "b")
    world.submit(session=again, key="k")
    assert info(world, again).unfinished == 1
    world.take()
    world.succeed(task, VALUE)

    assert (info(world, one).unfinished, info(world, again).unfinished) == (0, 0)
    assert info(world, again).answers == 1


def test_a_retried_task_is_unfinished_again(world: World) -> None:
    session = open_named(world, "a")
    task = world.submit(session=session)
    world.cancel(task)
    world.do(world.machine.retry(world.now, task))

    assert (info(world, session).unfinished, info(world, session).answers) == (1, 0)


def test_a_restart_remembers_it(world: World) -> None:
    session = open_named(world, "a")
    world.submit(session=session)
    before = info(world, session)
    restart(world)

    assert info(world, session) == before


def test_what_is_only_kept_is_not_to_be_collected(world: World) -> None:
    session = open_named(world, "a")
    world.run(session=session, key="k")
    failed = world.submit(session=session)
    world.take()
    world.fail(failed)
    world.run("of everybody")
    assert to_collect(world.machine) == 3
    collect(world, session)
    assert to_collect(world.machine) == 3
    collect(world, session, taken_over=2)

    assert to_collect(world.machine) == 1
    assert world.state(failed) is not None


def test_it_tells_whether_somebody_waits_in_it(world: World) -> None:
    session = open_named(world, "a")
    assert not info(world, session).is_waited_in
    park(world, session, "somebody")

    assert info(world, session).is_waited_in
