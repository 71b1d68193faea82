"""Which event loop serves. With uvloop installed, all tests of the server are tests of it, too."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from types import ModuleType

import pytest

from pyrotask.config import Settings
from pyrotask.remote.loops import new_loop, sends_at_once
from tests.remote.descriptors import no_descriptor_left
from tests.remote.serving import RawClient, plain_proxy, serving
from tests.waiting import until


def test_uvloop_serves_where_it_is_installed() -> None:
    uvloop = pytest.importorskip("uvloop", reason="it is not needed, and not there")
    with serving() as server, plain_proxy(server) as proxy:
        assert server._hub is not None
        assert isinstance(server._hub.loop, uvloop.Loop)
        assert not server._hub.sends_at_once
        assert proxy.numberOfTasks()[0] == {}


def test_pythons_own_loop_serves_where_the_settings_say_so() -> None:
    with serving(settings=Settings(event_loop="asyncio")) as server, plain_proxy(server) as proxy:
        assert server._hub is not None
        assert isinstance(server._hub.loop, asyncio.BaseEventLoop)
        assert server._hub.sends_at_once
        assert proxy.numberOfTasks()[0] == {}


def test_who_finds_no_descriptor_left_waits_and_the_log_is_not_flooded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, "asyncio")
    with (
        serving(settings=Settings(event_loop="asyncio")) as server,
        RawClient(server) as inside,
        socket.socket() as late,
    ):
        with no_descriptor_left():
            late.connect((server.host, server.port))
            until(lambda: caplog.records)
            assert inside.answer("numberOfActiveProcesses") == 0  # so that attempt is over
            assert len(caplog.records) < 100  # one for each second
        with RawClient(server) as another:
            assert another.answer("numberOfActiveProcesses") == 0


def test_a_uvloop_that_is_no_good_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", ModuleType("uvloop"))  # an empty one
    loop = new_loop("auto")
    assert isinstance(loop, asyncio.BaseEventLoop)
    assert sends_at_once(loop)
    loop.close()
