"""Sessions with real processes, of which some are killed."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from concurrent.futures import as_completed
from pathlib import Path

import pytest

from pyrotask import Session
from tests.cli.commands import Running
from tests.ports import free_port
from tests.recovery.houses import Broker, working

PATIENCE_S = 60.0

pytestmark = pytest.mark.slow


def test_all_futures_resolve_each_once_over_two_kills_of_the_broker(tmp_path: Path) -> None:
    journal, port = tmp_path / "journal", free_port()
    answers: Counter[int] = Counter()
    with Broker(journal, port=port) as first, working(tmp_path, 2), Session(f"127.0.0.1:{port}") as session:
        futures = [session.submit("double", index, 0.0) for index in range(2000)]
        for future in futures:
            future.add_done_callback(lambda future: answers.update([future.result()]))
        done = as_completed(futures, PATIENCE_S)
        next(done)
        first.kill()
        with Broker(journal, port=port) as second:
            later = [session.submit("double", index, 0.0) for index in range(2000, 3000)]
            for future in later:
                future.add_done_callback(lambda future: answers.update([future.result()]))
            next(done)
            second.kill()
        with Broker(journal, port=port):
            assert session.wait(PATIENCE_S)
            session.close()
    assert answers == Counter(2 * index for index in range(3000))


SCRIPT = """
import sys
from concurrent.futures import as_completed
from pyrotask import Session

with Session(sys.argv[1]) as session:
    futures = {session.submit("double", index, 0.002, key=f"double {index}"): index for index in range(500)}
    for done in as_completed(futures):
        print(futures[done], done.result(), flush=True)
print("all", flush=True)
"""


def test_a_script_that_is_killed_and_run_again_has_only_the_missing_computed(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    port = free_port()
    command = (sys.executable, str(tmp_path / "script.py"), f"127.0.0.1:{port}")
    with Broker(tmp_path / "journal", port=port), working(tmp_path, 2):
        with Running(command=command) as first:
            for _ in range(100):
                first.line(" ")
            first.process.send_signal(signal.SIGKILL)
        with Running(command=command) as second:
            seen = {second.line(" ") for _ in range(500)}
            second.line("all")
    assert seen == {f"{index} {2 * index}\n" for index in range(500)}
    runs = Counter((tmp_path / "runs").read_text("utf-8").split())
    assert runs == Counter(str(index) for index in range(500))


PENDING = """
import sys
from pyrotask import Session

session = Session(sys.argv[1], sys.argv[2] or None)
futures = [session.submit("nobody runs this", index) for index in range(1000)]
print("submitted", flush=True)
"""


@pytest.mark.parametrize("name", ["", "friday"])
def test_the_interpreter_ends_with_work_pending(tmp_path: Path, name: str) -> None:
    (tmp_path / "script.py").write_text(PENDING, encoding="utf-8")
    port = free_port()
    with Broker(tmp_path / "journal", port=port):
        with Running(
            command=(sys.executable, str(tmp_path / "script.py"), f"127.0.0.1:{port}", name)
        ) as script:
            result = script.end()
        assert (result.code, result.err) == (0, "")
        with Session(f"127.0.0.1:{port}", name or "other") as session:
            left = session._link.call("tasks", {"session": session._session}, 1000)["tasks"]
            session.end()
    assert len(left) == (1000 if name else 0)
