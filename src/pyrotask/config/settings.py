"""The settings themselves, each with its default, its bounds and its reason. See the package's text."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import platformdirs

from pyrotask.config import sources
from pyrotask.config.kinds import Host, HostPort, Number, OneOf, PathName, PathOrNone, Whole
from pyrotask.core.model import SECOND, Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrotask.config.kinds import Kind

DAY_S = 24 * 3600.0
KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30


def _whole(default: int, *, at_least: int, at_most: int) -> int:
    return field(default=default, metadata={"kind": Whole(at_least, at_most)})


def _number(default: float, *, at_least: float = 0.0, may_be_infinite: bool = False) -> float:
    return field(default=default, metadata={"kind": Number(at_least, may_be_infinite)})


def _default_runtime_dir() -> Path:
    try:
        with warnings.catch_warnings():
            # Newer versions warn where the system has no place of its own for this, as in a
            # batch job. Whoever uses the directory checks it anyway, wherever it is.
            warnings.simplefilter("ignore")
            return platformdirs.user_runtime_path("pyrotask", appauthor=False)
    except PermissionError as error:  # its usual place belongs to somebody else
        raise PermissionError(f"{error}, or name a directory of your own in PYROTASK_RUNTIME_DIR") from error


def _default_key_file() -> Path:
    return sources.config_dir() / "key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked. ``Settings()`` takes the defaults, `load` asks the surroundings too.

    Raises:
        ValueError: for a value that is not allowed; the text names the setting, where the
            value came from, and what is allowed.
    """

    # ---- when somebody is lost, and how often a task may go wrong (the core's limits)

    liveness_factor: int = _whole(4, at_least=1, at_most=1000)
    """Silent periods after which a process is lost: a few late pings must not cost a task."""

    disconnected_factor: float = _number(1.5, at_least=1.0)
    """The same with no connection left: one period, and half of one for the ping's own way."""

    plain_grace_s: float = _number(30.0)
    """How long a plain client may be without a connection: some open one for each call."""

    reconnect_grace_s: float = _number(1.0)
    """How long our own worker may be without one: it reconnects at once if it lives."""

    max_crashes: int = _whole(3, at_least=1, at_most=1_000_000)
    """Workers that a task may kill: more, and it would go on killing."""

    max_losses: int = _whole(10, at_least=1, at_most=1_000_000)
    """Workers that a task may lose: nodes are preempted for reasons of their own."""

    # ---- how much the broker takes on (the core's limits, too); what has begun is never refused

    max_waiting: int = _whole(10_000_000, at_least=1, at_most=1_000_000_000)
    """Unstarted tasks: the broker's memory is finite, and each takes some 400 bytes of it, besides its
    parameters, of which buffers from 4 KiB on are in the journal's files, if there is a journal."""

    max_result_bytes: int = _whole(4 * GIB, at_least=MIB, at_most=1024 * GIB)
    """Results in memory that nobody has collected. Beyond that, new tasks are refused until some are; no
    result ever is. With a journal, buffers from 4 KiB on are in its files, and do not count."""

    max_keyed: int = _whole(1_000_000, at_least=1, at_most=1_000_000_000)
    """Tasks with a key: each stays until somebody forgets it."""

    max_sessions: int = _whole(100_000, at_least=1, at_most=10_000_000)
    """Open sessions: a client that opens one for each task would never notice."""

    session_retention_s: float = _number(14 * DAY_S, at_least=1.0)
    """How long a session may be without contact: its client may sleep over the holidays."""

    max_unconfirmed: int = _whole(100_000, at_least=1, at_most=10_000_000)
    """Replies, or deliveries, that a session's client has not said to have: after so many it never will."""

    max_reply_bytes: int = _whole(64 * MIB, at_least=4 * KIB, at_most=GIB)
    """Values that go out in one reply to a session: it has to fit into a message. One always goes."""

    keep_failed_s: float = _number(DAY_S)
    """How long a failure of a session can be looked at, and retried, after its delivery: until you have
    had a look in the morning."""

    max_kept_failures: int = _whole(10_000, at_least=0, at_most=10_000_000)
    """How many of them: the oldest go first."""

    # ---- where a broker listens, and what a stranger may cost

    host: str = field(default="127.0.0.1", metadata={"kind": Host()})
    """The address that `pyrotask serve` and the managers inside of old scripts listen on: this machine's own;
    ``"0.0.0.0"``: for other machines too, which takes a key."""

    max_message_bytes: int = _whole(GIB, at_least=MIB, at_most=4 * GIB - 1)
    """The longest message taken from a known client; Pyro's header cannot say more than 4 GiB."""

    handshake_message_bytes: int = _whole(64 * KIB, at_least=4 * KIB, at_most=MIB)
    """The longest message taken from somebody unknown: nobody fills our memory before proving who he is."""

    handshake_timeout_s: float = _number(10.0, at_least=0.1)
    """How long a new connection may take to say who it is: a silent one is no use to anybody."""

    max_connections: int = _whole(20_000, at_least=1, at_most=1_000_000)
    """Open connections: twice the ten thousand workers that one broker is made for."""

    event_loop: str = field(default="auto", metadata={"kind": OneOf(("auto", "asyncio"))})
    """What the broker's connections are served by: "auto": uvloop where it is installed, since a call costs
    it a little less; "asyncio": Python's own loop all the same, if you suspect the other one."""

    # ---- memory that is shared on one host

    arena_bytes: int = _whole(256 * MIB, at_least=0, at_most=1024 * GIB)
    """How much memory a client or worker process may have for large values on their way to a broker on the
    same host, and through it: it is used again and again, and what does not fit goes over the connection.
    0: all of them do; for a broker, with all clients."""

    # ---- waiting

    explain_after_s: float = _number(5.0, at_least=0.1)
    """After how long a wait says why it waits: later than most waits, sooner than a user's doubt."""

    drain_timeout_s: float = _number(30.0)
    """How long a worker told to stop may finish what runs: what batch systems grant before they kill."""

    shutdown_timeout_s: float = _number(math.inf, may_be_infinite=True)
    """How long a master's shutdown lets queued tasks be computed: work is not cut off unless you say so.

    It ends without that when nothing is unfinished, or no live slave is left."""

    reconnect_timeout_s: float = _number(600.0, may_be_infinite=True)
    """How long a worker looks for a broker that has gone: longer than a restart takes, and not for ever."""

    lookup_timeout_s: float = _number(1.0, at_least=0.05)
    """How long one dead or silent address may hold up finding a broker: each place is asked in turn."""

    # ---- the journal

    journal: Path | None = field(default=None, metadata={"kind": PathOrNone(PathName("a folder"))})
    """Where `pyrotask serve` keeps what must survive it; None: in memory only, and a restart begins anew."""

    journal_policy: str = field(default="always", metadata={"kind": OneOf(("always", "interval", "never"))})
    """When a call is answered: "always": when the disk has it; "interval": when the operating system has it,
    and the disk has it a second later; "never": when the operating system has it. Only a failure of the
    machine, not of the broker, tells them apart."""

    journal_interval_s: float = _number(1.0, at_least=0.01)
    """How much work a power failure may cost with the policy "interval": little, for many calls per sync."""

    journal_reserve_bytes: int = _whole(16 * MIB, at_least=0, at_most=1024 * GIB)
    """Room on the journal's disk that new tasks do not get: the old ones' answers need it."""

    journal_recent_bytes: int = _whole(64 * MIB, at_least=0, at_most=1024 * GIB)
    """How much of the large values stays in memory when the disk has it: whoever wants one soon need not wait
    for it to be read. Of those in clients' shared memory, `arena_bytes` stay there."""

    # ---- where things are

    runtime_dir: Path = field(
        default_factory=_default_runtime_dir, metadata={"kind": PathName("a directory")}
    )
    """Where brokers leave their connection files: yours alone (mode 700), emptied at a reboot if the system
    has such a place."""

    key_file: Path = field(default_factory=_default_key_file, metadata={"kind": PathName("a file")})
    """The key that brokers on public addresses ask for: mode 600, the same file for all your brokers."""

    name_server: str | None = field(default=None, metadata={"kind": HostPort()})
    """The Pyro name server, ``"host[:port]"``; None: where Pyro itself looks, localhost:9090 by default."""

    def __post_init__(self) -> None:
        """Check every value, and bring it into its proper type."""
        for name, kind in _kinds(type(self)):
            object.__setattr__(self, name, sources.checked(name, kind, getattr(self, name)))

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the settings: arguments, then the environment, then the TOML file, then defaults.

        An argument that is None counts as not given. Reads the environment and one file at
        each call; creates nothing.

        Raises:
            ValueError: for a value that is not allowed, or an unknown setting; the text says
                where it stands, what is allowed, and which name may have been meant.
            FileNotFoundError: if ``PYROTASK_CONFIG`` names a file that is not there.
        """
        values: dict[str, Any] = sources.found(dict(_kinds(cls)), overrides)
        return cls(**values)

    def to_plain(self) -> dict[str, object]:
        """All values, as JSON can have them: ``Settings(**values)`` makes the same settings of them."""
        values = ((setting.name, getattr(self, setting.name)) for setting in fields(self))
        return {name: str(value) if isinstance(value, Path) else value for name, value in values}

    def limits(self) -> Limits:
        """Return the part of the settings that the core's rules use."""
        return Limits(
            liveness_factor=self.liveness_factor,
            disconnected_factor=self.disconnected_factor,
            plain_grace_ns=round(self.plain_grace_s * SECOND),
            reconnect_grace_ns=round(self.reconnect_grace_s * SECOND),
            max_crashes=self.max_crashes,
            max_losses=self.max_losses,
            max_waiting=self.max_waiting,
            max_result_bytes=self.max_result_bytes,
            max_keyed=self.max_keyed,
            max_sessions=self.max_sessions,
            session_retention_ns=round(self.session_retention_s * SECOND),
            max_unconfirmed=self.max_unconfirmed,
            max_reply_bytes=self.max_reply_bytes,
            keep_failed_ns=round(self.keep_failed_s * SECOND),
            max_kept_failures=self.max_kept_failures,
        )


def _kinds(settings_type: type[Settings]) -> Iterator[tuple[str, Kind]]:
    for setting in fields(settings_type):
        yield setting.name, setting.metadata["kind"]
