"""Blocked requests, parked until there is something for them: the oldest is served first.

A *want* says what somebody waits for (a view over lanes) and who is to be told (a caller,
opaque here). It is parked under its view; `oldest_over` finds, for a lane with something in
it, the oldest want among the views that cover the lane. A want ends by being answered or
withdrawn, never both.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyrotask.core.model import ConnectionId, ProcessId, SessionId, WantId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrotask.core.lanes import Lane, View


@dataclass(frozen=True, slots=True, eq=False)
class Want:
    """A blocked request."""

    id: WantId
    caller: object
    view: View
    connection: ConnectionId | None
    process: ProcessId | None
    """Who will hold what is handed out; None: only the connection is known."""
    speaker: ProcessId | None
    """Whose sign of life it is."""
    plain_only: bool = False
    """The caller reads plain payloads only."""
    session: SessionId | None = None
    """Whose answers it waits for, if it is a named session."""
    leases: int = 1
    """Up to how many tasks it waits for, if they are short."""
    deliveries: int | None = None
    """Up to how many numbered answers of a session it waits for; None: for one, without a number."""


class Parking:
    """The parked wants of one kind."""

    def __init__(self) -> None:
        self._by_id: dict[WantId, Want] = {}
        # Ordered: the first of a plain dict is slow to find once many before it are gone.
        self._by_view: dict[View, OrderedDict[WantId, Want]] = {}
        # Those for the answers of a session.
        self._by_session: dict[SessionId, dict[WantId, Want]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Want]:
        return iter(self._by_id.values())

    def get(self, number: WantId) -> Want | None:
        """The want of that number, if it is still parked."""
        return self._by_id.get(number)

    def of_session(self, session: SessionId) -> list[Want]:
        """Those that wait for answers of that named session."""
        return list(self._by_session.get(session, {}).values())

    def park(self, want: Want) -> None:
        """Numbers must rise from want to want: they are the order of arrival."""
        self._by_id[want.id] = want
        self._by_view.setdefault(want.view, OrderedDict())[want.id] = want
        want.view.in_use += 1
        if want.session is not None:
            self._by_session.setdefault(want.session, {})[want.id] = want

    def remove(self, want: Want) -> None:
        """The want is answered or withdrawn."""
        del self._by_id[want.id]
        same_view = self._by_view[want.view]
        del same_view[want.id]
        if not same_view:
            del self._by_view[want.view]
        want.view.in_use -= 1
        if want.session is not None:
            same_session = self._by_session[want.session]
            del same_session[want.id]
            if not same_session:
                del self._by_session[want.session]

    def oldest_over(self, lane: Lane) -> Want | None:
        """The want that has waited longest of all that the lane's tasks would suit."""
        oldest: Want | None = None
        for view in lane.views:
            if view.in_use and (same_view := self._by_view.get(view)):
                want = next(iter(same_view.values()))
                if oldest is None or want.id < oldest.id:
                    oldest = want
        return oldest
