"""The memory that a child and its supervisor share."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from pyrotask.worker.begun import Goodbye, Number, Slate


@pytest.fixture
def slate() -> Slate:
    return Slate()


def test_nothing_stands_on_a_new_slate(slate: Slate) -> None:
    assert (slate.begun(), slate.running, slate.node, slate.process, slate.goodbye, slate.text) == (
        [], None, None, None, Goodbye.NONE, "",
    )  # fmt: skip


def test_a_task_that_was_begun_stands_there_until_it_was_acknowledged(slate: Slate) -> None:
    slate.begin(17, 2, "sqrt", 1000, 500)
    slate.finish()
    (begun,) = slate.begun()
    assert (begun.task, begun.attempt, begun.tag, begun.is_running) == (17, 2, "sqrt", False)
    slate.clear()
    assert slate.begun() == []


def test_what_runs_is_told_with_its_limit(slate: Slate) -> None:
    slate.begin(17, 2, "sqrt", 1000, 500)
    assert slate.running is not None
    assert (slate.running.begun_at_ns, slate.running.limit_ns, slate.running.story) == (
        1000, 500, "sqrt_17, attempt 2",
    )  # fmt: skip


def test_several_tasks_can_be_begun_before_one_is_acknowledged(slate: Slate) -> None:
    for task in range(3):
        slate.begin(task, 1, "sqrt", task)
        slate.finish()
    assert [begun.task for begun in slate.begun()] == [0, 1, 2]


def test_a_number_comes_back_with_its_lineage(slate: Slate) -> None:
    slate.process = Number("0123456789abcdef", 7)
    assert slate.process == Number("0123456789abcdef", 7)
    slate.process = None
    assert slate.process is None


def test_a_last_word_of_any_length_is_kept_in_part(slate: Slate) -> None:
    slate.say_goodbye(Goodbye.CANNOT_WORK, "module not found " + "ä" * 10_000)
    assert slate.goodbye is Goodbye.CANNOT_WORK
    assert slate.text.startswith("module not found ä")


def test_a_tag_of_any_length_can_be_noted(slate: Slate) -> None:
    slate.begin(1, 1, "ü" * 1000, 0)
    assert slate.begun()[0].tag.startswith("üüü")


def test_what_a_killed_process_has_noted_is_read_afterwards(slate: Slate) -> None:
    script = (
        "import os, signal; from pyrotask.worker.begun import Slate; "
        f"Slate({slate.descriptor}).begin(17, 2, 'sqrt', 0); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], pass_fds=[slate.descriptor], timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert [begun.story for begun in slate.begun()] == ["sqrt_17, attempt 2"]


def test_the_memory_stays_when_the_file_is_closed(slate: Slate) -> None:
    slate.close_descriptor()
    slate.begin(17, 2, "sqrt", 0)
    assert [begun.task for begun in slate.begun()] == [17]
