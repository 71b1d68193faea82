"""The laws have teeth: the simulation finds each defect that is planted, and from outside.

Nothing looks into the machine here. What clients can see, and the events, must be enough.
"""

from __future__ import annotations

import pytest

from pyrotask.errors import BrokerBroken, Refused
from tests.simulation import defects
from tests.simulation.witness import LawBrokenError
from tests.simulation.world import Defect, World

WORLDS = 5000
"""In so many at most it must show. Most show in the first hundred."""

_FOUND = (LawBrokenError, BrokerBroken, Refused)


def finds(defect: Defect | None, *, acknowledges_at_once: bool = False) -> bool:
    for seed in range(WORLDS):
        world = World(seed, defect=defect, acknowledges_at_once=acknowledges_at_once, looks_inside=False)
        try:
            world.run()
        except _FOUND:
            return True
    return False


@pytest.mark.parametrize(
    "defect",
    [
        defects.accept_failures_of_anybody,
        defects.lose_a_requeue,
        defects.take_over_by_any_call,
        pytest.param(defects.use_task_numbers_again, marks=pytest.mark.slow),
        defects.use_attempts_again,
        defects.use_processes_again,
        defects.use_deliveries_again,
        pytest.param(defects.use_sessions_again, marks=pytest.mark.slow),
    ],
    ids=lambda defect: defect.__name__,
)
def test_a_planted_defect_is_found(defect: Defect) -> None:
    assert finds(defect)


def test_an_acknowledgement_before_the_commit_is_found() -> None:
    assert finds(None, acknowledges_at_once=True)
