"""What a run has measured, and how it is kept as JSON."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

FORMAT = 1


@dataclass(kw_only=True)
class Failure:
    """A trial that did not come to its end."""

    system: str
    workload: str
    round: int
    why: str


@dataclass(kw_only=True)
class Results:
    """All that one run has measured.

    Attributes:
        machine: what it ran on, by name.
        quick: it was a test of the harness; its figures mean nothing.
        rounds: how many were asked for.
        versions: of each system's parts.
        missing: systems that could not run here, and why.
        took: seconds of all trials together, by system and workload.
        figures: every value seen, by system, workload and figure.
    """

    machine: dict[str, str]
    quick: bool
    rounds: int
    seconds: float = 0.0
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    took: dict[str, dict[str, float]] = field(default_factory=dict)
    figures: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def add(self, system: str, workload: str, figure: str, value: float) -> None:
        of_workload = self.figures.setdefault(system, {}).setdefault(workload, {})
        of_workload.setdefault(figure, []).append(value)

    def add_time(self, system: str, workload: str, seconds: float) -> None:
        of_system = self.took.setdefault(system, {})
        of_system[workload] = of_system.get(workload, 0.0) + seconds

    def values(self, system: str, workload: str, figure: str) -> list[float]:
        """One for each round; none if there is no such figure."""
        return self.figures.get(system, {}).get(workload, {}).get(figure, [])

    def median(self, system: str, workload: str, figure: str) -> float | None:
        values = self.values(system, workload, figure)
        return statistics.median(values) if values else None

    def has(self, workload: str) -> bool:
        """Has anybody done it, or tried to?"""
        return any(workload in of_system for of_system in self.figures.values()) or any(
            failure.workload == workload for failure in self.failures
        )

    def failed(self, system: str, workload: str) -> bool:
        return any((f.system, f.workload) == (system, workload) for f in self.failures)

    def write(self, file: Path) -> None:
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1)
        file.write_text(text + "\n")

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            ValueError: it is no such file, or of another version of this program.
        """
        found: dict[str, Any] = json.loads(file.read_text())
        if found.pop("format", None) != FORMAT:
            raise ValueError(f"{file} was written by another version: measure again with --json {file}")
        failures = [Failure(**each) for each in found.pop("failures")]
        return cls(**found, failures=failures)
