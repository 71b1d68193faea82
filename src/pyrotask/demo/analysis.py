"""The worker's half of the demo: measure one source file.

This is what a module of tasks looks like: plain functions, and `handler` on those that are
tasks. It is loaded by `pyrotask worker ... --module pyrotask.demo.analysis`.
"""

from __future__ import annotations

import ast
import io
import os
import time
import tokenize
import warnings
from pathlib import Path
from typing import NamedTuple, TypedDict

from pyrotask import handler

TAG = "analyse"

_FUNCTIONS = frozenset({ast.FunctionDef, ast.AsyncFunctionDef})
_BLOCKS = frozenset({
    ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.Match,
    ast.ClassDef, *_FUNCTIONS,
})  # fmt: skip
"""The statements that open a level of nesting."""
_BRANCHES = frozenset({
    ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.Assert, ast.match_case,
})  # fmt: skip
"""Where the way through a function parts in two."""


class Report(TypedDict):
    """The answer of one task: what a file is made of, and who measured it when."""

    path: str
    problem: str | None
    """Why it could not be parsed; the measures of its syntax are zero then."""
    size_bytes: int
    lines: int
    tokens: int
    nodes: int
    classes: int
    functions: int
    depth: int
    """How deeply its statements are nested."""
    complexity: int
    """The cyclomatic complexity of its most complex function."""
    complexity_of: str
    """The name of that function."""
    pid: int
    started_at: float
    """In seconds of the wall clock, as `time.time`."""
    cpu_s: float


class Shape(NamedTuple):
    """What the syntax tree of a file is like."""

    nodes: int = 0
    classes: int = 0
    functions: int = 0
    depth: int = 0
    complexity: int = 0
    complexity_of: str = ""


@handler(TAG)
def analyse(path: str) -> Report:
    """Measure the file of that path. What cannot be parsed is a result as well."""
    started_at, cpu_s = time.time(), time.process_time()
    source = Path(path).read_bytes()
    problem, shape = _parsed(source)
    return Report(
        path=path,
        problem=problem,
        size_bytes=len(source),
        lines=len(source.splitlines()),
        tokens=_count_tokens(source) if problem is None else 0,
        nodes=shape.nodes,
        classes=shape.classes,
        functions=shape.functions,
        depth=shape.depth,
        complexity=shape.complexity,
        complexity_of=shape.complexity_of,
        pid=os.getpid(),
        started_at=started_at,
        cpu_s=time.process_time() - cpu_s,
    )


def _parsed(source: bytes) -> tuple[str | None, Shape]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's tests contain what Python warns of
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        # The last one is what too deep a nesting is called up to Python 3.11.
        return f"{type(error).__name__}: {error}", Shape()
    return None, measure(tree)


def _count_tokens(source: bytes) -> int:
    try:
        return sum(1 for _ in tokenize.tokenize(io.BytesIO(source).readline))
    except (tokenize.TokenError, SyntaxError):  # what is left after the parser took it: a lone form feed
        return 0


def measure(tree: ast.AST) -> Shape:
    """Measure a syntax tree, in one walk that needs no recursion of Python's.

    The complexity of a function is one more than its branches; a function inside it is one of
    its own. What stands outside of all functions is counted, and not compared.
    """
    nodes = classes = deepest = 0
    names, branches = ["<module>"], [1]
    to_visit: list[tuple[ast.AST, int, int]] = [(tree, 0, 0)]
    while to_visit:
        node, depth, function = to_visit.pop()
        kind = type(node)
        nodes += 1
        if kind in _FUNCTIONS:
            function = len(names)
            names.append(getattr(node, "name"))  # noqa: B009 - mypy does not see what `kind` tells
            branches.append(1)
        else:
            classes += kind is ast.ClassDef
            branches[function] += _branches_at(node)
        if kind in _BLOCKS:
            depth += 1
            deepest = max(deepest, depth)
        to_visit.extend([(child, depth, function) for child in ast.iter_child_nodes(node)])
        if isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
            to_visit[-1] = (node.orelse[0], depth - 1, function)  # `elif`: no level of its own
    complexity = max(branches[1:], default=0)
    complexity_of = names[branches.index(complexity, 1)] if complexity else ""
    return Shape(nodes, classes, len(names) - 1, deepest, complexity, complexity_of)


def _branches_at(node: ast.AST) -> int:
    if type(node) in _BRANCHES:
        return 1
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    return 1 + len(node.ifs) if isinstance(node, ast.comprehension) else 0
