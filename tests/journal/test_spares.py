"""A file of large values that nobody needs is written over, and what stood in it is never mistaken."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest

from pyrotask.core import events as e
from pyrotask.core.model import PLAIN, Payload
from pyrotask.journal import FileJournal, open_journal
from pyrotask.journal.folder import Folder
from pyrotask.journal.recovery import fold
from pyrotask.journal.repair import compact
from pyrotask.journal.spares import LARGEST_BYTES, SMALLEST_BYTES, SPARE_BYTES, Spares

WAIT_S = 60.0


def file_of(path: Path, nbytes: int) -> Path:
    with path.open("wb") as file:
        file.truncate(nbytes)
    return path


def test_the_last_one_that_was_given_up_is_used_first(tmp_path: Path) -> None:
    spares = Spares()
    first, second = [file_of(tmp_path / name, SMALLEST_BYTES) for name in ("first", "second")]
    spares.take_on([first, second])
    spares.become(tmp_path / "new")
    assert sorted(tmp_path.iterdir()) == [first, tmp_path / "new"]


def test_without_a_spare_there_is_no_file_yet(tmp_path: Path) -> None:
    Spares().become(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nbytes", [SMALLEST_BYTES - 1, LARGEST_BYTES + 1])
def test_files_of_no_use_are_deleted(nbytes: int, tmp_path: Path) -> None:
    Spares().take_on([file_of(tmp_path / "odd", nbytes), tmp_path / "not there"])
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_deleted_or_renamed_now_is_no_reason_to_stop(tmp_path: Path) -> None:
    spares = Spares()
    (tmp_path / "stays").mkdir()  # stands for what the system does not let us delete
    spares.take_on([tmp_path / "stays", file_of(tmp_path / "file", SMALLEST_BYTES)])
    spares.become(tmp_path / "not there" / "new")
    spares.drop()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "stays"]


def test_a_file_that_is_somebodys_copy_as_well_is_not_written_over(tmp_path: Path) -> None:
    spares = Spares()
    for name in ("before", "after"):
        file_of(tmp_path / name, SMALLEST_BYTES)
    (tmp_path / "copy before").hardlink_to(tmp_path / "before")
    spares.take_on([tmp_path / "before", tmp_path / "after"])
    (tmp_path / "copy after").hardlink_to(tmp_path / "after")
    spares.become(tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy after", "copy before"]


def test_no_more_of_the_disk_is_spent_than_may_be(tmp_path: Path) -> None:
    spares = Spares()
    spares.take_on([file_of(tmp_path / str(number), LARGEST_BYTES) for number in range(5)])
    assert len(list(tmp_path.iterdir())) == SPARE_BYTES // LARGEST_BYTES
    spares.drop()
    assert list(tmp_path.iterdir()) == []


# --- of a journal ---------------------------------------------------------------------------------


def opened(path: Path, *, reserve_bytes: int = 0) -> FileJournal:
    """A journal with one file for each value, and one of them to spare."""
    journal = open_journal(path, reserve_bytes=reserve_bytes, file_bytes=SMALLEST_BYTES).journal
    store(journal, b"1")
    store(journal, b"2")  # the file of the first is written no more
    done(journal)
    return journal


def store(journal: FileJournal, letter: bytes) -> None:
    """Store a value under the one label: the one before is needed no more."""
    value = Payload(PLAIN, (letter * SMALLEST_BYTES,)).in_blocks()
    journal.wait(journal.append([e.DataStored((("x", value),))]))


def done(journal: FileJournal) -> None:
    """Wait until the journal has done all that it was asked to."""
    for _ in range(2):  # with the first it lets go of what came before
        over = threading.Event()
        journal.append([e.DataStored((("y", Payload(PLAIN, (b"",))),))])
        journal._flusher.afterwards(over.set)
        assert over.wait(WAIT_S)


def letters(path: Path) -> list[bytes]:
    """How the files begin, by their numbers."""
    return [part.path.read_bytes()[:1] for part in Folder(path).blocks()]


def test_a_file_that_nobody_needs_becomes_the_next_one(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal")
    assert letters(tmp_path / "journal") == [b"1", b"2"]
    store(journal, b"3")
    assert letters(tmp_path / "journal") == [b"2", b"3"]
    journal.close()
    value = fold(Folder(tmp_path / "journal")).state.data["x"]
    assert value.read() == (b"3" * SMALLEST_BYTES,)


def test_what_stood_in_a_file_before_is_no_value_of_a_commit_that_was_not_completed(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = opened(path)
    mark = Folder(path).mark.read_bytes()
    store(journal, b"3")
    journal.close()
    Folder(path).mark.write_bytes(mark)  # as a power failure leaves it: the log was written, ...
    file = Folder(path).blocks()[-1]
    file.path.write_bytes(b"1" * SMALLEST_BYTES)  # ... the value was not
    value = fold(Folder(path)).state.data["x"]
    assert value.read() == (b"2" * SMALLEST_BYTES,)


def test_a_journal_leaves_no_spare_behind(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal")
    journal.close()
    assert letters(tmp_path / "journal") == [b"2"]


def test_what_was_kept_of_a_damaged_journal_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = open_journal(path).journal
    store(journal, b"2")
    journal.close()
    Folder(path).mark.unlink()
    kept = compact(path, accept_loss=True).kept
    assert kept is not None
    again = open_journal(path, reserve_bytes=0, file_bytes=SMALLEST_BYTES)
    again.state.data.clear()  # as its broker does when that is needed no more
    gc.collect()
    for letter in (b"3", b"4", b"5"):
        store(again.journal, letter)
        done(again.journal)
    again.journal.close()
    assert letters(kept) == [b"2"]


def test_without_a_mark_what_came_after_a_value_that_is_gone_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    opened(path).close()
    Folder(path).mark.unlink()
    compacted = compact(path, accept_loss=True)
    assert compacted.lost_values == 0
    assert compacted.folded.state.data["x"].read() == (b"2" * SMALLEST_BYTES,)


def test_a_disk_without_room_has_no_spares(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal", reserve_bytes=1 << 60)
    done(journal)  # behind the look at the room that came after
    assert letters(tmp_path / "journal") == [b"2"]
