"""Whatever the network, the processes and the power do: every law holds in every world.

The laws stand in `witness` and `world`. A failure prints the seed of its world, and its story.
"""

from __future__ import annotations

import pytest

from tests.simulation.world import World, live

FAST = 150
THOUSANDS = 10


def test_every_law_holds_in_some_hundred_worlds(seed: int | None) -> None:
    for number in range(FAST) if seed is None else [seed]:
        live(number)


@pytest.mark.slow
@pytest.mark.parametrize("thousand", range(THOUSANDS))
def test_every_law_holds_in_ten_thousand_worlds(thousand: int, seed: int | None) -> None:
    if seed is not None:
        pytest.skip("one world was asked for")
    for number in range(FAST + 1000 * thousand, FAST + 1000 * (thousand + 1)):
        live(number)


def test_a_seed_gives_the_same_world_again() -> None:
    assert _story(4) == _story(4)
    assert _story(4) != _story(5)


def _story(number: int) -> str:
    world = World(number)
    world.run()
    return world.witness.story()
