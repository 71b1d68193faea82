"""What was durable comes back, and nothing else has changed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrotask.core import events as e
from pyrotask.core.machine import Machine
from pyrotask.core.model import PLAIN, Payload
from pyrotask.errors import BrokerBroken
from pyrotask.journal import JournalError, NoJournal, Policy, open_journal
from pyrotask.journal.folder import Folder
from pyrotask.journal.recovery import fold, fold_in_use, prove_blocks
from pyrotask.journal.repair import compact
from pyrotask.journal.watching import watched
from tests.journal.lives import append_one_by_one, life, state_after, write


@pytest.mark.parametrize("policy", Policy)
def test_a_life_comes_back(policy: Policy, tmp_path: Path) -> None:
    commands = life(1)
    write(tmp_path / "journal", commands, policy)
    opened = open_journal(tmp_path / "journal", policy)
    opened.journal.close()

    assert opened.state.image() == state_after(commands).image()
    assert opened.replayed == opened.journal.newest == sum(map(len, commands))
    assert opened.dropped_bytes == 0


def test_a_life_goes_on_over_many_runs(tmp_path: Path) -> None:
    commands = life(2)
    for start in range(0, len(commands), 10):
        opened = open_journal(tmp_path / "journal")
        assert opened.state.image() == state_after(commands[:start]).image()
        append_one_by_one(opened.journal, commands[start : start + 10])
        opened.journal.close()

    assert fold(Folder(tmp_path / "journal")).state.image() == state_after(commands).image()


def test_a_machine_goes_on_with_the_state_that_comes_back(tmp_path: Path) -> None:
    write(tmp_path / "journal", life(3))
    opened = open_journal(tmp_path / "journal")
    machine = Machine(state=opened.state)
    opened.journal.wait(
        opened.journal.append(machine.start(opened.last_at + 1, opened.journal.lineage).events)
    )
    opened.journal.close()

    assert fold(Folder(tmp_path / "journal")).state.image() == machine.state.image()


def test_the_lineage_stays(tmp_path: Path) -> None:
    lineages = []
    for _ in range(3):
        journal = open_journal(tmp_path / "journal").journal
        lineages.append(journal.lineage)
        journal.close()

    assert len(set(lineages)) == 1


def test_the_last_core_time_comes_back(tmp_path: Path) -> None:
    write(tmp_path / "journal", [[e.BrokerStarted(5, "x")], [e.Terminated(7), e.DataStored(())]])
    opened = open_journal(tmp_path / "journal")
    opened.journal.close()

    assert opened.last_at == 7


def test_runs_that_append_nothing_leave_nothing(tmp_path: Path) -> None:
    for _ in range(3):
        open_journal(tmp_path / "journal").journal.close()

    assert {path.name for path in (tmp_path / "journal").iterdir()} == {"lock", "mark"}


def test_a_closed_journal_takes_nothing_on(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal").journal
    journal.close()
    with pytest.raises(BrokerBroken, match="is closed"):
        journal.append([e.Terminated(1)])


def test_what_was_appended_before_the_close_is_durable(tmp_path: Path) -> None:
    commands = life(4)
    journal = open_journal(tmp_path / "journal").journal
    for command in commands:
        journal.append(command)
    journal.close()

    assert fold(Folder(tmp_path / "journal")).state.image() == state_after(commands).image()


def test_a_running_journal_can_be_read(tmp_path: Path) -> None:
    commands = life(5)
    journal = open_journal(tmp_path / "journal").journal
    append_one_by_one(journal, commands)
    read = [event for commit in journal.read(after=3) for event in commit.events]
    journal.close()

    assert read == [event for command in commands for event in command][3:]


def test_a_journal_that_nobody_holds_any_more_is_closed(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal").journal
    journal.append([e.Terminated(1)])
    (thread,) = [one for one in threading.enumerate() if one.name == "pyrotask-journal"]
    del journal  # which waits for nothing
    thread.join()
    again = open_journal(tmp_path / "journal")
    again.journal.close()

    assert again.state.terminated


def test_a_folder_with_other_things_does_not_become_a_journal(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").touch()
    with pytest.raises(JournalError, match="'thesis.tex'"):
        open_journal(tmp_path / "work")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["thesis.tex"]


def test_a_journal_that_was_killed_while_it_was_made_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "lock").touch()
    (tmp_path / "journal" / "mark").write_bytes(bytes(100))
    write(tmp_path / "journal", life(1))

    assert fold(Folder(tmp_path / "journal")).position == sum(map(len, life(1)))


def test_where_there_is_no_journal_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NoJournal, match="pyrotask serve --journal"):
        fold(Folder(tmp_path / "nothing"))


@given(seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=20)
def test_commands_are_there_whole_or_not_at_all(
    seed: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("law") / "journal"
    commands = life(seed, steps=10)
    write(path, commands, Policy.NEVER)
    folder = Folder(path)
    size = folder.logs()[0].path.stat().st_size
    # What was only written, and never synced, may be missing; but no command may be there in part.
    folder.mark.unlink()
    folder.logs()[0].path.write_bytes(folder.logs()[0].path.read_bytes()[: data.draw(st.integers(100, size))])
    position = fold(folder, accept_loss=True).position
    ends = [sum(map(len, commands[:number])) for number in range(len(commands) + 1)]

    assert position in ends


def test_a_journal_that_is_compacted_while_it_is_read_is_not_damaged(tmp_path: Path) -> None:
    path, commands = tmp_path / "journal", life(6)
    write(path, commands[:20])
    compact(path)
    write(path, commands[20:40])
    is_to_do = [True]

    def go_on(_read: int) -> None:
        if is_to_do and is_to_do.pop():  # the image is read, its logs are not
            write(path, commands[40:])
            compact(path)

    with watched(go_on):
        folded = fold_in_use(Folder(path))
    assert folded.state.image() == state_after(commands).image()


def test_a_large_value_that_goes_before_it_is_proved_is_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    value = Payload(PLAIN, (bytes(5000),)).in_blocks()
    write(path, [[e.DataStored((("x", value),))]])
    folded = fold(Folder(path))
    write(path, [[e.DataDeleted("x")]])
    compact(path)

    assert Folder(path).blocks() == []
    prove_blocks(Folder(path), folded)


def test_a_large_value_that_many_have_is_proved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    value = Payload(PLAIN, (bytes(100_000),)).in_blocks()
    journal = open_journal(path).journal
    journal.wait(journal.append([e.DataStored(tuple((str(number), value) for number in range(50)))]))
    journal.close()
    read, really_read = [0], os.read

    def count(descriptor: int, nbytes: int) -> bytes:
        data = really_read(descriptor, nbytes)
        read[0] += len(data)
        return data

    monkeypatch.setattr("os.read", count)
    prove_blocks(Folder(path), fold(Folder(path)))
    assert 100_000 <= read[0] < 200_000
