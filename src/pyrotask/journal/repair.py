"""What people do with a journal that no broker has open: make it short, or go on after damage."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import NamedTuple

from pyrotask.journal.blocks import BlockFiles
from pyrotask.journal.compaction import remove_covered
from pyrotask.journal.disk import WritableFile, sync_folder
from pyrotask.journal.folder import Folder
from pyrotask.journal.lock import FolderLock
from pyrotask.journal.losses import give_up_lost_values
from pyrotask.journal.mark import MarkFile
from pyrotask.journal.problems import JournalError
from pyrotask.journal.recovery import Folded, fold, require
from pyrotask.journal.snapshot import write_image


class Compacted(NamedTuple):
    """What became of a journal."""

    folded: Folded
    bytes_before: int
    bytes_after: int
    lost_values: int
    """Large values that could not be read. What became of their tasks: see `losses`."""
    kept: Path | None
    """Where the damaged files are now; None: nothing was lost."""


def compact(path: Path, *, accept_loss: bool = False) -> Compacted:
    """Put an image in the place of all events.

    With ``accept_loss``, all large values are read as well, and a damaged journal becomes what can
    be read of it. It gets a new lineage then, so that nobody goes on with a number of what was
    lost; the damaged files are kept beside it.

    Raises:
        JournalHeld: a broker writes to it.
        NoJournal, JournalDamaged, JournalTooNew: see `fold`; nothing was changed.
        JournalError: the place where the damaged files would be kept is taken.
    """
    folder = Folder(path.resolve())  # a link stays where it is, and what is repaired on its own disk
    require(folder)  # first: no file of somebody's is a lock because of its name
    lock = FolderLock(folder.lock)
    try:
        before = folder.size()
        files = BlockFiles(folder)
        folded = fold(folder, accept_loss=accept_loss, files=files)
        lost = 0
        if accept_loss:
            lost = give_up_lost_values(folded.state, folded.lineage, folded.last_at)
        if folded.damage is not None or lost:
            kept: Path | None = _replace(folder, folded)
        else:
            kept = None
            folder.remove_unfinished()
            _write(folder, folded, folded.lineage)
            for leftover in files.leftovers():
                leftover.unlink()
        return Compacted(folded, before, folder.size(), lost, kept)
    finally:
        lock.close()


def _share(file: Path, other: Path) -> None:
    """Have a file in two places. It is not changed while it has two names: see `spares`."""
    try:
        os.link(file, other)
    except OSError:  # not everywhere
        shutil.copyfile(file, other)
        copy = WritableFile(other, synced=False)
        try:
            copy.sync()
        finally:
            copy.close()


def _write(folder: Folder, folded: Folded, lineage: str) -> None:
    write_image(folder, lineage, folded.position, folded.state, folded.last_at)
    mark = MarkFile(folder.mark, lineage, folded.mark.turn if folded.mark is not None else 0)
    try:
        mark.write(folded.position)
    finally:
        mark.close()
    sync_folder(folder.path)
    remove_covered(folder)
    for log in folder.logs():
        log.path.unlink()  # the last one, too: nobody writes it, and the image has all of it


def _replace(folder: Folder, folded: Folded) -> Path:
    kept = folder.path.with_name(folder.path.name + ".damaged")
    repaired = Folder(folder.path.with_name(folder.path.name + ".repaired"))
    for path in (kept, repaired.path):
        if path.exists():
            raise JournalError(
                f"{path} is in the way: move it elsewhere, then try again. Nothing was changed"
            )
    repaired.path.mkdir(mode=0o700)
    for part in folder.blocks():
        _share(part.path, repaired.path / part.path.name)
    _write(repaired, folded, secrets.token_hex(8))
    # From here on, either name is a whole journal, damaged or repaired.
    folder.path.rename(kept)
    repaired.path.rename(folder.path)
    sync_folder(folder.path.parent)
    return kept
