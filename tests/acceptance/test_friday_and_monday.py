"""A script is closed on Friday, and its results are collected on Monday, from another machine."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.recovery.houses import PATIENCE_S, Broker, working

pytestmark = pytest.mark.slow

FRIDAY = """
    import sys
    from pyrotask import Session

    with Session(sys.argv[1], name="a week's work") as session:
        for number in range(20):
            session.submit("double", number, 0.01, key=f"point {number}")
        session.flush()
        session.close()
    print("closed")
"""

MONDAY = """
    import sys
    from pyrotask import Session

    with Session(sys.argv[1], name="a week's work") as session:
        answers = {answer.key: answer.result() for answer in session.results(timeout_s=60)}
    assert answers == {f"point {number}": 2 * number for number in range(20)}, answers
    with Session(sys.argv[1]) as session:
        futures = [session.submit("double", number, 0.01, key=f"point {number}") for number in range(25)]
        assert [future.result(60) for future in futures] == [2 * number for number in range(25)]
    print("collected")
"""


def run(script: str, where: str, elsewhere: Path) -> str:
    """Run it as on another machine, where nothing of this one's is known but the address."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), where],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "HOME": str(elsewhere)}
        | {"PYROTASK_RUNTIME_DIR": str(elsewhere / "run"), "PYROTASK_CONFIG": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_script_is_closed_and_its_results_are_collected_later_from_elsewhere(tmp_path: Path) -> None:
    journal, port = tmp_path / "journal", free_port()
    with Broker(journal, port=port) as on_friday:
        assert "closed" in run(FRIDAY, on_friday.address, tmp_path / "friday")
        on_friday.kill()  # and the machine is switched off over the weekend
    with Broker(journal, port=port) as on_monday, working(tmp_path, 2):
        assert "collected" in run(MONDAY, on_monday.address, tmp_path / "monday")
    runs = (tmp_path / "runs").read_text(encoding="utf-8").split()
    assert sorted(map(int, runs)) == list(range(25))  # what had a key was not computed again
