"""The things the core knows: tasks, processes, sessions, and the values they hold.

Two kinds of class live here. *Values* (named tuples, frozen dataclasses) never change and
may leave the core. *Records* (`Task`, `Process`, `Node`, `Session`) are changed by
`core.state` alone, and never leave it.

Instants and durations are ``int`` nanoseconds of core time (see `pyrotask.clock`).
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, NewType

from pyrotask.core.blocks import Block, Buffer, in_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyrotask.core.lanes import Lane

NEW = tuple.__new__
"""``NEW(Lease, (task, ...))`` is ``Lease(task, ...)`` in half the time: for what is made for every task."""

TaskNumber = NewType("TaskNumber", int)
ProcessId = NewType("ProcessId", int)
NodeId = NewType("NodeId", int)
SessionId = NewType("SessionId", int)
ConnectionId = NewType("ConnectionId", int)
WantId = NewType("WantId", int)
Nanoseconds = int

SECOND: Nanoseconds = 1_000_000_000

PUBLIC = SessionId(0)
"""The session of the reference API: its results go to anybody who asks."""

PLAIN = "plain"
PICKLE = "pickle"
FORMATS = {PLAIN: PLAIN, PICKLE: PICKLE}
"""One object for each format: what was decoded brings one of its own with each value."""

CALL, MAP = "pyrotask.call", "pyrotask.map"
"""The tags of an Executor's calls, and of the chunks of its maps. Every worker has handlers for them."""


class Payload(NamedTuple):
    """A value on its way: how it is encoded, and its bytes. The core never looks inside."""

    format: str
    buffers: tuple[Buffer, ...]

    @property
    def nbytes(self) -> int:
        """The size of all buffers together."""
        buffers = self.buffers
        return len(buffers[0]) if len(buffers) == 1 else sum(map(len, buffers))

    @property
    def bytes_away(self) -> int:
        """How much of that is in files, and will have to be read."""
        return sum([len(b) for b in self.buffers if isinstance(b, Block) and not b.is_in_memory])

    @property
    def shared_bytes(self) -> int:
        """How much of it is in memory that we share with others."""
        if Block not in map(type, self.buffers):
            return 0
        return sum([len(b) for b in self.buffers if isinstance(b, Block) and b.shared is not None])

    def read(self) -> tuple[bytes, ...]:
        """The bytes of all buffers. Reads the disk for those that are in files."""
        buffers = self.buffers
        if Block not in map(type, buffers):  # as it is with almost all, and this is asked twice a task
            return buffers  # type: ignore[return-value]
        return tuple([b.read() if isinstance(b, Block) else b for b in buffers])

    def to_send(self) -> list[Buffer]:
        """The buffers: as blocks those in shared memory; of the others the bytes, as `read` has them."""
        buffers = self.buffers
        if Block not in map(type, buffers):
            return list(buffers)
        return [b.read() if isinstance(b, Block) and b.shared is None else b for b in buffers]

    def in_blocks(self) -> Payload:
        """The same payload, with its large buffers as blocks, which a journal can keep in files."""
        return Payload(self.format, in_blocks(self.read()))


class State(enum.Enum):
    """Where a task is in its life. `core.transitions` has the way from one to the next."""

    SCHEDULED = "scheduled"
    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    # By identity: a state is looked up some ten times in a task's life, and Enum's own hash
    # is written in Python.
    __hash__ = object.__hash__


SCHEDULED, WAITING, RUNNING, SUCCEEDED, FAILED, CANCELLED = State
"""By themselves for what is done for every task: an attribute of an Enum takes 0.1 us in CPython 3.11."""

UNFINISHED = frozenset({SCHEDULED, WAITING, RUNNING})
FINISHED = frozenset({SUCCEEDED, FAILED, CANCELLED})


class Cause(enum.Enum):
    """Why a lease or a task ended without success."""

    RETURNED = "returned"
    DRAINED = "drained"
    NOT_BEGUN = "not begun"
    UNDELIVERED = "undelivered"
    RAISED = "raised"
    CRASHED = "crashed"
    LOST = "lost"
    TIME_LIMIT = "time limit"
    CANCELLED = "cancelled"
    INPUT_FAILED = "input failed"


class RetryPolicy(NamedTuple):
    """How often, and after what delay, a task that raised is run again.

    The delay before retry k (1, 2, ...) is ``delay_ns * factor ** (k - 1)``, at most
    ``max_delay_ns``, then spread by up to ``jitter`` of itself, always the same for the same
    task and attempt. ``only`` names exception types (``"ConnectionError"``); empty: any.
    """

    retries: int = 0
    delay_ns: Nanoseconds = SECOND
    factor: float = 2.0
    max_delay_ns: Nanoseconds = 600 * SECOND
    jitter: float = 0.1
    only: tuple[str, ...] = ()


class Options(NamedTuple):
    """What a submit may say beyond tag and payload. Shared by the tasks that say the same."""

    priority: int = 0
    retry: RetryPolicy = RetryPolicy()
    time_limit_ns: Nanoseconds | None = None
    max_crashes: int | None = None
    """None: the limit of the manager; likewise below."""
    max_losses: int | None = None
    plain_answer: bool = False
    """The submitter reads plain values only, so the answer must be one."""


DEFAULT_OPTIONS = Options()


class NewTask(NamedTuple):
    """What a submit says about one task."""

    tag: str
    payload: Payload
    options: Options = DEFAULT_OPTIONS
    due_at: Nanoseconds | None = None
    inputs: tuple[TaskNumber, ...] = ()
    key: str | None = None
    """Whoever submits the same key again gets the same task, and its answer."""


class Holder(NamedTuple):
    """Who has a lease: a process, or (None) somebody known by a connection only."""

    process: ProcessId | None
    attempt: int
    leased_at: Nanoseconds


class AttemptEnd(NamedTuple):
    """One line of a task's story: how an attempt ended without success."""

    attempt: int
    process: ProcessId | None
    cause: Cause
    detail: str
    ended_at: Nanoseconds


class Failure(NamedTuple):
    """Why a task raised, as the worker told it.

    ``error`` is the encoded exception. ``type_names`` are the names of its class and bases,
    and ``message`` is its text, so that a retry policy can be judged, and a client that
    cannot decode the exception can be told, without decoding anything.
    """

    error: Payload
    traceback: str = ""
    type_names: tuple[str, ...] = ()
    message: str = ""


class Success(NamedTuple):
    """The outcome of a task that succeeded."""

    value: Payload


class Ended(NamedTuple):
    """The outcome of a task that failed or was cancelled.

    ``failure`` is there when the task's own code raised; else ``detail`` tells the story.
    """

    cause: Cause
    detail: str = ""
    failure: Failure | None = None
    ended_at: Nanoseconds = 0


Outcome = Success | Ended


class Lease(NamedTuple):
    """What a process is handed: a task, and the attempt that it may make."""

    task: TaskNumber
    tag: str
    payload: Payload
    attempt: int
    options: Options
    inputs: tuple[Payload, ...]


class Answer(NamedTuple):
    """What a collector is handed."""

    task: TaskNumber
    tag: str
    outcome: Outcome


class Delivered(NamedTuple):
    """An answer on its way into a session. Its number says how far the client has come."""

    delivery: int
    answer: Answer


class Peeked(NamedTuple):
    """Answers that were looked at, and not handed out."""

    answers: tuple[tuple[str | None, Answer], ...]
    """Each with its task's key."""
    go_on_after: int | None
    """Where there are more; None: there are none."""


class Counts(NamedTuple):
    """Tasks by tag, taken at one moment; every tag that has a task is a key of all three."""

    waiting: Mapping[str, int]
    running: Mapping[str, int]
    finished: Mapping[str, int]


class Schedule(NamedTuple):
    """What a SCHEDULED task waits for: an instant, and inputs that have not succeeded yet."""

    due_at: Nanoseconds | None
    unready: int


class Delivery(enum.Enum):
    """How far the answer of a finished task has come."""

    NONE = "none"
    HANDED_OUT = "handed out"
    ACKNOWLEDGED = "acknowledged"

    __hash__ = object.__hash__  # as for State


NOT_HANDED_OUT, HANDED_OUT, ACKNOWLEDGED = Delivery


@dataclass(slots=True)
class Trouble:
    """What went wrong with a task so far; the counters start anew when it is retried."""

    retries: int = 0
    crashes: int = 0
    losses: int = 0
    story: tuple[AttemptEnd, ...] = ()


class Place:
    """A place in line, and a session's claim to the answer: a task's own, or one more of a key."""

    __slots__ = ("delivery", "lane", "next", "number", "order", "prev", "session", "tag")

    def __init__(self, number: TaskNumber, tag: str, session: SessionId) -> None:
        self.number = number
        self.tag = tag
        self.session = session
        self.delivery = NOT_HANDED_OUT
        # The place in a lane, kept by core.lanes alone.
        self.lane: Lane | None = None
        self.order = 0
        self.prev: Place | None = None
        self.next: Place | None = None


@dataclass(slots=True)
class Keyed:
    """What a task with a key has beyond others."""

    key: str
    subscribers: dict[SessionId, Place] = field(default_factory=dict)
    """The sessions that want its answer, besides its own."""


class Task(Place):
    """One unit of work. ``state`` is the truth; every queue and counter is an index of it."""

    __slots__ = (
        "_buffers", "_format", "attempt", "dependents", "detail", "inputs", "keyed", "options", "state",
        "trouble",
    )  # fmt: skip

    def __init__(
        self, number: TaskNumber, tag: str, payload: Payload, options: Options, session: SessionId
    ) -> None:
        super().__init__(number, tag, session)
        self.payload = payload
        self.options = options
        self.state = SCHEDULED
        self.detail: Schedule | Holder | Outcome | None = None
        """What belongs to the state: the schedule, the holder, or the outcome."""
        self.attempt = 0
        """The number of its last lease, never lowered; 0: it had none. Over a restart there is a gap."""
        self.trouble: Trouble | None = None
        """Its story, once there is one."""
        self.inputs: tuple[TaskNumber, ...] = ()
        self.dependents: dict[TaskNumber, None] | None = None
        """Unfinished tasks that need this one's value."""
        self.keyed: Keyed | None = None

    @property
    def payload(self) -> Payload:
        """What it is to work on."""
        buffers = self._buffers
        return NEW(Payload, (self._format, buffers if isinstance(buffers, tuple) else (buffers,)))

    @payload.setter
    def payload(self, payload: Payload) -> None:
        # In pieces, which takes a hundred bytes less: of waiting tasks there can be millions.
        self._format = FORMATS.get(payload.format, payload.format)
        buffers = payload.buffers
        self._buffers: Buffer | tuple[Buffer, ...] = buffers[0] if len(buffers) == 1 else buffers

    @property
    def nbytes(self) -> int:
        """The size of that."""
        buffers = self._buffers
        return sum(map(len, buffers)) if isinstance(buffers, tuple) else len(buffers)

    @property
    def format(self) -> str:
        """The format of that."""
        return self._format


NUMBER_OF: Callable[[Place], TaskNumber] = attrgetter("number")


class Kind(enum.Enum):
    """What a process told about itself when it registered."""

    PLAIN = "plain"
    """The reference API: a Pyro proxy, or a caller in the broker's own process."""
    WORKER = "worker"
    """Our own worker: it resumes after a broken connection."""


@dataclass(slots=True)
class Process:
    """A registered participant."""

    id: ProcessId
    kind: Kind
    period_ns: Nanoseconds | None
    info: str
    node: NodeId | None
    tags: frozenset[str] | None
    """The tags it has handlers for; None: not told."""
    registered_at: Nanoseconds
    # An index of the tasks: the ones it runs. A dict, for its order.
    tasks: dict[TaskNumber, None] = field(default_factory=dict)


@dataclass(slots=True)
class Node:
    """A supervisor: it speaks for the processes of its node, and is not counted as one."""

    id: NodeId
    period_ns: Nanoseconds
    info: str
    registered_at: Nanoseconds


@dataclass(slots=True)
class Session:
    """Whose results a task's results are, and what its client was told."""

    id: SessionId
    name: str
    opened_at: Nanoseconds
    next_delivery: int = 1
    # An index of the answers that are handed out and not taken over: their deliveries, in order.
    # Ordered: the first of a plain dict is slow to find once many before it are gone.
    handed_out: OrderedDict[TaskNumber, int] = field(default_factory=OrderedDict)
    low_water: int = 0
    """The client knows the replies to its calls up to this one."""
    replies: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """By sequence number, what the calls after that were answered."""
    # An index of the tasks: its own, and those with a key that it has a claim to.
    claims: dict[TaskNumber, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound and period that the core's rules use, each with its reason."""

    liveness_factor: int = 4
    """Silent periods after which a process is lost: a few late pings must not cost a task."""
    disconnected_factor: float = 1.5
    """The same with no connection left: one period, and half of one for the ping's own way."""
    plain_grace_ns: Nanoseconds = 30 * SECOND
    """How long a plain client may be without a connection: some open one for each call."""
    reconnect_grace_ns: Nanoseconds = SECOND
    """How long our own worker may be: it reconnects at once if it lives."""
    recovery_grace_ns: Nanoseconds = 30 * SECOND
    """How long everybody has to be heard again after a restart of the manager."""
    max_crashes: int = 3
    """Workers that a task may kill: more, and it would go on killing."""
    max_losses: int = 10
    """Workers that a task may lose: nodes are preempted for reasons of their own."""
    max_waiting: int = 10_000_000
    """Unstarted tasks that the manager takes on: its memory is finite."""
    max_result_bytes: int = 4 * 1024**3
    """Values in memory that nobody has collected: more tasks would bring more of them."""
    max_keyed: int = 1_000_000
    """Tasks with a key: each stays until somebody forgets it."""
    max_sessions: int = 100_000
    """Sessions: a client that opens one for each task would never notice."""
    session_retention_ns: Nanoseconds = 14 * 24 * 3600 * SECOND
    """How long a session may be without contact: a client may sleep over its holidays."""
    max_unconfirmed: int = 100_000
    """Replies, or deliveries, that a session's client has not said to have: it never will."""
    max_reply_bytes: int = 64 * 1024 * 1024
    """Values that go out together in a session: they have to fit into a message. One always goes."""
    keep_failed_ns: Nanoseconds = 24 * 3600 * SECOND
    """How long a failure of a session can be looked at, and retried, after its delivery."""
    max_kept_failures: int = 10_000
    """How many of them: the oldest go first."""
