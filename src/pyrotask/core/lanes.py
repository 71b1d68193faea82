"""Where tasks stand in line: one lane for each (group, tag, priority), and views over lanes.

A *lane* is a line of tasks that differ in nothing that a request can ask for. Tasks carry
their own links, so that joining at either end and leaving from anywhere cost the same few
steps, with ten tasks or a million.

A *view* is what a request asks for: some groups, and some tags or all. It finds the first
task over all its lanes with a heap of the lanes' heads. The heap is corrected when it is
read: whoever leaves a lane from its head tells nobody, since what comes after him has its turn
later. So all costs are O(log lanes) at worst, and independent of the number of tasks, and of the
views that nobody reads.

A lane that runs empty stays for a while, since its next task is often on its way; so do the
views that nobody is parked on. Both are bounded: tags and requests are never kept for ever.

The same class serves two lines: waiting tasks (group: payload format) and finished ones
(group: session, or set aside). It knows nothing of states; `state.py` calls it.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from pyrotask.core.model import Place

MAX_VIEWS = 16_384
"""Views kept for their next use. More distinct requests than that are made anew each time."""

MAX_EMPTY_LANES = 16_384
"""Empty lanes kept, and as many again as are occupied."""

MAX_COUNTED = 256
"""Lanes that are looked at to count tasks: many tags must not make a count slow."""


class LaneKey(NamedTuple):
    """What the tasks of a lane have in common."""

    group: Hashable
    tag: str
    priority: int


class Lane:
    """A line of tasks, linked through the tasks themselves."""

    __slots__ = ("head", "key", "size", "tail", "views")

    def __init__(self, key: LaneKey, views: tuple[View, ...]) -> None:
        self.key = key
        self.views = views
        self.head: Place | None = None
        self.tail: Place | None = None
        self.size = 0

    def __lt__(self, _: Lane) -> bool:
        # Asked where a task has gone over to another lane: its entry for the old one is stale.
        return False

    def __iter__(self) -> Iterator[Place]:
        task = self.head
        while task is not None:
            yield task
            task = task.next


class View:
    """A request's choice of lanes: ``groups``, and ``tags`` (None: all)."""

    __slots__ = ("_heap", "_noted", "_pruned_size", "groups", "in_use", "tags")

    def __init__(self, groups: frozenset[Hashable], tags: frozenset[str] | None) -> None:
        self.groups = groups
        self.tags = tags
        self.in_use = 0
        """Parked requests that hold on to this view; while there are any, it is kept."""
        # Entries (-priority, order, lane): the head of the lane has this order, or a later one. No
        # two tasks in line have the same order, so which of two lanes comes first never matters.
        self._heap: list[tuple[int, int, Lane]] = []
        # Of each lane, the order of its entry. Others that it has were superseded.
        self._noted: dict[Lane, int] = {}
        self._pruned_size = 64

    def covers(self, key: LaneKey) -> bool:
        """Whether the tasks of that lane are among those asked for."""
        return key.group in self.groups and (self.tags is None or key.tag in self.tags)

    def places(self) -> Iterator[tuple[Hashable, str | None]]:
        """The pairs of group and tag (None: all) that it is made of."""
        return product(self.groups, (None,) if self.tags is None else self.tags)

    def first(self) -> Place | None:
        """The task whose turn it is: highest priority, then first in line."""
        heap = self._heap
        while heap:
            priority, order, lane = heap[0]
            head = lane.head
            if head is not None and head.order == order:
                return head
            if self._noted.get(lane) != order:
                heappop(heap)
            elif head is None:
                heappop(heap)
                del self._noted[lane]
            else:
                self._noted[lane] = head.order
                heapreplace(heap, (priority, head.order, lane))
                if len(heap) == 1:
                    return head
        return None

    def run(self, most: int) -> list[Place]:
        """The first up to ``most`` that come one after another and stand in one lane; none if all is empty.

        There may be more of them in that lane: ask again when these have left it.
        """
        head = self.first()
        if head is None or most <= 0:
            return []
        # The entries of other lanes that are next in the heap: none of theirs comes before that.
        stop = min([entry[:2] for entry in self._heap[1:3]], default=None)
        priority = self._heap[0][0]
        run, task = [head], head.next
        while task is not None and len(run) < most and (stop is None or (priority, task.order) < stop):
            run.append(task)
            task = task.next
        return run

    def note_head(self, lane: Lane) -> None:
        """Take notice of a lane that has been empty, or has a new head before the old one."""
        head, noted = lane.head, self._noted.get(lane)
        if head is None or (noted is not None and noted <= head.order):
            return
        self._noted[lane] = head.order
        heappush(self._heap, (-lane.key.priority, head.order, lane))
        if len(self._heap) > self._pruned_size:
            self._prune()

    def _prune(self) -> None:
        # Readers of narrower views leave lanes behind that are empty by now.
        self._noted = {lane: lane.head.order for lane in self._noted if lane.head is not None}
        self._heap = [(-lane.key.priority, order, lane) for lane, order in self._noted.items()]
        heapify(self._heap)
        self._pruned_size = max(64, 2 * len(self._heap))


class Lanes:
    """All lines of one kind, and the views over them."""

    def __init__(self) -> None:
        # Lanes, empty ones included.
        self._lanes: dict[LaneKey, Lane] = {}
        self._lanes_of_tag: dict[str, dict[LaneKey, Lane]] = {}
        self._occupied = 0
        self._size = 0
        """How many stand in all of them."""
        self._views: dict[tuple[frozenset[Hashable], frozenset[str] | None], View] = {}
        # By group and tag; None: all tags.
        self._views_of: dict[tuple[Hashable, str | None], dict[View, None]] = {}
        self._views_kept = MAX_VIEWS
        self._next_back = 0
        self._next_front = -1

    def __iter__(self) -> Iterator[Lane]:
        return (lane for lane in self._lanes.values() if lane.size)

    def count(self, tags: frozenset[str] | None, enough: int) -> int:
        """How many stand in line with these tags (None: any), or ``enough`` if there are more.

        Where that would take long, ``enough`` is said too.
        """
        if tags is None or not self._size:
            return min(self._size, enough)
        lanes = (lane for tag in tags for lane in self._lanes_of_tag.get(tag, {}).values())
        found = 0
        for seen, lane in enumerate(lanes):
            found += lane.size
            if found >= enough or seen == MAX_COUNTED:
                return enough
        return found

    def views(self) -> Iterable[View]:
        """All views that there are."""
        return self._views.values()

    def view(self, groups: frozenset[Hashable], tags: frozenset[str] | None) -> View:
        """The view for that choice, made when it is new."""
        key = (groups, tags)
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = View(groups, tags)
            self._enter_view(view)
            self._drop_old_views(view)
        return view

    def push_back(self, task: Place, group: Hashable, priority: int) -> None:
        """The task joins the end of its lane."""
        task.order = self._next_back
        self._next_back += 1
        lane = self._lane(group, task.tag, priority)
        last = lane.tail
        task.lane = lane
        task.prev = last
        self._size += 1
        lane.size += 1
        lane.tail = task
        if last is None:
            lane.head = task
            self._occupied += 1
            self._note_head(lane)
        else:
            last.next = task

    def push_front(self, task: Place, group: Hashable, priority: int) -> None:
        """The task comes first in its lane, and before all others of its priority."""
        task.order = self._next_front
        self._next_front -= 1
        lane = self._lane(group, task.tag, priority)
        task.lane, task.prev, task.next = lane, None, lane.head
        self._size += 1
        lane.size += 1
        if lane.head is None:
            lane.tail = task
            self._occupied += 1
        else:
            lane.head.prev = task
        lane.head = task
        self._note_head(lane)

    def remove(self, task: Place) -> None:
        """The task leaves its lane, from wherever it stands."""
        lane = task.lane
        assert lane is not None, task.number
        before, after = task.prev, task.next
        task.lane = task.prev = task.next = None
        self._size -= 1
        lane.size -= 1
        if after is None:
            lane.tail = before
        else:
            after.prev = before
        if before is not None:
            before.next = after
            return
        lane.head = after
        if after is None:
            self._occupied -= 1

    def regroup(self, task: Place, group: Hashable) -> None:
        """The task goes over to another group, and keeps its place among all.

        It costs a step for each task of that lane whose turn is later; most often there is none.
        """
        order, (_, tag, priority) = task.order, _lane_of(task).key
        self.remove(task)
        lane = self._lane(group, tag, priority)
        before, after = lane.tail, None
        while before is not None and before.order > order:
            before, after = before.prev, before
        task.lane, task.prev, task.next = lane, before, after
        self._size += 1
        lane.size += 1
        self._occupied += lane.size == 1
        if after is None:
            lane.tail = task
        else:
            after.prev = task
        if before is not None:
            before.next = task
            return
        lane.head = task
        self._note_head(lane)

    def _lane(self, group: Hashable, tag: str, priority: int) -> Lane:
        # A plain tuple finds its LaneKey, and is made in a third of the time.
        lane: Lane | None = self._lanes.get((group, tag, priority))  # type: ignore[call-overload]
        return self._new_lane(LaneKey(group, tag, priority)) if lane is None else lane

    def _new_lane(self, key: LaneKey) -> Lane:
        self._drop_empty_lanes()
        lane = self._lanes[key] = Lane(key, self._views_over(key))
        self._lanes_of_tag.setdefault(key.tag, {})[key] = lane
        return lane

    def _drop_empty_lanes(self) -> None:
        if len(self._lanes) > MAX_EMPTY_LANES + 2 * self._occupied:
            for lane in [lane for lane in self._lanes.values() if not lane.size]:
                self._drop_lane(lane)

    def _drop_lane(self, lane: Lane) -> None:
        key = lane.key
        del self._lanes[key]
        same_tag = self._lanes_of_tag[key.tag]
        del same_tag[key]
        if not same_tag:
            del self._lanes_of_tag[key.tag]

    def _note_head(self, lane: Lane) -> None:
        for view in lane.views:
            view.note_head(lane)

    def _views_over(self, key: LaneKey) -> tuple[View, ...]:
        of_all_tags = self._views_of.get((key.group, None), ())
        return (*of_all_tags, *self._views_of.get((key.group, key.tag), ()))

    def _lanes_under(self, view: View) -> list[Lane]:
        if view.tags is None:
            return [lane for lane in self._lanes.values() if lane.key.group in view.groups]
        of_tags = (self._lanes_of_tag.get(tag, {}) for tag in view.tags)
        return [lane for lanes in of_tags for lane in lanes.values() if lane.key.group in view.groups]

    def _enter_view(self, view: View) -> None:
        for place in view.places():
            self._views_of.setdefault(place, {})[view] = None
        for lane in self._lanes_under(view):
            lane.views += (view,)
            view.note_head(lane)

    def _drop_old_views(self, new: View) -> None:
        """Keep the number of views bounded: the oldest go that nobody is parked on."""
        if len(self._views) <= self._views_kept:
            return
        unused = [view for view in self._views.values() if not view.in_use and view is not new]
        for view in unused[: MAX_VIEWS // 2]:
            self._drop_view(view)
        # Where most are in use there is little to drop: look again when there are more.
        self._views_kept = max(MAX_VIEWS, len(self._views) + MAX_VIEWS // 2)

    def _drop_view(self, view: View) -> None:
        del self._views[view.groups, view.tags]
        for place in view.places():
            same_place = self._views_of[place]
            del same_place[view]
            if not same_place:
                del self._views_of[place]
        for lane in self._lanes_under(view):
            lane.views = tuple(other for other in lane.views if other is not view)


def _lane_of(task: Place) -> Lane:
    assert task.lane is not None, task.number
    return task.lane
