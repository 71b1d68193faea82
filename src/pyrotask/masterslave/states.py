"""Global states: values that a master sets once, and that travel to each slave once.

A state is a group of named values under a number. The values are labelled data of the task
manager; a slave keeps those that it has used, until their state is deleted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from pyrotask.errors import UnknownLabel

LIVE_STATES = "global_state_ids"
"""The label of the numbers of all states that are not deleted, of the master that is the manager itself."""

STATES_OF_ONE_MASTER = 1_000_000
"""Masters of one broker count from different multiples of this."""


def data_label(state_id: int, name: str) -> str:
    """The label under which the manager has a value of a state."""
    return f"global_state_{state_id}_{name}"


def live_label(state_id: int) -> str:
    """The label of the numbers of all states that are not deleted, of the master that this one is of."""
    master = state_id // STATES_OF_ONE_MASTER
    return f"{LIVE_STATES}_{master}" if master else LIVE_STATES


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


class Data(Protocol):
    """Labelled values at the manager."""

    def storeData(self, **values: Any) -> None:
        """Store values under labels, all of them at once."""

    def deleteData(self, label: str) -> None:
        """Delete the value under that label."""


class GlobalStates:
    """A master's states. Thread-safe.

    Args:
        data: where the values are kept.
        first: the number before that of the first state.

    Attributes:
        names: the names of each state that was not deleted, by its number.
    """

    def __init__(self, data: Data, first: int = 0) -> None:
        self._data = data
        self._last = first
        self._live_label = live_label(first)
        self._change = threading.Lock()
        self.names: dict[int, tuple[str, ...]] = {}
        data.storeData(**{self._live_label: []})

    def set(self, values: dict[str, Any]) -> int:
        """See `MasterProcess.setGlobalState`."""
        with self._change:
            self._last += 1
            state_id = self._last
            data = {data_label(state_id, name): value for name, value in values.items()}
            self._data.storeData(**data, **{self._live_label: [*self.names, state_id]})
            self.names[state_id] = tuple(values)
        return state_id

    def delete(self, state_id: int) -> None:
        """See `MasterProcess.deleteGlobalState`."""
        with self._change:
            try:
                names = self.names.pop(state_id)
            except KeyError:
                live = ", ".join(map(str, self.names)) or "none"
                raise UnknownLabel(
                    f"there is no global state {state_id!r} (any more); there are: {live}"
                ) from None
            self._data.storeData(**{self._live_label: list(self.names)})
            for name in names:
                self._data.deleteData(data_label(state_id, name))


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
        label = live_label(wanted.state_id)
        live = set(self._retrieve(label))
        for state_id in [known for known in self if known not in live and live_label(known) == label]:
            del self[state_id]
        if wanted.state_id not in live:
            raise UnknownLabel(
                f"global state {wanted.state_id} does not exist (any more): it was never set, or "
                "deleteGlobalState came before the tasks that use it were done"
            )
        value = self._retrieve(data_label(wanted.state_id, wanted.name))
        self.setdefault(wanted.state_id, {})[wanted.name] = value
