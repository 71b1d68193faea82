"""The folder of an Executor's own broker: what a killed process has left is swept, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pyrotask.client.own_folder import LOCK, OwnFolder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are, for this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left_by_a_dead_process(temporary: Path, name: str = "pyrotask-dead") -> Path:
    folder = temporary / name
    folder.mkdir()
    (folder / LOCK).touch()
    (folder / "key").write_text("secret")
    return folder


def test_it_is_private_and_goes_with_all_that_is_in_it() -> None:
    folder = OwnFolder()
    assert folder.path.stat().st_mode & 0o077 == 0
    (folder.path / "key").touch()
    folder.remove()
    folder.remove()
    assert not folder.path.exists()


def test_what_a_dead_process_has_left_is_swept(temporary: Path) -> None:
    dead = left_by_a_dead_process(temporary)
    folder = OwnFolder()
    assert not dead.exists()
    folder.remove()


def test_what_a_living_process_has_is_not_touched() -> None:
    first = OwnFolder()
    second = OwnFolder()
    assert first.path.exists()
    first.remove()
    second.remove()


@pytest.mark.parametrize("name", ["pyrotask-mine", "pyrotask"])
def test_what_is_no_executors_is_not_touched(temporary: Path, name: str) -> None:
    (temporary / name).mkdir()
    (temporary / name / "results.txt").touch()
    (temporary / "pyrotask-notes").touch()
    OwnFolder().remove()
    assert (temporary / name / "results.txt").exists()
    assert (temporary / "pyrotask-notes").exists()


def test_a_link_is_not_followed(temporary: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = left_by_a_dead_process(tmp_path_factory.mktemp("elsewhere"), "data")
    (temporary / "pyrotask-link").symlink_to(elsewhere)
    OwnFolder().remove()
    assert (elsewhere / "key").exists()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give files away")
def test_what_belongs_to_somebody_else_is_not_touched(temporary: Path) -> None:
    folder = left_by_a_dead_process(temporary)
    os.chown(folder / LOCK, 12345, -1)
    os.chown(folder, 12345, -1)
    OwnFolder().remove()
    assert folder.exists()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give files away")
def test_below_a_folder_of_somebody_else_it_is_not_safe(temporary: Path) -> None:
    before = OwnFolder()
    assert before.is_safe
    os.chown(temporary, 12345, -1)
    folder = OwnFolder()
    assert not folder.is_safe
    for each in (before, folder):
        each.remove()


KILLED = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from pyrotask.client.own_folder import OwnFolder
print(OwnFolder().path, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_it_is_swept_only_when_its_process_was_killed(temporary: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(temporary)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        OwnFolder().remove()
        assert theirs.exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
    OwnFolder().remove()
    assert not theirs.exists()
