"""Large values with a journal: they are in its files, and nobody notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyrotask import TaskManager, TaskRaisedException
from pyrotask.config import MIB, Settings
from pyrotask.errors import QueueFull
from pyrotask.journal.blocks import blocks_of

LARGE = b"x" * MIB


FROM_DISK = Settings(journal_recent_bytes=0)


def held_in_memory(manager: TaskManager) -> int:
    """The bytes of large values that are in the manager's memory."""
    blocks = blocks_of(manager.broker.engine.machine.state)
    return sum(block.nbytes for block in blocks if block.is_in_memory)


def test_large_values_go_all_the_way_over_a_restart(tmp_path: Path) -> None:
    with TaskManager(FROM_DISK, journal=tmp_path / "journal") as manager:
        task_id = manager.addTaskRequest("a", (LARGE,))
        manager.storeData(shared=LARGE)
        assert held_in_memory(manager) == 0
    with TaskManager(FROM_DISK, journal=tmp_path / "journal") as manager:
        assert manager.retrieveData("shared") == LARGE
        assert manager.getAnyTask() == (task_id, "a", (LARGE,))
        manager.storeResult(task_id, [LARGE])
        assert held_in_memory(manager) == 0
    with TaskManager(FROM_DISK, journal=tmp_path / "journal") as manager:
        assert manager.getAnyResult() == (task_id, "a", [LARGE])


def test_a_large_exception_goes_all_the_way(tmp_path: Path) -> None:
    with TaskManager(FROM_DISK, journal=tmp_path / "journal") as manager:
        manager.addTaskRequest("a", ())
        task_id, _, _ = manager.getAnyTask()
        manager.storeException(task_id, ValueError(LARGE), "")
        assert held_in_memory(manager) == 0
        with pytest.raises(TaskRaisedException) as caught:
            manager.getAnyResult()

    assert caught.value.exception.args == (LARGE,)


def hand_in(manager: TaskManager, *results: bytes) -> None:
    for result in results:
        manager.addTaskRequest("a", ())
        manager.storeResult(manager.getTaskWithTag("a")[0], result)


def test_too_many_results_in_memory_refuse_new_tasks_until_some_are_collected() -> None:
    with TaskManager(Settings(max_result_bytes=MIB)) as manager:
        manager.addTaskRequest("b", ())
        hand_in(manager, LARGE)
        with pytest.raises(QueueFull, match=r"max_result_bytes is 1048576: submit again when"):
            manager.addTaskRequest("a", ())
        manager.storeResult(manager.getTaskWithTag("b")[0], LARGE)  # what was taken on goes on
        manager.getAnyResult()
        manager.getAnyResult()
        manager.addTaskRequest("a", ())


def test_large_results_in_a_journal_refuse_nobody(tmp_path: Path) -> None:
    with TaskManager(Settings(max_result_bytes=MIB), journal=tmp_path / "journal") as manager:
        hand_in(manager, LARGE, LARGE, LARGE)
        assert [manager.getAnyResult()[2] for _ in range(3)] == [LARGE] * 3
