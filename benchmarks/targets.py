"""What we want of our own figures. A missed target is shown like one that is met."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.results import Results


@dataclass(frozen=True)
class Target:
    """At least, or at most, a number: of a figure, or of how many times it is another one.

    Attributes:
        figure: written as ``system w1/rate``.
        of: the figure that it is divided by, of the same run; None: it stands for itself.
    """

    what: str
    figure: str
    bound: float
    of: str | None = None
    at_most: bool = False

    def seen(self, results: Results) -> float | None:
        """The figure or ratio; None: it was not measured."""
        seen = _median(results, self.figure)
        if seen is None or self.of is None:
            return seen
        other = _median(results, self.of)
        return seen / other if other else None

    def is_met_by(self, seen: float) -> bool:
        return seen <= self.bound if self.at_most else seen >= self.bound


def _median(results: Results, figure: str) -> float | None:
    system, _, path = figure.partition(" ")
    workload, _, name = path.partition("/")
    return results.median(system, workload, name)


D = "pyrotask-durable"
P = "pyrotask"
TARGETS = [
    Target("W1 against multiprocessing.Pool", f"{P} w1/rate", 1, "mp-pool w1/rate"),
    Target("W1 against half of the raw sockets, 64 ahead", f"{P} w1/rate", 0.5, "socket-64 w1/rate"),
    Target("W1 durable, tasks/s", f"{D} w1/rate", 25_000),
    Target("W1 durable against W1 in memory", f"{D} w1/rate", 0.5, f"{P} w1/rate"),
    Target("W1 durable against beanstalkd with its log", f"{D} w1/rate", 3, "beanstalkd-binlog w1/rate"),
    Target("map against joblib", f"{P} map/rate", 1, "joblib map/rate"),
    Target(
        "plain proxies, 1 master, against naive Pyro5", f"{P} plain/1 master", 1.5, "naive plain/1 master"
    ),
    Target("the same, 16 masters", f"{P} plain/16 masters", 3, "naive plain/16 masters"),
    Target("W2, p50 in ms", f"{P} w2/p50", 0.2, at_most=True),
    Target("W2 against beanstalkd", f"{P} w2/p50", 1, "beanstalkd w2/p50", at_most=True),
    Target("W3, 10 MB, against ProcessPoolExecutor", f"{P} w3/10 MB", 1, "executor w3/10 MB"),
    Target("W3, 10 MB, against dask", f"{P} w3/10 MB", 1, "dask w3/10 MB"),
    Target("W3, 10 MB, against joblib", f"{P} w3/10 MB", 1, "joblib w3/10 MB"),
    Target("W3, shared 50 MB, against dask", f"{P} w3/shared", 1, "dask w3/shared"),
    Target("W3, shared 50 MB, against joblib", f"{P} w3/shared", 1, "joblib w3/shared"),
    Target("W4, bytes a waiting task", f"{P} w4/bytes", 400, at_most=True),
    Target("W4, drained, against W1", f"{P} w4/drain", 0.9, f"{P} w1/rate"),
    Target("W5, answers of 1,000", f"{P} w5/answers", 1_000),
    Target("W5, the killed worker's task runs again after, ms", f"{P} w5/again", 50, at_most=True),
    Target("W6, 500 idle workers against 2", f"{P} w6/rate@500", 0.9, f"{P} w6/rate@2"),
    Target("W6, 2,000 idle workers against 2", f"{P} w6/rate@2000", 0.9, f"{P} w6/rate@2"),
    Target("W6, kB of the broker an idle worker", f"{P} w6/memory@500", 10, at_most=True),
    Target("W6, threads of the broker", f"{P} w6/threads@500", 4, at_most=True),
    Target("W7, answers of 10,000", f"{D} w7/answers", 10_000),
    Target("W7, tasks that ran twice", f"{D} w7/twice", 0, at_most=True),
    Target("W7, work goes on after, s", f"{D} w7/goes on", 2, at_most=True),
    Target("an idle broker, ms of CPU a minute", f"{P} idle/broker", 100, at_most=True),
]
