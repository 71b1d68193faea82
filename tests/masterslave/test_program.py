"""What masters of both kinds have in common."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyrotask import Server
from pyrotask.config import Settings
from pyrotask.masterslave import RemoteMasterProcess


class Failing(RemoteMasterProcess):
    def run(self) -> None:
        for number in range(2):
            self.requestTask("add", number)
        raise ValueError("a mistake")


def test_a_master_of_a_broker_that_fails_says_so_before_it_waits_for_its_tasks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = replace(Settings.load(), plain_grace_s=0.1)
    with Server(label="a job", name_server="off"):
        with pytest.raises(ValueError, match="a mistake"):
            Failing("a job", settings=settings).start()
        told = capsys.readouterr().err.splitlines()

    assert told[0] == (
        "pyrotask: a job failed (ValueError: a mistake); the 2 tasks that it has asked for are done first. "
        "Ctrl-C ends it now"
    )
    assert "ends with 2 tasks undone" in told[1]


def test_a_master_without_a_run_says_what_to_define() -> None:
    with Server(label="a job", name_server="off"), pytest.raises(NotImplementedError, match="define one"):
        RemoteMasterProcess("a job").start()
