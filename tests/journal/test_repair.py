"""Compacting by hand, and going on after damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyrotask.journal import JournalDamaged, JournalError, JournalHeld, NoJournal, open_journal
from pyrotask.journal.folder import Folder
from pyrotask.journal.frames import HEAD_BYTES
from pyrotask.journal.recovery import fold
from pyrotask.journal.repair import compact
from tests.journal.lives import life, state_after, write

COMMANDS = life(12)
EVENTS = sum(map(len, COMMANDS))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    write(tmp_path / "journal", COMMANDS)
    return tmp_path / "journal"


def cut_last_bytes(journal: Path) -> None:
    log = Folder(journal).logs()[-1].path
    log.write_bytes(log.read_bytes()[:-1])


def test_compacting_changes_nothing_but_the_files(journal: Path) -> None:
    compacted = compact(journal)
    folded = fold(Folder(journal))

    assert folded.state.image() == state_after(COMMANDS).image()
    assert (folded.position, folded.image_position) == (EVENTS, EVENTS)
    assert folded.lineage == compacted.folded.lineage
    assert folded.last_at == compacted.folded.last_at
    assert Folder(journal).logs() == []
    assert compacted.kept is None


def test_compacting_again_changes_nothing_more(journal: Path) -> None:
    first, second = compact(journal), compact(journal)

    assert second.bytes_before == first.bytes_after == second.bytes_after


def test_a_journal_in_use_is_not_compacted(journal: Path) -> None:
    broker = open_journal(journal).journal
    with pytest.raises(JournalHeld):
        compact(journal)
    broker.close()


def test_where_there_is_no_journal_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(NoJournal):
        compact(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_where_there_is_no_journal_a_file_called_lock_is_somebodys_own(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("of a user")
    with pytest.raises(NoJournal):
        compact(tmp_path)
    assert (tmp_path / "lock").read_text() == "of a user"


def test_a_damaged_journal_is_compacted_only_when_the_loss_is_accepted(journal: Path) -> None:
    cut_last_bytes(journal)
    with pytest.raises(JournalDamaged):
        compact(journal)


def test_after_an_accepted_loss_the_journal_has_what_could_be_read(journal: Path) -> None:
    cut_last_bytes(journal)
    compacted = compact(journal, accept_loss=True)
    opened = open_journal(journal)
    opened.journal.close()
    readable = EVENTS - len(COMMANDS[-1])

    assert compacted.folded.damage is not None
    assert opened.journal.newest == readable
    assert opened.state.image() == state_after(COMMANDS, readable).image()


def test_after_an_accepted_loss_the_lineage_is_a_new_one(journal: Path) -> None:
    before = fold(Folder(journal)).lineage
    cut_last_bytes(journal)
    compact(journal, accept_loss=True)

    assert fold(Folder(journal)).lineage != before


def test_after_an_accepted_loss_the_damaged_files_are_kept(journal: Path) -> None:
    cut_last_bytes(journal)
    log = Folder(journal).logs()[0].path
    damaged = log.read_bytes()
    kept = compact(journal, accept_loss=True).kept

    assert kept is not None
    assert (kept / log.name).read_bytes() == damaged


def test_a_repaired_journal_is_where_the_damaged_one_was_and_not_where_a_link_is(
    journal: Path, tmp_path: Path
) -> None:
    link = tmp_path / "home" / "link"
    link.parent.mkdir()
    try:
        link.symlink_to(journal)
    except OSError:
        pytest.skip("this system does not let us make links")
    cut_last_bytes(journal)
    kept = compact(link, accept_loss=True).kept

    assert kept == journal.resolve().with_name("journal.damaged")
    assert list(link.parent.iterdir()) == [link]
    assert link.is_symlink()
    assert Folder(link).images()


def test_damaged_files_that_were_kept_before_are_not_overwritten(journal: Path) -> None:
    for _ in range(2):
        (journal / "mark").unlink()
        if not journal.with_name("journal.damaged").exists():
            compact(journal, accept_loss=True)
    with pytest.raises(JournalError, match="in the way"):
        compact(journal, accept_loss=True)


def test_a_loss_that_there_is_not_changes_nothing(journal: Path) -> None:
    compacted = compact(journal, accept_loss=True)

    assert compacted.kept is None
    assert fold(Folder(journal)).state.image() == state_after(COMMANDS).image()


def test_after_an_accepted_loss_of_an_images_head_all_that_is_behind_it_is_there(journal: Path) -> None:
    compact(journal)
    (image,) = Folder(journal).images()
    data = bytearray(image.path.read_bytes())
    data[HEAD_BYTES // 2] ^= 1
    image.path.write_bytes(data)
    with pytest.raises(JournalDamaged, match="head of"):
        compact(journal)
    compacted = compact(journal, accept_loss=True)
    opened = open_journal(journal)
    opened.journal.close()

    assert compacted.kept is not None
    assert opened.journal.newest == EVENTS
    assert opened.state.image() == state_after(COMMANDS).image()


def test_an_image_of_another_journal_is_not_what_was_lost(journal: Path, tmp_path: Path) -> None:
    compact(journal)
    write(tmp_path / "another", COMMANDS)
    compact(tmp_path / "another")
    (image,) = Folder(journal).images()
    (another,) = Folder(tmp_path / "another").images()
    another.path.replace(image.path)
    assert compact(journal, accept_loss=True).folded.state.tasks == {}
