"""What the demo's workers measure, on small sources that a reader can count by hand."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from pyrotask.demo.analysis import TAG, Shape, analyse, measure
from pyrotask.worker.handlers import Handlers


def shape_of(source: str) -> Shape:
    return measure(ast.parse(source))


def test_a_function_without_branches_has_a_complexity_of_one() -> None:
    shape = shape_of("def f():\n    return 1\n")
    assert (shape.complexity, shape.complexity_of) == (1, "f")


@pytest.mark.parametrize(
    ("body", "complexity"),
    [
        ("if a: pass", 2),
        ("if a: pass\n    elif b: pass\n    else: pass", 3),
        ("while a: pass", 2),
        ("for a in b: pass", 2),
        ("return a and b or c", 3),
        ("return a if b else c", 2),
        ("return [a for a in b if a]", 3),
        ("try: pass\n    except A: pass\n    except B: pass", 3),
        ("match a:\n        case 1: pass\n        case _: pass", 3),
        ("assert a", 2),
        ("with a: pass", 1),
    ],
)
def test_each_branch_adds_one(body: str, complexity: int) -> None:
    assert shape_of(f"def f():\n    {body}\n").complexity == complexity


def test_a_function_in_a_function_is_counted_on_its_own() -> None:
    shape = shape_of("def outer():\n    def inner():\n        if a: pass\n        if b: pass\n")
    assert (shape.functions, shape.complexity, shape.complexity_of) == (2, 3, "inner")


def test_a_source_without_functions_has_no_most_complex_one() -> None:
    assert shape_of("if a: pass")[-2:] == (0, "")


def test_depth_counts_blocks_within_blocks() -> None:
    assert shape_of("class A:\n  def f(self):\n    for a in b:\n      if a: pass\n").depth == 4


def test_a_chain_of_elif_is_one_level() -> None:
    assert shape_of("if a: pass\nelif b: pass\nelif c: pass\n").depth == 1


def test_all_nodes_are_counted() -> None:
    source = Path(ast.__file__).read_text(encoding="utf-8")
    assert shape_of(source).nodes == sum(1 for _ in ast.walk(ast.parse(source)))


def test_a_deep_expression_needs_no_recursion() -> None:
    tree: ast.expr = ast.Constant(1)
    for _ in range(50_000):
        tree = ast.UnaryOp(ast.USub(), tree)
    assert measure(tree).nodes == 100_001


def test_a_file_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "small.py"
    file.write_text("class A:\n    def f(self):\n        return 1\n", encoding="utf-8")
    report = analyse(str(file))
    assert (report["lines"], report["classes"], report["functions"], report["depth"]) == (3, 1, 1, 2)
    assert report["tokens"] > 10
    assert report["size_bytes"] == file.stat().st_size
    assert (report["path"], report["pid"], report["problem"]) == (str(file), os.getpid(), None)


@pytest.mark.parametrize("source", [b"print 'Python 2'\n", b"# coding: uft-8\n", b"a = '\xff'\n", b"\x00"])
def test_a_file_that_cannot_be_parsed_is_a_result_too(tmp_path: Path, source: bytes) -> None:
    file = tmp_path / "bad.py"
    file.write_bytes(source)
    report = analyse(str(file))
    assert report["problem"] is not None
    assert report["nodes"] == 0


def test_the_module_is_one_of_tasks_like_any_users() -> None:
    assert list(Handlers.of_module("pyrotask.demo.analysis")) == [TAG]
