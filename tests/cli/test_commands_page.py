"""docs/commands.md says what the commands themselves say: each one, and each of its options."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from pyrotask.cli import parser
from tests.cli.conftest import Lines
from tests.cli.house import House

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
INTRODUCTION, *SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)
SECTION_OF = {text.partition("\n")[0]: text for text in SECTIONS}

OF_ALL = {"--help", "--json", "--quiet", "--key-file", "--name-server"}
"""These stand in the introduction, once."""


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (
        action for action in parser.build()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return dict(action.choices)


def options_of(command: argparse.ArgumentParser) -> set[str]:
    return {option for action in command._actions for option in action.option_strings if len(option) > 2}


def options_in(text: str) -> set[str]:
    """Those that it explains; in the examples other commands' stand, too."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))


def test_every_command_has_a_section_and_no_other_has() -> None:
    assert list(SECTION_OF) == list(commands())


@pytest.mark.parametrize("name", commands())
def test_a_section_tells_of_all_options_and_of_no_others(name: str) -> None:
    real, told = options_of(commands()[name]), options_in(SECTION_OF[name])

    assert real - told - OF_ALL == set()
    assert told - real == set()


def test_what_all_commands_have_stands_in_the_introduction() -> None:
    told = options_in(INTRODUCTION)

    assert OF_ALL - told - {"--help"} == set()


@pytest.mark.parametrize("arguments", ["status pi", "tasks pi", "list"])
def test_the_tables_look_as_they_are_shown(house: House, lines: Lines, arguments: str) -> None:
    house.submit()
    house.fail(ValueError("bad luck"))
    house.submit(key="k")
    shown = {" ".join(line.split()) for line in SECTION_OF[arguments.split(maxsplit=1)[0]].splitlines()}
    printed = {" ".join(line.split()) for line in lines(*arguments.split())}
    headings = [line for line in printed if line.split()[:2] in HEADINGS]

    assert headings
    assert [heading for heading in headings if heading not in shown] == []


HEADINGS = [
    ["tag", "waiting"],
    ["process", "kind"],
    ["session", "open"],
    ["task", "state"],
    ["label", "address"],
]
