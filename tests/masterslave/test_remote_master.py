"""A master of a running broker, in the test's own process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyrotask.config import Settings
from pyrotask.masterslave import RemoteMasterProcess
from pyrotask.remote.server import Server
from tests.remote.serving import serving
from tests.waiting import until


@pytest.fixture
def server() -> Iterator[Server]:
    with serving("a job") as server:
        yield server


def test_a_master_that_waits_for_slaves_is_told_how_one_is_started(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(explain_after_s=0.1, plain_grace_s=0.1)
    master = RemoteMasterProcess("a job", server.address, settings=settings)
    master.requestTask("sqrt", 2.0)
    until(lambda: caplog.messages)
    master.shutdown()

    assert caplog.messages[0] == (
        "1 task tagged sqrt waits; no worker is registered: "
        f"`task_manager -m {server.address} slave 'a job'` starts one"
    )
