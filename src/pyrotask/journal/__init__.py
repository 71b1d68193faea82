"""Where events are kept: the memory that survives the broker.

    protocol    what every journal promises
    memory      the journal that keeps nothing: for tests, and for jobs that may start anew
    file        the journal on disk: how it is opened, and what it does for the broker
    flusher     its one thread: many callers, one commit
    waiters     those who wait for that
    log         the file that is being written
    mark        how far everything is on disk
    recovery    from the files to the state, and the proof that nothing is missing
    reading     the same for events, one by one
    blocks      the files of large values
    snapshot    images of the state on disk
    helper      the process that makes them
    compaction  when an image is due, and what it makes superfluous
    codec, image, frames      events, states and files as bytes
    folder, lock, disk        names, the one writer, and what a system has to offer
    losses      going on without values that cannot be read
    problems    why a journal cannot be opened
    watching    how far the reading of a long one is

To add an event: its class in `core.events`, what it does in `core.state`, its number in
`codec`. To change a file's format: read the texts of `codec` and `frames` first; the files of
older versions in the tests must stay readable for ever.
"""

from pyrotask.journal.file import FileJournal, Opened, open_journal
from pyrotask.journal.flusher import PLENTY_BYTES
from pyrotask.journal.memory import MemoryJournal
from pyrotask.journal.problems import JournalDamaged, JournalError, JournalHeld, JournalTooNew, NoJournal
from pyrotask.journal.protocol import Journal, Policy, Ticket

__all__ = [
    "PLENTY_BYTES",
    "FileJournal",
    "Journal",
    "JournalDamaged",
    "JournalError",
    "JournalHeld",
    "JournalTooNew",
    "MemoryJournal",
    "NoJournal",
    "Opened",
    "Policy",
    "Ticket",
    "open_journal",
]
