"""Why a journal cannot be opened."""

from __future__ import annotations

from pathlib import Path

from pyrotask.errors import PyrotaskError


class JournalError(PyrotaskError):
    """A journal cannot be used; the subclass says why. Its files were left as they are."""


class JournalDamaged(JournalError):
    """Something that was acknowledged cannot be read any more.

    Attributes:
        position: everything up to and including this event could be read.
    """

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class JournalHeld(JournalError):
    """A living broker writes to this journal."""


class JournalTooNew(JournalError):
    """It was written by a later version of pyrotask."""


class NoJournal(JournalError):
    """There is no journal at that path."""


def what_to_do(folder: Path) -> str:
    """The end of every message about damage."""
    return (
        "Bring the folder back from a copy; or go on without what is lost: "
        f"pyrotask journal compact --accept-loss {folder}"
    )
