"""The bar below a cell, as IPython shows it; `test_kernel` has it in a notebook."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pyrotask.client import cell
from pyrotask.client.cell import CellBar, in_notebook

pytest.importorskip("IPython", reason="IPython is not installed: pip install '.[test]'")


def test_a_program_is_no_notebook_even_with_ipython_loaded() -> None:
    assert not in_notebook()


def test_a_bar_without_a_total_counts() -> None:
    bar = CellBar("reading", None)
    bar.advance()
    assert repr(bar).startswith("reading: 1 in ")
    assert "<progress" not in bar._repr_html_()


def test_a_bar_with_a_total_says_how_long_it_will_take() -> None:
    bar = CellBar("reading", 4)
    bar.advance()
    assert "reading: 1 of 4 in " in repr(bar)
    assert " s left" in repr(bar)
    assert 'value="1" max="4"' in bar._repr_html_()


def test_a_bar_of_nothing_is_done() -> None:
    assert repr(CellBar("reading", 0)).startswith("reading: 0 of 0 in ")


def test_the_title_is_text_and_no_markup() -> None:
    assert "a &lt; b" in CellBar("a < b", 1)._repr_html_()


def test_not_every_step_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell, "DRAW_EVERY_S", 1000.0)
    bar = CellBar("reading", 1000)
    drawn: list[object] = []
    bar._handle = SimpleNamespace(update=drawn.append)  # IPython gives one in a kernel only
    for _ in range(1000):
        bar.advance()
    assert drawn == []
    bar.close()
    assert drawn == [bar]
