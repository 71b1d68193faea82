"""The supervisor's line to the broker, at a real one."""

from __future__ import annotations

from pyrotask.config import Settings
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.worker.begun import Number
from pyrotask.worker.reporter import Reporter
from tests.worker.nodes import PATIENCE_S, Broker

MANY = 300


def test_many_who_want_a_beat_at_the_same_moment_get_one(broker: Broker) -> None:
    beats = 0

    def alive() -> list[Number]:
        """Asked for once a beat."""
        nonlocal beats
        beats += 1
        return []

    reporter = Reporter(
        BulkProxy(broker.address, Settings.load()),
        5.0,
        "a node",
        alive=alive,
        registered=lambda _node: None,
        given_up=lambda _error: None,
        patience_s=PATIENCE_S,
    )
    for _ in range(MANY):
        reporter.beat_soon()
    reporter.start()
    reporter.finish(PATIENCE_S)

    assert 1 <= beats < MANY / 10  # one, and those that are due on a slow machine
