"""The other systems, each with an adapter in a file of its own, and what an adapter is.

To add one: write such a file, name it in `ADAPTERS`, and put the versions of what it needs into
`requirements/`. An adapter uses the fastest documented way of its system, and says which that
is in `how`. Libraries are imported where they are used, so that every adapter can be asked about
itself in any environment.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks.stage import Stage, kill

if TYPE_CHECKING:
    import subprocess

Arguments = Sequence[tuple[Any, ...]]


class Peer(ABC):
    """A system that runs the functions of `benchmarks.tasks`, which are named by text.

    `start` and `stop` take turns; a second `stop` does nothing. What `submit` and its like return
    gives the values, in any order; when they return, everything has been submitted.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    how: ClassVar[str]
    """How it is set up and used here, in one line."""
    environment: ClassVar[str | None]
    """Which file of `requirements/`; None: the environment of pyrotask itself."""
    distributions: ClassVar[tuple[str, ...]] = ()
    """Whose versions belong to the figures."""
    workloads: ClassVar[frozenset[str]]
    tasks_that_share: ClassVar[int] = 50
    """Of how many `probe` tasks the rate is taken: fewer if each carries the array."""
    largest_swarm: ClassVar[int] = 2_000
    """More idle workers than these are not tried."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run on this machine, apart from its environment; None: it can."""
        return None

    @classmethod
    def other_versions(cls) -> dict[str, str]:
        """Versions of what is no distribution of Python."""
        return {}

    @abstractmethod
    def start(self, workers: int) -> None:
        """Start the system, with so many workers."""

    def stop(self) -> None:  # noqa: B027 - most have nothing to do here
        """End what is not a program of the stage."""

    @abstractmethod
    def submit(self, function: str, arguments: Arguments) -> Iterable[Any]:
        """Submit a task for each, by a call for each."""

    def submit_at_risk(self, function: str, arguments: Arguments) -> Iterable[Any]:
        """The same when something will be killed: a lost task does not hold up the values of others."""
        return self.submit(function, arguments)

    def call(self, function: str, arguments: tuple[Any, ...]) -> Any:
        """Run one task, and wait for its value."""
        (value,) = self.submit(function, [arguments])
        return value

    def map_noop(self, numbers: range) -> Iterable[int]:
        """Run `noop` for all, by the call that may put several into a message."""
        raise NotImplementedError

    def submit_probes(self, array: Any, count: int) -> Iterable[Any]:
        """Submit so many `probe` tasks over one array, by the system's own way to share it."""
        return self.submit("probe", [(number, array) for number in range(count)])


class BrokerPeer(Peer):
    """A system with a broker in a process of its own."""

    _broker: subprocess.Popen[bytes]
    """That process, once it runs."""

    def start(self, workers: int) -> None:
        self.start_broker()
        self.add_workers(workers)

    @abstractmethod
    def start_broker(self) -> None:
        """Start it, and connect to it. No worker is there yet."""

    @abstractmethod
    def add_workers(self, count: int) -> None:
        """Start workers."""

    def _run_broker(self) -> None:
        """Run its process, at the same place each time."""
        raise NotImplementedError

    def broker_pid(self) -> int:
        """The broker's process."""
        return self._broker.pid

    def plain_address(self) -> str:
        """Of the object that a plain Pyro proxy calls."""
        raise NotImplementedError

    def add_swarm(self, count: int) -> None:
        """Let so many workers wait that are no process each, but a connection."""
        raise NotImplementedError

    def kill_broker(self) -> None:
        """As ``kill -9`` does."""
        kill(self._broker)

    def restart_broker(self) -> None:
        """Start it again, at the same place, and do what a master must do to go on."""
        self._run_broker()


ADAPTERS = {
    "pyrotask": "benchmarks.ours:InMemory",
    "pyrotask-durable": "benchmarks.ours:Durable",
    "mp-pool": "benchmarks.peers.mp_pool:MultiprocessingPool",
    "executor": "benchmarks.peers.executor:Executor",
    "joblib": "benchmarks.peers.with_joblib:Joblib",
    "dask": "benchmarks.peers.with_dask:Dask",
    "beanstalkd": "benchmarks.peers.beanstalkd:InMemory",
    "beanstalkd-binlog": "benchmarks.peers.beanstalkd:WithLog",
    "naive": "benchmarks.peers.naive:Naive",
    "socket": "benchmarks.peers.raw_socket:OneByOne",
    "socket-64": "benchmarks.peers.raw_socket:Prefetching",
}
OURS = ("pyrotask", "pyrotask-durable")


def adapter(name: str) -> type[Peer]:
    """The adapter of that name."""
    module, _, attribute = ADAPTERS[name].partition(":")
    found: type[Peer] = getattr(importlib.import_module(module), attribute)
    return found


def adapters() -> Iterator[type[Peer]]:
    """All of them, in the order of the tables."""
    return map(adapter, ADAPTERS)
