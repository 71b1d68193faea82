"""docs/protocol.md is enough to write a client from: it has each call, and each argument."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrotask.remote import bulk, versions

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")


def described() -> Iterator[tuple[str, list[str]]]:
    """Each call of the page's headings, and what stands between its parentheses, one by one."""
    for heading in re.findall(r"^### (.*)$", PAGE, re.MULTILINE):
        for name, arguments in re.findall(r"(\w+)\(((?:\[.*?\]\]?|[^()])*)\) →", heading):
            apart = re.sub(r"\[[^\]]*\[[^\]]*\][^\]]*\]|\[[^\]]*\]|\{[^}]*\}", "LIST", arguments)
            yield name, [each for each in apart.split(", ") if each]


def taken(call: str) -> list[inspect.Parameter]:
    """What a client sends with it."""
    _origin, *sent = inspect.signature(bulk.CALLS[call]).parameters.values()
    return [each for each in sent if each.kind is not inspect.Parameter.KEYWORD_ONLY]


def test_each_call_has_its_heading_and_each_heading_its_call() -> None:
    assert sorted(name for name, _ in described()) == sorted(bulk.CALLS)


@pytest.mark.parametrize(("call", "arguments"), list(described()), ids=[name for name, _ in described()])
def test_each_argument_stands_there_with_whether_it_may_be_left_out(call: str, arguments: list[str]) -> None:
    optional = [each.default is not inspect.Parameter.empty for each in taken(call)]
    assert ["=" in argument for argument in arguments] == optional


def test_the_page_is_about_the_newest_version() -> None:
    assert f"describes version {versions.WIRES.newest} of the protocol" in PAGE
