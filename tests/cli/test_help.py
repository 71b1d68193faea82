"""The help: there at once, complete, and with an example for each command."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import pyrotask
from pyrotask.cli import main, parser
from tests.cli import commands

COMMANDS = tuple(command.__name__.rpartition(".")[2] for command in parser.COMMANDS)


def text_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = text_of(capsys, "--help")
    assert [name for name in COMMANDS if f"    {name}" not in text] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_an_example_json_and_quiet(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = text_of(capsys, command, "--help")
    assert f"  pyrotask {command}" in text.partition("example")[2]
    assert "--json" in text
    assert "--quiet" in text


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert text_of(capsys, "--version") == f"pyrotask {pyrotask.__version__}\n"


@pytest.mark.parametrize("arguments", ["--help", "status --help", "results --help"])
def test_help_loads_nothing_that_is_slow(arguments: str) -> None:
    code = (
        "import sys; from pyrotask.cli import main\n"
        f"try: main({arguments.split()})\n"
        "except SystemExit: print(sorted({'Pyro5', 'asyncio', 'msgpack', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sreve"],
        ["serve"],
        ["serve", "pi", "--port", "70000"],
        ["worker", "pi", "--module", "m", "-n", "0"],
        ["worker", "pi", "--module", "m", "--period", "-1"],
        ["demo", "--tasks", "many"],
        ["explain"],
        ["tasks", "pi", "--state", "lost"],
        ["results", "pi", "--session", "friday", "--key", "k"],
    ],
    ids=" ".join,
)
def test_a_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: pyrotask" in capsys.readouterr().err


def test_a_setting_that_is_no_good_is_a_wrong_usage_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYROTASK_MAX_CRASHES", "never")
    assert main(["list"]) == 2
    assert "PYROTASK_MAX_CRASHES" in capsys.readouterr().err


def test_a_name_server_that_is_no_address_is_a_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "pi", "--name-server", "not an address"]) == 2
    assert "auto, require, start, off" in capsys.readouterr().err


def test_it_can_be_run_as_a_module() -> None:
    assert commands.run("--version").out == f"pyrotask {pyrotask.__version__}\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*commands.PYROTASK, "list"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
