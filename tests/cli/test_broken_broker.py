"""A broker that breaks ends, says so, and has a bad exit code."""

from __future__ import annotations

import sys

import pytest

from tests.cli import commands

SERVE_UNTIL_TOLD = """
import gc, sys, threading
from pyrotask.cli import main
from pyrotask.remote.hub import Hub

def end_the_loop():
    sys.stdin.readline()
    hub = next(one for one in gc.get_objects() if isinstance(one, Hub))
    hub.loop.call_soon_threadsafe(sys.exit, "a bad day")

threading.Thread(target=end_the_loop, daemon=True).start()
sys.exit(main(["serve", "pi", "--name-server", "off"]))
"""


@pytest.mark.slow
def test_a_broker_whose_event_loop_dies_ends_with_the_story() -> None:
    with commands.Running(command=(sys.executable, "-c", SERVE_UNTIL_TOLD)) as broker:
        broker.line("listens on")
        assert broker.process.stdin is not None
        broker.process.stdin.write("\n")
        broker.process.stdin.flush()
        ended = broker.end()
    assert ended.code not in {0, None}
    assert "the event loop of the broker 'pi' has ended by SystemExit('a bad day')" in ended.err
