"""What came out of the demo, as tables, as sentences, and as one document for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePath
from typing import Literal, NamedTuple

from pyrotask.demo.analysis import Report
from pyrotask.demo.master import Outcome

TOP = 5

_Measure = Literal["lines", "tokens", "nodes", "classes", "functions", "depth", "complexity"]
_SUMMED: tuple[_Measure, ...] = ("lines", "tokens", "nodes", "classes", "functions")


class Table(NamedTuple):
    """A table for people."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]


def tables(outcome: Outcome) -> list[Table]:
    """The results: what is largest, most complex, deepest."""
    reports, name = outcome.reports, outcome.name_of
    return [
        Table(
            "largest packages",
            ("package", "files", "lines", "tokens", "functions"),
            _top_packages(outcome),
        ),
        Table(
            "most complex functions",
            ("function", "complexity", "file"),
            [(r["complexity_of"], r["complexity"], name(r["path"])) for r in _top(reports, "complexity")],
        ),
        Table(
            "most deeply nested files",
            ("file", "depth", "lines"),
            [(name(r["path"]), r["depth"], r["lines"]) for r in _top(reports, "depth")],
        ),
        Table("in all", ("what", "sum"), list(totals(reports).items())),
    ]


def story(outcome: Outcome) -> list[str]:
    """What happened on the way, as sentences."""
    cpu_s = sum(report["cpu_s"] for report in outcome.reports)
    answers = f"{len(outcome.reports):,} answers to {outcome.asked:,} tasks"
    took = f"{cpu_s:.1f} s of computing, by {outcome.workers} workers in {outcome.wall_s:.1f} s"
    if not outcome.is_complete:
        return [f"{answers}: something is wrong; {took}"]
    strike = outcome.strike
    if strike is None:
        return [f"{answers}, each exactly once; {took}", "no worker was killed: the tasks were done too soon"]
    name, again = outcome.name_of(strike.path), f"attempt {strike.attempts}, in process {strike.second_pid}"
    return [
        f"{answers}, each exactly once; {took}",
        f"worker process {strike.pid}, at {name}: {strike.detail}",
        f"{strike.free_again_ms:.1f} ms after the kill -9 its task was first in line again",
        f"{strike.ran_again_ms:.1f} ms after it the task ran: {again}",
    ]


def as_document(outcome: Outcome) -> dict[str, object]:
    """Everything, for programs."""
    return {
        "complete": outcome.is_complete,
        "problems": outcome.problems,
        "asked": outcome.asked,
        "answered": len(outcome.reports),
        "workers": outcome.workers,
        "wall_s": outcome.wall_s,
        "killed": None if outcome.strike is None else outcome.strike._asdict(),
        "totals": totals(outcome.reports),
        "tables": [table._asdict() for table in tables(outcome)],
    }


def totals(reports: Sequence[Report]) -> dict[str, int]:
    """The measures of all files together."""
    return {
        "files": len(reports),
        **{what: sum(report[what] for report in reports) for what in _SUMMED},
        "files that cannot be parsed": sum(report["problem"] is not None for report in reports),
    }


def _top(reports: Sequence[Report], what: _Measure) -> list[Report]:
    return sorted(reports, key=lambda report: (-report[what], report["path"]))[:TOP]


def _top_packages(outcome: Outcome) -> list[tuple[object, ...]]:
    """The packages with most lines; a module that stands alone is a package of its own."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for report in outcome.reports:
        package = PurePath(outcome.name_of(report["path"])).parts[0].removesuffix(".py")
        for place, value in enumerate((1, report["lines"], report["tokens"], report["functions"])):
            sums[package][place] += value
    ranked = sorted(sums.items(), key=lambda item: (-item[1][1], item[0]))
    return [(package, *counts) for package, counts in ranked[:TOP]]
