"""An Executor in a real Jupyter kernel, as a notebook uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from pyrotask.testing import Farm

if TYPE_CHECKING:
    from tests.notebook.kernels import Kernel

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Jupyter's own libraries have some, other ones with each release
]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """An `executor` with one worker is in it. What it makes for a time is below `tmp_path`."""
    for library in ("nbclient", "ipykernel"):
        pytest.importorskip(library, reason=f"{library} is not installed: pip install '.[test]'")
    from tests.notebook.kernels import kernel_running  # noqa: PLC0415 - it needs those two

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    with kernel_running() as kernel:
        kernel.run("from pyrotask import Executor\nexecutor = Executor(max_workers=1)")
        yield kernel


def folders_of_executors(folder: Path) -> list[Path]:
    return list(folder.glob("pyrotask-*"))


def test_a_function_that_is_defined_again_is_the_one_that_runs(kernel: Kernel) -> None:
    kernel.run("def scaled(x):\n    return factor * x\nfactor = 2")
    assert kernel.run("executor.submit(scaled, 10).result()") == "20"

    kernel.run("factor = 3")
    assert kernel.run("list(executor.map(scaled, [10, 20]))") == "[30, 60]"

    kernel.run("def scaled(x):\n    return -x")
    assert kernel.run("executor.submit(scaled, 10).result()") == "-10"


def test_a_class_of_the_notebook_comes_back_as_itself(kernel: Kernel) -> None:
    kernel.run("class Point:\n    x = 1")
    assert kernel.run("isinstance(executor.submit(Point).result(), Point)") == "True"


def test_the_stop_button_ends_the_wait_and_neither_call_nor_worker(kernel: Kernel, tmp_path: Path) -> None:
    kernel.run(
        "import os, time\nfrom pathlib import Path\n"
        f"go_on = Path({str(tmp_path / 'go on')!r})\n"
        "def wait_for_it():\n"
        "    while not go_on.exists():\n        time.sleep(0.01)\n"
        "    return os.getpid()\n"
        "worker = executor.submit(os.getpid).result()\n"
        "future = executor.submit(wait_for_it)\n"
    )
    assert kernel.run_and_interrupt("print('waiting')\nfuture.result()", "waiting") == "KeyboardInterrupt"
    assert kernel.run("future.done()") == "False"

    (tmp_path / "go on").touch()
    assert kernel.run("future.result() == worker") == "True"


def test_the_stop_button_in_a_with_block_cancels_what_it_waits_for(kernel: Kernel) -> None:
    source = """
import time
with Executor(max_workers=1) as other:
    future = other.submit(time.sleep, 1000)
    print("waiting")
    future.result()
"""
    assert kernel.run_and_interrupt(source, "waiting") == "KeyboardInterrupt"
    assert kernel.run("future.cancelled()") == "True"


@pytest.mark.parametrize("now", [False, True], ids=["asked", "killed"])
def test_a_restart_ends_the_workers_at_work(kernel: Kernel, now: bool) -> None:
    assert kernel.run("executor.submit(pow, 2, 3).result()") == "8"  # only then is a worker surely there
    kernel.run("import time\nfutures = [executor.submit(time.sleep, 1000) for _ in range(100)]")
    workers = kernel.process.children(recursive=True)
    assert workers

    kernel.restart(now=now)

    _, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []
    assert kernel.run("'executor' in globals()") == "False"


def test_the_cell_that_makes_an_executor_can_be_run_again(kernel: Kernel) -> None:
    kernel.run("executor.submit(pow, 2, 3).result()")
    workers = kernel.process.children(recursive=True)
    assert workers

    kernel.run("executor = Executor(max_workers=1)")

    _, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []
    assert kernel.run("executor.submit(pow, 2, 4).result()") == "16"


def test_a_restart_leaves_no_file_behind(kernel: Kernel, tmp_path: Path) -> None:
    kernel.run("import time\nfuture = executor.submit(time.sleep, 1000)")
    assert folders_of_executors(tmp_path)

    kernel.restart()

    assert folders_of_executors(tmp_path) == []


def test_what_was_left_to_a_named_session_is_there_after_a_restart(kernel: Kernel) -> None:
    with Farm(workers=0) as farm:
        kernel.run(
            f"named = Executor({farm.address!r}, name='my study')\n"
            "future = named.with_options(key='one').submit(pow, 2, 10)\n"
        )
        kernel.restart()
        assert farm.run(1) == 1
        kernel.run(f"from pyrotask import Executor\nnamed = Executor({farm.address!r}, name='my study')")
        assert kernel.run("[answer.result() for answer in named.results()]") == "[1024]"


def test_progress_is_one_line_below_the_cell_that_is_drawn_over(kernel: Kernel) -> None:
    seen = kernel.run("values = list(executor.map(abs, range(50), progress='simulating'))")
    assert seen.count("simulating: ") == 1
    assert "simulating: 50 of 50 in " in seen


def test_results_can_be_awaited_in_the_running_loop(kernel: Kernel) -> None:
    kernel.run("from pyrotask import AsyncClient\nimport asyncio")
    seen = kernel.run(
        "async with AsyncClient(max_workers=1) as client:\n"
        "    print(await asyncio.gather(*(client.submit(pow, 2, n) for n in range(4))))\n"
    )
    assert seen == "[1, 2, 4, 8]\n"


def test_an_async_client_spans_several_cells(kernel: Kernel) -> None:
    kernel.run("from pyrotask import AsyncClient\nclient = await AsyncClient(max_workers=1).connect()")
    kernel.run("future = client.submit(pow, 2, 10)")
    assert kernel.run("await future") == "1024"
    assert kernel.run("[each async for each in client.map(abs, range(-3, 0))]") == "[3, 2, 1]"
    kernel.run("await client.close()")


def test_a_cell_that_ends_with_an_executor_or_a_future_says_what_it_is(kernel: Kernel) -> None:
    kernel.run("import time\ndef simulate():\n    time.sleep(1000)\nfuture = executor.submit(simulate)")
    assert kernel.run("executor") == "<pyrotask.Executor with 1 own worker: 1 pending>"
    seen = kernel.run("future.cancel()\nfuture")
    assert seen.startswith("<call")
    assert seen.endswith(" of simulate: cancelled>")
