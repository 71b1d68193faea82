"""Which function is it? The same in each run of a script, and another one when it does something else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from pyrotask.client.identity import identity_of

SCRIPT = """
import math, os
from pyrotask.client.identity import identity_of

words = {"p", "q", "r", "s"}
table = {"k": 1.0, "l": [2, (3, 4)]}

class Point:
    names = {"x", "y", "z"}
    def shifted(self, by=1): return Point() if by in {"a", "b", "c"} else table

def helper(x):
    return x in words

def function(x, y=frozenset({"u", "v", "w"})):
    return [helper(each) for each in (x, y, Point, math.pi, os.sep) if each in {"aa", "bb", "cc"}]

print(identity_of(function))
"""


def of(source: str, **more: Any) -> str | None:
    cell: dict[str, Any] = {"__name__": "__main__", **more}
    exec(source, cell)
    return identity_of(cell["f"])


@pytest.mark.slow
def test_it_is_the_same_in_each_run() -> None:
    seen = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": str(seed)}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in range(4)
    }  # fmt: skip
    assert len(seen) == 1


def test_its_place_in_the_script_does_not_matter() -> None:
    assert of("def f(x): return x + 1") == of("\n\n\ndef f(x): return x + 1")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(x): return x + 1", "def f(x): return x + 2"),
        ("def f(x): return x + 1", "def f(x): return x - 1"),
        ("def f(x, y=1): return x", "def f(x, y=2): return x"),
        ("k = 1\ndef f(x): return x + k", "k = 2\ndef f(x): return x + k"),
        ("def g(x): return x\ndef f(x): return g(x)", "def g(x): return -x\ndef f(x): return g(x)"),
        (
            "class A:\n def g(self): return 1\ndef f(x): return A().g()",
            "class A:\n def g(self): return 2\ndef f(x): return A().g()",
        ),
    ],
)
def test_what_does_something_else_is_another_one(one: str, other: str) -> None:
    assert of(one) != of(other)


def test_a_function_may_call_itself() -> None:
    assert of("def f(x): return f(x - 1) if x else 0")


@pytest.mark.parametrize("callable_", [partial(print, 1), print, str, "{}".format])
def test_other_callables_are_what_their_pickles_are(callable_: Callable[..., Any]) -> None:
    assert identity_of(callable_) is None
