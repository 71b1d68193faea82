"""A master of a running broker, in the test's own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pickle import PickleBuffer

import pytest

from pyrotask.config import Settings
from pyrotask.masterslave import RemoteMasterProcess
from pyrotask.masterslave.remote_master import RemoteData
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


@pytest.mark.parametrize("length", [1, 5_000_000], ids=["small", "large"])
def test_what_is_stored_is_everybodys_own_and_goes_when_it_is_deleted(server: Server, length: int) -> None:
    stored = b"x" * length
    settings = Settings()
    with (
        closing(RemoteData(server.address, settings)) as one,
        closing(RemoteData(server.address, settings)) as other,
    ):
        one.storeData(big=PickleBuffer(bytearray(stored)), n=1)
        for mine in (one.retrieveData("big"), other.retrieveData("big")):
            mine[0] = ord("y")
        assert one.retrieveData("big") == stored
        assert other.retrieveData("n") == 1

        other.deleteData("big")
        with pytest.raises(LookupError, match="big"):
            one.retrieveData("big")
