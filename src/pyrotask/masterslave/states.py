"""Global states: values that a master sets once, and that travel to each slave once.

A state is a group of named values under a number. The values are labelled data of the task
manager; a slave keeps those that it has used, until their state is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pyrotask.errors import UnknownLabel

LIVE_STATES = "global_state_ids"
"""The label of the numbers of all states that are not deleted."""


def data_label(state_id: int, name: str) -> str:
    """The label under which the manager has a value of a state."""
    return f"global_state_{state_id}_{name}"


@dataclass(frozen=True, slots=True)
class GlobalStateValue:
    """Stands for a value of a global state, as a parameter of `MasterProcess.requestTask`.

    Only a parameter itself is replaced by the value, not what is inside of lists and the like.

    Args:
        state_id: what `MasterProcess.setGlobalState` returned.
        name: the keyword that the value was given under.
    """

    state_id: int
    name: str


class GlobalStateCache(dict[int, dict[str, Any]]):
    """The values that a slave has got so far, by state and name.

    Args:
        retrieve: gets the value under a label from the manager; raises `UnknownLabel`.
    """

    def __init__(self, retrieve: Callable[[str], Any]) -> None:
        super().__init__()
        self._retrieve = retrieve

    def resolve(self, parameters: Iterable[Any]) -> tuple[Any, ...]:
        """The parameters with each `GlobalStateValue` replaced by its value.

        Raises:
            UnknownLabel: there is no such value (any more).
        """
        return tuple(self._value(p) if isinstance(p, GlobalStateValue) else p for p in parameters)

    def _value(self, wanted: GlobalStateValue) -> Any:
        values = self.get(wanted.state_id)
        if values is None or wanted.name not in values:
            self._fetch(wanted)
        return self[wanted.state_id][wanted.name]

    def _fetch(self, wanted: GlobalStateValue) -> None:
        # A good moment to let go of what the master has deleted: memory is about to be needed.
        live = set(self._retrieve(LIVE_STATES))
        for state_id in [known for known in self if known not in live]:
            del self[state_id]
        if wanted.state_id not in live:
            raise UnknownLabel(
                f"global state {wanted.state_id} does not exist (any more): it was never set, or "
                "deleteGlobalState came before the tasks that use it were done"
            )
        value = self._retrieve(data_label(wanted.state_id, wanted.name))
        self.setdefault(wanted.state_id, {})[wanted.name] = value
