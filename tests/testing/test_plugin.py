"""The fixture, as a user's pytest loads it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

CONFTEST = 'pytest_plugins = ["pyrotask.testing.plugin"]\n'

PROGRAM = """
import pyrotask

def total(label, numbers):
    with pyrotask.Session(label) as session:
        return sum(future.result() for future in [session.submit("square", n) for n in numbers])
"""

TEST = """
import program

def test_the_total(pyrotask_farm):
    pyrotask_farm({"square": lambda n: n * n}, label="campaign")
    assert program.total("campaign", range(4)) == 14

def test_the_label_is_free_again(pyrotask_farm):
    farm = pyrotask_farm({"square": abs}, workers=2, label="campaign")
    assert program.total("campaign", range(4)) == 6
"""


def test_it_is_not_loaded_where_nobody_asks_for_it() -> None:
    assert not [point for point in entry_points(group="pytest11") if "pyrotask" in point.value]


@pytest.mark.slow
def test_a_program_is_tested_by_its_label_whatever_the_environment_says(tmp_path: Path) -> None:
    for name, text in (("conftest.py", CONFTEST), ("program.py", PROGRAM), ("test_program.py", TEST)):
        (tmp_path / name).write_text(text)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=tmp_path,
        env={**os.environ, "PYROTASK_KEY_FILE": str(tmp_path / "none"), "PYROTASK_HOST": "0.0.0.0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout
