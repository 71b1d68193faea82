"""`pyrotask journal`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from pyrotask.cli import journal as command
from pyrotask.cli.options import UsageError
from pyrotask.cli.output import Output
from pyrotask.core import events as e
from pyrotask.core.model import Payload
from pyrotask.journal import JournalDamaged, NoJournal
from pyrotask.journal.folder import Folder
from tests.journal.lives import life, write

COMMANDS = life(13)
EVENTS = sum(map(len, COMMANDS))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    write(tmp_path / "journal", COMMANDS)
    return tmp_path / "journal"


def run(*words: object, json: bool = False, quiet: bool = False) -> int:
    parser = argparse.ArgumentParser()
    command.add_to(parser)
    args = parser.parse_args([*map(str, words)])
    args.quiet = quiet
    return command.run(args, Output(json=json, quiet=quiet))


def test_check_says_that_a_journal_is_whole(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", journal) == 0
    assert f"{journal} is whole. Up to event {EVENTS}: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("action", "option", "owner"),
    [("check", "--accept-loss", "compact"), ("compact", "--no-payloads", "export")],
)
def test_an_option_of_another_action_is_refused_and_not_passed_over(
    journal: Path, action: str, option: str, owner: str
) -> None:
    with pytest.raises(UsageError, match=f"`pyrotask journal {owner} {option} "):
        run(action, option, journal)


def test_check_tells_programs_the_same(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("check", journal, json=True)
    told = json.loads(capsys.readouterr().out)

    assert (told["whole"], told["position"]) == (True, EVENTS)


def test_check_tells_of_a_commit_that_was_never_completed(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Folder(journal).logs()[0].path.open("ab") as log:
        log.write(b"12345")
    run("check", journal)

    assert "5 bytes of a commit that was never completed" in capsys.readouterr().out


def test_check_refuses_a_damaged_journal(journal: Path) -> None:
    (journal / "mark").unlink()
    with pytest.raises(JournalDamaged):
        run("check", journal)


@pytest.fixture
def damaged_value(tmp_path: Path) -> Path:
    """A journal of which nothing but a large value is damaged."""
    value = Payload("plain", (bytes(5000),)).in_blocks()
    write(tmp_path / "journal", [[e.DataStored((("x", value),))]])
    (part,) = Folder(tmp_path / "journal").blocks()
    part.path.write_bytes(bytes(4999) + b"!")
    return tmp_path / "journal"


def test_check_reads_large_values_too(damaged_value: Path) -> None:
    with pytest.raises(JournalDamaged, match=r"up to event 1, but a user's value \(5000 bytes"):
        run("check", damaged_value)


def test_compact_says_how_many_large_values_are_lost(
    damaged_value: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("compact", "--accept-loss", damaged_value, json=True)

    assert json.loads(capsys.readouterr().out)["lost_values"] == 1
    assert run("check", damaged_value, quiet=True) == 0


@pytest.mark.parametrize("action", ["check", "export", "compact"])
def test_where_there_is_no_journal_it_says_so(action: str, tmp_path: Path) -> None:
    with pytest.raises(NoJournal):
        run(action, tmp_path / "nothing")


def test_export_prints_a_line_an_event(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("export", "--no-payloads", journal)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert [line["position"] for line in lines] == list(range(1, EVENTS + 1))
    assert "base64" not in str(lines)


def test_compact_says_how_much_shorter_it_is(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = Folder(journal).size()
    run("compact", journal)

    assert f"{before:,} bytes before" in capsys.readouterr().out
    assert Folder(journal).images()


def test_compact_says_where_the_damaged_files_are(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (journal / "mark").unlink()
    run("compact", "--accept-loss", journal)
    told = capsys.readouterr()

    assert f"{journal}.damaged" in told.out
    assert "is damaged" in told.err
