"""joblib, with its default backend loky."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks import tasks
from benchmarks.peers import Arguments, Peer


class Joblib(Peer):
    name = "joblib"
    title = "joblib (loky)"
    how = (
        "Parallel(return_as='generator_unordered') for all tasks at once: it sizes its batches by itself and \
has no call for one task of many, so it has no W1; shared data: its memory maps"
    )
    environment = "joblib"
    distributions = ("joblib",)
    workloads = frozenset({"w2", "w3", "map"})

    def start(self, workers: int) -> None:
        import joblib

        self._delayed = joblib.delayed
        self._parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")
        self._parallel.__enter__()

    def stop(self) -> None:
        from joblib.externals.loky import get_reusable_executor

        self._parallel.__exit__(None, None, None)
        get_reusable_executor().shutdown(wait=True)

    def submit(self, function: str, arguments: Arguments) -> Iterable[Any]:
        called = self._delayed(tasks.FUNCTIONS[function])
        values: Iterable[Any] = self._parallel(called(*each) for each in arguments)
        return values

    def map_noop(self, numbers: range) -> Iterable[int]:
        called = self._delayed(tasks.noop)
        values: Iterable[int] = self._parallel(called(number) for number in numbers)
        return values
