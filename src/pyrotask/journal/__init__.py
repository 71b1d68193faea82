"""Where events are kept: the memory that survives the broker.

    protocol    what every journal promises
    memory      the journal that keeps nothing: for tests, and for jobs that may start anew
"""

from pyrotask.journal.memory import MemoryJournal
from pyrotask.journal.protocol import Journal, Ticket

__all__ = ["Journal", "MemoryJournal", "Ticket"]
