"""What a person is told about one task."""

from __future__ import annotations

import pytest

from pyrotask.core.explain_task import MOST_BEFORE, explain_task
from pyrotask.core.model import SECOND, Kind, NewTask, Options, RetryPolicy, SessionId, TaskNumber
from tests.core.world import OBJECT, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def session(world: World) -> SessionId:
    return world.open_session()


def told(world: World, task: TaskNumber) -> list[str]:
    before = world.machine.state.image()
    sentences = explain_task(world.machine, world.now, world.machine.state.tasks[task])
    assert world.machine.state.image() == before
    return sentences


# --- waiting ------------------------------------------------------------------------------------


def test_what_waits_is_explained_as_its_line_is(world: World) -> None:
    world.submit("cube")
    first, second = world.submit("sqrt"), world.submit("sqrt")

    assert told(world, first) == ["2 tasks tagged sqrt wait; no worker is registered"]
    assert told(world, second)[1:] == ["1 of its tag and priority is to run before it"]


def test_a_python_object_is_not_in_the_line_of_plain_values(world: World) -> None:
    world.submit("sqrt")
    task = world.submit("sqrt", OBJECT)

    assert told(world, task) == ["1 task tagged sqrt waits; no worker is registered"]


def test_a_long_line_is_not_counted_to_its_end(world: World) -> None:
    new = [NewTask("a", OBJECT)] * (MOST_BEFORE + 2)
    tasks = world.do(world.machine.submit_many(world.now, new))

    assert told(world, tasks[3])[1] == "3 of its tag and priority are to run before it"
    assert told(world, tasks[-2])[1].startswith(f"{MOST_BEFORE} of its tag")
    assert told(world, tasks[-1])[1].startswith(f"more than {MOST_BEFORE} of its tag")


def test_what_waits_for_ever_is_told_so(world: World) -> None:
    task = world.submit()
    world.do(world.machine.terminate(world.now))

    assert told(world, task)[0] == "the task manager is terminated: no more tasks are handed out"


# --- scheduled ----------------------------------------------------------------------------------


def test_what_is_not_due_says_when(world: World) -> None:
    task = world.submit(due_at=world.now + 90 * SECOND)

    assert told(world, task) == ["it waits for its time: it is due in 90.0 s"]


def test_what_is_to_be_tried_again_says_when(world: World) -> None:
    task = world.submit(options=Options(retry=RetryPolicy(retries=1, delay_ns=5 * SECOND, jitter=0)))
    world.take()
    world.fail(task)

    assert told(world, task) == ["it waits for its time: it is due in 5.0 s"]


def test_what_needs_values_names_the_tasks_that_are_to_give_them(world: World) -> None:
    done, runs, waits = world.run("a"), world.submit("b"), world.submit("c")
    del done
    world.take("b")
    task = world.submit(inputs=(runs, waits))

    assert told(world, task) == [f"it waits for the values of b_{runs} (running), c_{waits} (waiting)"]


def test_only_unfinished_inputs_are_named_and_not_too_many(world: World, session: SessionId) -> None:
    done = world.run("done", session=session)
    inputs = tuple(world.submit("a") for _ in range(7))
    (sentence,) = told(world, world.submit("b", inputs=(done, *inputs)))

    assert sentence.endswith("a_5 (waiting), and of 2 more")
    assert "done" not in sentence


# --- running ------------------------------------------------------------------------------------


def test_what_runs_names_the_process_and_since_when(world: World) -> None:
    process = world.register(kind=Kind.WORKER, info="node 7", connection=world.connect())
    task = world.submit()
    world.take(process=process)
    world.pass_time(2)

    assert told(world, task) == [
        f"process {process} (node 7) has had it for 2.0 s: attempt 1",
        "that process was heard of 2.0 s ago",
    ]


def test_what_a_stranger_runs_is_told_so(world: World) -> None:
    task = world.submit()
    world.take()

    assert told(world, task) == ["a client that did not register has had it for 0.0 s: attempt 1"]


def test_a_time_limit_is_told(world: World) -> None:
    process = world.register()
    task = world.submit(options=Options(time_limit_ns=60 * SECOND))
    world.take(process=process)
    world.pass_time(12)

    assert told(world, task)[0].startswith(f"process {process} has had it")
    assert told(world, task)[2] == "its time limit of 60 s is reached in 48.0 s"


# --- finished -----------------------------------------------------------------------------------


def test_an_answer_waits_for_its_session(world: World, session: SessionId) -> None:
    task = world.run(session=session)

    assert told(world, task) == ["it succeeded", "its answer waits to be collected by session 's'"]


def test_an_answer_of_nobody_waits_for_anybody(world: World) -> None:
    assert told(world, world.run())[1] == "its answer waits to be collected by whoever asks for results"


def test_an_answer_that_is_handed_out_is_on_its_way(world: World, session: SessionId) -> None:
    task = world.run(session=session)
    world.do(world.machine.sessions.collect(world.now, session, count=1))

    assert told(world, task)[1] == "its answer is on its way to session 's'"


def test_a_failure_tells_its_cause_and_its_message(world: World, session: SessionId) -> None:
    task = world.submit(session=session)
    world.take()
    world.fail(task)

    assert told(world, task)[0] == "it failed (raised): bad luck"


def test_a_failure_tells_only_the_first_line_since_the_rest_stands_in_its_story(world: World) -> None:
    task = world.submit(options=Options(max_crashes=1))
    process = world.register(kind=Kind.WORKER)
    world.take(process=process)
    world.do(world.machine.child_exited(world.now, process, {task: 1}, "exit code 3; last lines:\nno memory"))

    assert told(world, task)[0] == "it failed (crashed): exit code 3; last lines:"


def test_a_cancelled_task_tells_why(world: World) -> None:
    task = world.submit()
    world.do(world.machine.cancel(world.now, task, "enough"))

    assert told(world, task)[0] == "it was cancelled: enough"


def test_a_task_with_a_key_says_that_it_stays(world: World, session: SessionId) -> None:
    task = world.run(session=session, key="k")
    other = world.open_session()
    world.submit(session=other, key="k")
    world.do(world.machine.sessions.end(world.now, session))

    assert told(world, task) == [
        "it succeeded",
        f"its answer is with session {session}, which has ended",
        "its answer waits to be collected by session 's2'",
        "it stays for its key, 'k', until it is forgotten",
    ]


def test_a_value_that_is_needed_says_so(world: World) -> None:
    task = world.run()
    world.submit("b", inputs=(task, world.submit("c")))

    assert told(world, task)[-1] == "unfinished tasks need its value: 1"
