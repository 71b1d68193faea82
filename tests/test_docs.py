"""Every Python example in README.md and docs/ runs, page by page, from top to bottom.

A page is one script: its later examples see the names of its earlier ones. What a reader
need not see stands in a comment, ``<!--- invisible-code-block: python``; an example that
cannot run here is marked by ``<!--- skip: next "the reason" -->``.
"""

from __future__ import annotations

import contextlib
import re
import unittest
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

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
    assert not re.findall(
        r"^ *(?:```|~~~) *(?:py|python3|Python|pycon)\b.*$", page.read_text(encoding="utf-8"), re.MULTILINE
    )


def test_the_readme_names_the_commands_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert "pip install '.[test]' && pytest" in readme
    assert "pip install . && pyrotask demo" in readme
