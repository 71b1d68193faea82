"""`pyrotask.testing`: what a user's test gets from it."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import pytest

from pyrotask import Executor, Session, TaskRaisedException, connect
from pyrotask.errors import HandlerError, TaskManagerTermination
from pyrotask.testing import Farm
from tests.testing import handlers_of_a_user
from tests.waiting import until


@pytest.fixture
def inline() -> Iterator[Farm]:
    with Farm({"sqrt": math.sqrt}, workers=0) as farm:
        yield farm


def test_worker_threads_answer_a_master() -> None:
    with Farm({"sqrt": math.sqrt}) as farm:
        master = connect(farm.address)
        master.addTaskRequest("sqrt", (9.0,))
        assert master.getAnyResult(timeout=30) == ("sqrt_0", "sqrt", 3.0)
        master._pyroRelease()


def test_an_executor_runs_what_the_test_defines() -> None:
    with Farm(workers=2) as farm, Executor(farm.address) as executor:
        assert list(executor.map(lambda x: x + 1, range(3))) == [1, 2, 3]


def test_a_task_sees_what_the_test_has_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers_of_a_user, "FACTOR", 7)
    with Farm(handlers_of_a_user) as farm, Session(farm.address) as session:
        assert session.submit("scaled", 2).result(timeout=30) == 14


@pytest.mark.parametrize(
    "handlers", [handlers_of_a_user, handlers_of_a_user.__file__, {"scaled": handlers_of_a_user.scaled}]
)
def test_handlers_come_from_a_module_its_file_or_a_mapping(handlers: object) -> None:
    with Farm(handlers, workers=0) as farm:  # type: ignore[arg-type]
        farm.task_manager.addTaskRequest("scaled", (1,))
        assert farm.run() == 1


def test_a_module_without_handlers_is_an_error_at_once() -> None:
    with pytest.raises(HandlerError, match="no handler in module math"):
        Farm(math)


def test_nothing_runs_inline_before_the_test_says_so(inline: Farm) -> None:
    inline.task_manager.addTaskRequest("sqrt", (4.0,))
    with pytest.raises(TimeoutError):
        inline.task_manager.getAnyResult(timeout=0)

    assert inline.run() == 1
    assert inline.task_manager.getAnyResult(timeout=0)[2] == 2.0


def test_an_inline_task_runs_in_the_thread_of_the_test() -> None:
    threads: list[threading.Thread] = []
    with Farm({"note": lambda: threads.append(threading.current_thread())}, workers=0) as farm:
        farm.task_manager.addTaskRequest("note", ())
        farm.run()
    assert threads == [threading.current_thread()]


def test_run_waits_for_what_is_on_its_way(inline: Farm) -> None:
    with Session(inline.address) as session:
        futures = [session.submit("sqrt", float(number)) for number in (1, 4)]
        assert inline.run(2) == 2
        assert [future.result() for future in futures] == [1.0, 2.0]


def test_run_says_how_many_tasks_came(inline: Farm) -> None:
    inline.task_manager.addTaskRequest("sqrt", (4.0,))
    with pytest.raises(TimeoutError, match="1 of 2 tasks came"):
        inline.run(2, timeout_s=0.01)


def test_run_is_refused_where_threads_are_at_work() -> None:
    with Farm() as farm, pytest.raises(RuntimeError, match="workers=0"):
        farm.run()


def test_what_a_handler_raises_is_the_answer(inline: Farm) -> None:
    inline.task_manager.addTaskRequest("sqrt", (-1.0,))
    inline.run()
    with pytest.raises(TaskRaisedException, match="math domain error"):
        inline.task_manager.getAnyResult()


def test_whoever_waits_at_the_end_is_told() -> None:
    told: list[type[BaseException]] = []
    farm = Farm(workers=0)

    def wait() -> None:
        try:
            farm.task_manager.getAnyResult()
        except TaskManagerTermination as error:
            told.append(type(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: farm.task_manager.broker.engine.execute(lambda m, _: len(m.result_wants)).reply)
    farm.close()
    waiting.join(30)
    assert told == [TaskManagerTermination]


def test_a_farm_can_be_closed_twice() -> None:
    farm = Farm()
    farm.close()
    farm.close()
