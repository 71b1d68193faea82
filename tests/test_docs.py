"""Every Python example in README.md and docs/ runs, page by page, from top to bottom.

A page is one script: its later examples see the names of its earlier ones. What a reader
need not see stands in a comment, ``<!--- invisible-code-block: python``; an example that
cannot run here is marked by ``<!--- skip: next "the reason" -->``.
"""

from __future__ import annotations

import contextlib
import re
import runpy
import unittest
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

import pyrotask

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PAGES_WITH_EXAMPLES = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES_WITH_EXAMPLES, ids=_name)
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # an example may write files
    document = Sybil(parsers=[PythonCodeBlockParser(), SkipParser()], path=str(ROOT)).parse(page)
    # Their functions are the main script's, as they will be at the reader's.
    document.namespace["__name__"] = "__main__"
    for example in document.examples():
        with contextlib.suppress(unittest.SkipTest):
            example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_no_example_escapes_by_another_name(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    fences = re.findall(r"^[ >]*(?:```|~~~).*$", text, re.MULTILINE)
    assert {fence for fence in fences if "py" in fence.lower()} <= {"```python"}
    skips = re.findall(r"^<!--- *skip:.*$", text, re.MULTILINE)
    assert [skip for skip in skips if not re.search(r'next ".+"', skip)] == []


def test_the_picture_of_a_tasks_life_shows_the_table_that_the_broker_goes_by() -> None:
    drawing = runpy.run_path(str(ROOT / "docs" / "explanation" / "draw_life.py"))
    hint = "it has changed: python docs/explanation/draw_life.py"
    assert drawing["PICTURE"].read_text(encoding="utf-8") == drawing["picture"](), hint
    assert drawing["PAGE"].read_text(encoding="utf-8") == drawing["page"](), hint


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").split()
    pages = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in ROOT.glob("docs/**/*.md")}
    assert pages - {"index"} <= set(index)


def test_every_public_name_is_in_the_reference() -> None:
    reference = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    errors = {name for name in pyrotask.__all__ if hasattr(pyrotask.errors, name)}
    missing = [name for name in pyrotask.__all__ if not re.search(rf"\.{name}\b", reference)]
    assert set(missing) <= errors | {"__version__"}


def test_the_readme_names_the_commands_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert "pip install '.[test]' && pytest" in readme
    assert "pip install . && pyrotask demo" in readme
