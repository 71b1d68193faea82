"""Results as tables: the same ones for a terminal and for the documentation.

Medians of all rounds. "-" says that a system has no such thing, "failed" that it was tried in vain, "not
here" that the system is not installed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.peers import ADAPTERS, Peer, adapter
from benchmarks.results import Results
from benchmarks.targets import TARGETS, Target
from benchmarks.workloads import WORKLOADS

NOTHING, FAILED, MISSING = "-", "failed", "not here"


@dataclass(frozen=True)
class Table:
    """Rows of texts; the first column is text, all others are figures."""

    title: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Column:
    """Where a column's figures come from."""

    head: str
    workload: str
    figure: str


def shown(value: float) -> str:
    """Three figures that mean something, as people write them."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


def tables(results: Results) -> list[Table]:
    """All tables that the results have figures for."""
    made = [
        _by_system(
            results,
            "Speed: no-op tasks, one master, two workers",
            [
                Column("W1: a submit each, tasks/s", "w1", "rate"),
                Column("CPU a task, µs", "w1", "cpu"),
                Column("W2: one at a time, p50 ms", "w2", "p50"),
                Column("p99 ms", "w2", "p99"),
                Column("map: batched by itself, tasks/s", "map", "rate"),
            ],
        ),
        _by_system(
            results,
            "W3: arrays there and back, and tasks that share one of 50 MB",
            [
                Column("1 MB, MB/s", "w3", "1 MB"),
                Column("10 MB, MB/s", "w3", "10 MB"),
                Column("shared 50 MB, tasks/s", "w3", "shared"),
            ],
        ),
        _by_system(
            results,
            "W4: many no-op tasks wait, then two workers come",
            [
                Column("tasks that waited", "w4", "waiting"),
                Column("bytes each in the broker", "w4", "bytes"),
                Column("drained, tasks/s", "w4", "drain"),
            ],
        ),
        _by_system(
            results,
            "W5: 1,000 tasks, a worker is killed in the middle",
            [
                Column("answers", "w5", "answers"),
                Column("ran twice", "w5", "twice"),
                Column("its task runs again after, ms", "w5", "again"),
            ],
        ),
        _of_idle_workers(results),
        _by_system(
            results,
            "W7: 10,000 tasks, the broker is killed in the middle, and started again",
            [
                Column("answers", "w7", "answers"),
                Column("ran twice", "w7", "twice"),
                Column("work goes on after its start, s", "w7", "goes on"),
            ],
        ),
        _by_system(
            results,
            "Plain Pyro proxies, serializer serpent, a call for each step, four slaves",
            [
                Column("1 master, tasks/s", "plain", "1 master"),
                Column("16 masters, tasks/s", "plain", "16 masters"),
            ],
        ),
        _by_system(
            results,
            "A minute with nothing to do: CPU, ms",
            [Column(name, "idle", name) for name in WORKLOADS["idle"].figures],
        ),
        *([] if results.quick else [_of_targets(results)]),
    ]
    return [table for table in made if table.rows]


def _by_system(results: Results, title: str, columns: list[Column]) -> Table:
    columns = [column for column in columns if results.has(column.workload)]
    workloads = {column.workload for column in columns}
    rows = [
        [kind.title, *(_cell(results, kind, column) for column in columns)]
        for kind in _systems(results)
        if any(_was_tried(results, kind, name) for name in workloads)
    ]
    return Table(title, ["", *(column.head for column in columns)], rows)


def _cell(results: Results, kind: type[Peer], column: Column) -> str:
    value = results.median(kind.name, column.workload, column.figure)
    if value is not None:
        return shown(value)
    if kind.name in results.missing and column.workload in kind.workloads:
        return MISSING
    return FAILED if results.failed(kind.name, column.workload) else NOTHING


def _of_idle_workers(results: Results) -> Table:
    head = [
        "",
        "idle workers",
        "tasks/s",
        "a lone task's answer after, µs",
        "kB each in the broker",
        "its threads",
    ]
    rows = []
    for kind in _systems(results):
        names = results.figures.get(kind.name, {}).get("w6", {})
        for size in sorted({int(name.partition("@")[2]) for name in names}):
            values = (
                results.median(kind.name, "w6", f"{figure}@{size}")
                for figure in ("rate", "wake", "memory", "threads")
            )
            cells = [NOTHING if value is None else shown(value) for value in values]
            rows.append([kind.title, f"{size:,}", *cells])
    return Table("W6: 10,000 no-op tasks with many idle workers", head, rows)


def _systems(results: Results) -> Iterator[type[Peer]]:
    tried = {failure.system for failure in results.failures}
    known = results.figures.keys() | results.missing.keys() | tried
    return (adapter(name) for name in ADAPTERS if name in known)


def _was_tried(results: Results, kind: type[Peer], workload: str) -> bool:
    if kind.name in results.missing:
        return workload in kind.workloads
    return workload in results.figures.get(kind.name, {}) or results.failed(kind.name, workload)


def _of_targets(results: Results) -> Table:
    rows = [row for target in TARGETS if (row := _judged(results, target)) is not None]
    return Table("Targets, met and missed", ["", "target", "seen", ""], rows)


def _judged(results: Results, target: Target) -> list[str] | None:
    seen = target.seen(results)
    if seen is None:
        return None
    unit = "" if target.of is None else " times"
    sign = "≤" if target.at_most else "≥"
    verdict = "met" if target.is_met_by(seen) else "missed"
    return [target.what, f"{sign} {shown(target.bound)}{unit}", f"{shown(seen)}{unit}", verdict]


# --- words around them --------------------------------------------------------------------------------


def remarks(results: Results) -> list[str]:
    """What has to be said besides the tables."""
    said = [f"{adapter(name).title}: not measured: {why}" for name, why in results.missing.items()]
    ordered = sorted(results.failures, key=lambda f: (f.system, f.workload, f.why))
    for (system, workload, why), group in itertools.groupby(ordered, lambda f: (f.system, f.workload, f.why)):
        rounds = ", ".join(str(failure.round) for failure in group)
        said.append(f"{adapter(system).title}, {workload}: failed in round {rounds}: {why}")
    if results.quick:
        said.append("This was a quick run: it shows that all works, and its figures mean nothing.")
    return said


def rounds_of(results: Results) -> str:
    """What the figures are medians of."""
    if results.rounds == 1:
        return "Figures are of one round"
    few = [
        each.name
        for each in WORKLOADS.values()
        if min(each.rounds, each.rounds_of_others) < results.rounds and results.has(each.name)
    ]
    return f"Figures are medians of {results.rounds} rounds" + (
        f" ({', '.join(few)}: of fewer)" if few else ""
    )


def versions(results: Results) -> list[str]:
    """The systems that were measured, each with its versions and how it was used."""
    return [
        f"{kind.title} ({', '.join(f'{name} {version}' for name, version in used.items())}): {kind.how}"
        if (used := results.versions.get(kind.name))
        else f"{kind.title}: {kind.how}"
        for kind in _systems(results)
        if kind.name not in results.missing
    ]
