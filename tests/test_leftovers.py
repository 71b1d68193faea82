"""The guard that every other test stands under (tests/leftovers.py) sees what it must."""

from __future__ import annotations

import subprocess
import sys
import threading

import psutil
import pytest

from tests import leftovers


def test_a_child_that_runs_on_is_named_and_killed() -> None:
    before = leftovers.running_now()
    with subprocess.Popen([sys.executable, "-c", "input('left behind')"], stdin=subprocess.PIPE) as child:
        stories = _stories_without_grace(before)
        assert not psutil.pid_exists(child.pid)
    assert len(stories) == 1
    assert "input('left behind')" in stories[0]


@pytest.mark.slow
def test_an_orphan_is_found_by_the_run_it_belongs_to() -> None:
    start_a_child_and_leave = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],\n"
        "                         stdout=subprocess.DEVNULL)\n"
        "print(child.pid)\n"
    )
    parent = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", start_a_child_and_leave], stdout=subprocess.PIPE, check=True
    )
    orphan = psutil.Process(int(parent.stdout))
    stories = leftovers.stories_of_orphans()
    assert [story for story in stories if f"process {orphan.pid}," in story]
    assert not leftovers._counts(orphan)


def test_a_thread_that_keeps_python_alive_is_told_with_its_stack() -> None:
    before = leftovers.running_now()
    is_away, go_home = threading.Event(), threading.Event()

    def stay_away() -> None:
        is_away.set()
        go_home.wait()

    thread = threading.Thread(target=stay_away, name="the-forgotten")
    thread.start()
    is_away.wait()
    try:
        [story] = _stories_without_grace(before)
    finally:
        go_home.set()
        thread.join()
    assert "the-forgotten" in story
    assert "stay_away" in story


def test_what_was_there_before_is_nobodys_fault() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert _stories_without_grace(leftovers.running_now()) == []
        assert child.poll() is None
        child.communicate(b"\n")


def _stories_without_grace(before: leftovers.Running) -> list[str]:
    return leftovers.stories_of_what_was_left(before, grace_s=0.0)
