"""What all who are not the broker have: a name, and a connection that is made anew when it breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyrotask.errors import TaskManagerTermination
from tests.simulation.loop import Actor, Story

if TYPE_CHECKING:
    from tests.simulation.network import Link
    from tests.simulation.world import World


class Client(Actor):
    """Somebody in the world who talks to the broker."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world.loop)
        self.world = world
        self.name = name

    def stay_connected(
        self,
        act: Callable[[Link], Story],
        *,
        longest_pause_s: float = 0.3,
        connected: Callable[[Link], object] = lambda _link: None,
    ) -> Story:
        """Act again and again, until the manager is terminated.

        ``connected`` is told of each connection.
        """
        link: Link | None = None
        while True:
            try:
                if link is None:
                    link = yield self.world.network.connect()
                    assert link is not None
                    connected(link)
                yield from act(link)
            except ConnectionError:
                link = None
                yield self.loop.between(0.01, longest_pause_s)
            except TaskManagerTermination:
                return
