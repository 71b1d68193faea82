"""The files of a journal."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pyrotask.journal import JournalError, NoJournal, open_journal
from pyrotask.journal.folder import Folder
from pyrotask.journal.repair import compact


def test_its_size_can_be_told_while_others_delete_and_rename(tmp_path: Path) -> None:
    """As the helper does, and what follows it: it is the thread of the journal that asks."""
    folder = Folder(tmp_path)
    (tmp_path / "mark").write_bytes(bytes(7))
    over = threading.Event()

    def rename() -> None:
        while not over.is_set():
            folder.log_from(1).touch()
            folder.log_from(1).rename(folder.log_from(2))

    renaming = threading.Thread(target=rename)
    renaming.start()
    try:
        assert {folder.size() for _ in range(2000)} == {7}
    finally:
        over.set()
        renaming.join()


def test_only_files_have_a_size(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    assert Folder(tmp_path).size() == 0


def test_a_folder_with_numbered_logs_of_a_user_is_no_journal(tmp_path: Path) -> None:
    names = {"1.log", "2.log", "3.unfinished"}
    for name in names:
        (tmp_path / name).write_text("of a user")
    with pytest.raises(JournalError, match=r"has other things in it \('1.log', "):
        open_journal(tmp_path)
    with pytest.raises(NoJournal):
        compact(tmp_path, accept_loss=True)

    assert {path.name for path in tmp_path.iterdir()} == names
