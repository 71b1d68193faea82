"""A broker for the commands to look at, and ways to run them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyrotask.cli import main
from tests.cli.house import House

Lines = Callable[..., list[str]]
Documents = Callable[..., list[Any]]


@pytest.fixture
def house() -> Iterator[House]:
    with House() as house:
        yield house


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """What a command prints that ends well, line by line."""

    def run(*arguments: object, code: int = 0) -> list[str]:
        assert main(list(map(str, arguments))) == code
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture
def documents(capsys: pytest.CaptureFixture[str]) -> Documents:
    """What a command prints with ``--json``."""

    def run(*arguments: object, code: int = 0) -> list[Any]:
        assert main([*map(str, arguments), "--json"]) == code
        return list(map(json.loads, capsys.readouterr().out.splitlines()))

    return run


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command says that fails, in one line and on stderr."""

    def run(*arguments: object, code: int = 1) -> str:
        assert main(list(map(str, arguments))) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert "Traceback" not in err
        assert err.count("\n") == 1
        return err

    return run
