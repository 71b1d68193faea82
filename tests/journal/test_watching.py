"""Whoever waits for the reading of a journal can see how far it is."""

from __future__ import annotations

from pathlib import Path

from pyrotask.journal.folder import Folder
from pyrotask.journal.recovery import fold
from pyrotask.journal.repair import compact
from pyrotask.journal.watching import watched
from tests.journal.lives import life, write


def test_what_is_read_adds_up_to_what_there_is_to_read(tmp_path: Path) -> None:
    write(tmp_path / "journal", life(13))
    folder, read = Folder(tmp_path / "journal"), list[int]()
    with watched(read.append):
        fold(folder)

    assert read == sorted(read)
    assert len(read) > 10
    assert 0.5 < read[-1] / folder.bytes_to_read() <= 1


def test_an_image_is_read_piece_by_piece_too(tmp_path: Path) -> None:
    write(tmp_path / "journal", life(13))
    compact(tmp_path / "journal")
    read = list[int]()
    with watched(read.append):
        fold(Folder(tmp_path / "journal"))

    assert read


def test_a_reading_outside_is_not_watched(tmp_path: Path) -> None:
    write(tmp_path / "journal", life(13))
    read = list[int]()
    with watched(read.append):
        pass
    fold(Folder(tmp_path / "journal"))

    assert read == []
