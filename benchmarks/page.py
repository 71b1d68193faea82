"""The documentation's page of a run: ``python -m benchmarks.page FILE.json > docs/benchmarks.md``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.results import Results
from benchmarks.tables import Table, remarks, rounds_of, tables, versions

INTRODUCTION = """\
% Made by python -m benchmarks.page: measure again instead of editing it.

# Beside other systems

All systems did the same work in the same run, each in turn, on one machine. {about_rounds}. Machines
differ, so the ratio of two figures says more than either of them. What we are slower at stands here as
well, and the last table tells which of our own targets are missed. Measure it on your machine:

```console
$ python -m benchmarks.peers --install
$ python -m benchmarks --peers --rounds {rounds} --json figures.json
```
"""


def page(results: Results) -> Iterator[str]:
    """Its lines."""
    yield INTRODUCTION.format(rounds=results.rounds, about_rounds=rounds_of(results))
    yield from (f"- {name}: {value}" for name, value in results.machine.items())
    for table in tables(results):
        yield ""
        yield from in_markdown(table)
    said = remarks(results)
    if said:
        yield "\n## What is missing\n"
        yield from (f"- {text}" for text in said)
    yield "\n## How each one was used\n"
    yield from (f"- {text}" for text in versions(results))


def in_markdown(table: Table) -> Iterator[str]:
    yield f"## {table.title}\n"
    yield row(table.head)
    yield row(["---", *("---:" for _ in table.head[1:])])
    yield from map(row, table.rows)
    yield from (f"\n{note}" for note in table.notes)


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("file", type=Path, help="what `python -m benchmarks --json` wrote")
    chosen = parser.parse_args()
    try:
        results = Results.read(chosen.file)
    except (OSError, ValueError) as error:
        print(f"benchmarks.page: {error}", file=sys.stderr)
        return 1
    print("\n".join(page(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
