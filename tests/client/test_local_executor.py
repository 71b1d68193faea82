"""An Executor with workers of its own: real processes, as a script starts them."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path

import psutil
import pytest

from pyrotask import Executor
from pyrotask.errors import TimeLimitExceeded, WorkerCrashed
from tests.cli.commands import Running
from tests.waiting import until

PATIENCE_S = 60.0

pytestmark = pytest.mark.slow


@pytest.fixture
def executor() -> Iterator[Executor]:
    with Executor(max_workers=2) as executor:
        yield executor


def sleep_and_tell(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def touch_and_sleep(file: Path, seconds: float) -> None:
    file.touch()
    time.sleep(seconds)


def wait_for_a_file(folder: Path) -> int:
    (folder / str(os.getpid())).touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    return os.getpid()


def die(how: int) -> None:
    os.kill(os.getpid(), how)


class DiesWhenUnpickled:
    def __reduce__(self) -> tuple[object, ...]:
        return die, (signal.SIGKILL,)


class DiesWhenPickled:
    def __reduce__(self) -> tuple[object, ...]:
        die(signal.SIGKILL)
        return DiesWhenPickled, ()


def test_calls_run_in_processes_of_their_own(executor: Executor, tmp_path: Path) -> None:
    futures = [executor.submit(wait_for_a_file, tmp_path) for _ in range(2)]
    until(lambda: len(list(tmp_path.iterdir())) == 2)
    (tmp_path / "go").touch()
    pids = {future.result(PATIENCE_S) for future in futures}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_a_million_tiny_calls(executor: Executor) -> None:
    assert sum(executor.map(abs, range(1_000_000))) == sum(range(1_000_000))


def test_a_worker_that_is_killed_costs_its_call_a_second_run(executor: Executor, tmp_path: Path) -> None:
    future = executor.submit(wait_for_a_file, tmp_path)
    until(lambda: len(list(tmp_path.iterdir())) == 1)
    killed = int(next(tmp_path.iterdir()).name)
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(list(tmp_path.iterdir())) == 2)
    (tmp_path / "go").touch()
    assert future.result(PATIENCE_S) != killed


def test_a_call_that_kills_its_workers_ends_alone(executor: Executor) -> None:
    deadly = executor.with_options(max_crashes=1).submit(die, signal.SIGKILL)
    innocent = [executor.submit(sleep_and_tell, 0.01) for _ in range(20)]
    assert isinstance(deadly.exception(PATIENCE_S), WorkerCrashed)
    assert all(future.result(PATIENCE_S) for future in innocent)


def test_an_argument_that_kills_its_worker_ends_alone(executor: Executor) -> None:
    deadly = executor.with_options(max_crashes=1).submit(print, DiesWhenUnpickled())
    assert isinstance(deadly.exception(PATIENCE_S), WorkerCrashed)
    assert executor.submit(abs, -1).result(PATIENCE_S) == 1


def test_a_result_that_kills_its_worker_ends_alone(executor: Executor) -> None:
    deadly = executor.with_options(max_crashes=1).submit(DiesWhenPickled)
    assert isinstance(deadly.exception(PATIENCE_S), WorkerCrashed)
    assert executor.submit(abs, -1).result(PATIENCE_S) == 1


def test_a_running_call_is_cancelled_and_its_worker_is_free(executor: Executor, tmp_path: Path) -> None:
    futures = [executor.submit(touch_and_sleep, tmp_path / str(index), 600) for index in range(2)]
    until(lambda: len(list(tmp_path.iterdir())) == 2)
    until(lambda: all(future.running() for future in futures))
    assert all(future.cancel() for future in futures)
    assert executor.submit(sleep_and_tell, 0).result(PATIENCE_S) > 0


def test_a_time_limit_ends_a_call(executor: Executor) -> None:
    future = executor.with_options(time_limit_s=0.3).submit(sleep_and_tell, 600)
    assert isinstance(future.exception(PATIENCE_S), TimeLimitExceeded)


def test_nothing_is_left_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    processes = {child.pid for child in psutil.Process().children(recursive=True)}
    threads = set(threading.enumerate())
    with Executor(max_workers=2) as executor:
        executor.submit(abs, 1).result(PATIENCE_S)
        broker = weakref.ref(executor._keeper._team.broker)  # type: ignore[union-attr]
    del executor
    until(lambda: {child.pid for child in psutil.Process().children(recursive=True)} <= processes)
    until(lambda: gc.collect() == 0 and broker() is None)
    until(lambda: set(threading.enumerate()) <= threads)
    assert list(tmp_path.iterdir()) == []


def test_the_workers_of_one_that_is_dropped_finish_their_calls_and_end(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    executor = Executor(max_workers=1)
    future = executor.submit(wait_for_a_file, tmp_path)
    until(lambda: list(tmp_path.iterdir()))
    del executor
    (tmp_path / "go").touch()
    assert future.result(PATIENCE_S)
    until(lambda: {child.pid for child in psutil.Process().children(recursive=True)} <= before)


def test_workers_that_cannot_start_break_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyrotask.worker.child.sys.executable", "/bin/false")
    executor = Executor(max_workers=1)
    with pytest.raises(BrokenExecutor, match="ended before it got to work"):
        executor.submit(abs, 1).result(PATIENCE_S)
    executor.shutdown()


# --- whole scripts ------------------------------------------------------------------------------------

WITHOUT_SHUTDOWN = """
import time
from pyrotask import Executor

def slowly(text):
    time.sleep(0.5)
    return text

executor = Executor(max_workers=1)
executor.submit(slowly, "done").add_done_callback(lambda future: print(future.result(), flush=True))
"""


def test_at_the_end_of_a_script_what_was_submitted_is_finished(tmp_path: Path) -> None:
    assert run(tmp_path, WITHOUT_SHUTDOWN) == "done\n"


NOT_WAITED_FOR = (
    WITHOUT_SHUTDOWN
    + """
import atexit

def too_late():
    try:
        executor.submit(slowly, "more")
    except RuntimeError as error:
        print(error)

atexit.register(too_late)
executor.shutdown(wait=False)
"""
)


def test_at_the_end_of_a_script_what_was_shut_down_in_the_background_is_finished(tmp_path: Path) -> None:
    assert run(tmp_path, NOT_WAITED_FOR) == "done\ncannot schedule new futures after shutdown\n"


DROPPED = WITHOUT_SHUTDOWN + "del executor\n"


def test_at_the_end_of_a_script_the_calls_of_one_that_was_dropped_are_finished(tmp_path: Path) -> None:
    assert run(tmp_path, DROPPED) == "done\n"


TOO_LATE = (
    WITHOUT_SHUTDOWN
    + """
import atexit

@atexit.register
def too_late():
    try:
        executor.submit(slowly, "more")
    except RuntimeError as error:
        print(error)
"""
)


def test_after_the_end_of_a_script_nothing_is_taken(tmp_path: Path) -> None:
    assert run(tmp_path, TOO_LATE) == "done\ncannot schedule new futures after shutdown\n"


FORKED = """
import os
import sys
from pyrotask import Executor

executor = Executor(max_workers=1)
executor.submit(abs, 1).result()
child = os.fork()
if child == 0:
    try:
        executor.submit(abs, -2)
    except RuntimeError as error:
        print("open another" in str(error), flush=True)
    sys.exit(0)
os.waitpid(child, 0)
print(executor.submit(abs, -3).result())
executor.shutdown()
"""


def test_a_forked_child_ends_and_its_parent_goes_on(tmp_path: Path) -> None:
    assert run(tmp_path, FORKED) == "True\n3\n"


INTERRUPTED = """
import time
from pyrotask import Executor

with Executor(max_workers=1) as executor:
    executor.submit(abs, 1).result()
    future = executor.submit(time.sleep, 600)
    print("sleeping", flush=True)
    future.result()
"""


def test_ctrl_c_ends_a_script_whose_call_would_run_long(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(INTERRUPTED, encoding="utf-8")
    with Running(command=(sys.executable, str(tmp_path / "script.py"))) as script:
        script.line("sleeping")
        script.interrupt()
        result = script.end()
    assert result.code != 0
    assert result.err.rstrip().endswith("KeyboardInterrupt")


OWN_MODULE = """
import helper
from pyrotask import Executor

class Point:
    def __init__(self, x):
        self.x = x

def mirrored(point):
    return Point(-helper.doubled(point.x))

with Executor(max_workers=1) as executor:
    result = executor.submit(mirrored, Point(3)).result()
    print(type(result) is Point, result.x)
    print(list(executor.map(helper.doubled, [1, 2])))
"""


def test_what_stands_beside_a_script_and_in_it_is_found(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("def doubled(x):\n    return 2 * x\n")
    assert run(tmp_path, OWN_MODULE) == "True -6\n[2, 4]\n"


KEYS = """
import sys
from pyrotask import Executor

def square(x):
    with open(sys.argv[0] + ".runs", "a") as runs:
        runs.write(f"{x}\\n")
    return x * x

with Executor(sys.argv[1]) as executor:
    futures = [executor.with_options(key=f"square {x}").submit(square, x) for x in range(int(sys.argv[2]))]
    print(sum(future.result() for future in futures))
"""


def test_a_script_run_again_with_keys_computes_what_is_missing(tmp_path: Path) -> None:
    label = f"keys {os.getpid()}"
    with (
        Running(
            "serve", label, "--journal", str(tmp_path / "journal"), "--name-server", "off", "--json"
        ) as serving,
    ):
        serving.event("serving")
        with Running("worker", label, "-n", "2", "--tether", "--json") as worker:
            worker.event("registered")
            assert (
                run(tmp_path, KEYS.replace("sys.argv[0]", repr(str(tmp_path / "s"))), label, "50")
                == "40425\n"
            )
            assert (
                run(tmp_path, KEYS.replace("sys.argv[0]", repr(str(tmp_path / "s"))), label, "60")
                == "70210\n"
            )
    assert sorted(map(int, (tmp_path / "s.runs").read_text().split())) == list(range(60))


def run(folder: Path, script: str, *arguments: str) -> str:
    """What a script in a file of the folder prints, run from elsewhere."""
    (folder / "script.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(folder / "script.py"), *arguments],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd="/",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give files away")
def test_it_works_where_the_folder_for_temporary_files_is_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(tmp_path, 12345, -1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Executor(max_workers=1) as executor:
        assert executor.submit(pow, 2, 3).result(PATIENCE_S) == 8


def test_when_no_process_can_be_started_calls_say_so_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> None:
        raise OSError("no process is left")

    monkeypatch.setattr("pyrotask.worker.supervisor.Offspring", none_left)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def call() -> None:
        with Executor(max_workers=1) as executor:  # it may know already
            executor.submit(pow, 2, 3).result(PATIENCE_S)

    with pytest.raises(BrokenExecutor, match="no process is left"):
        call()

    assert not list(tmp_path.iterdir())
