"""Large buffers between processes of one host: each writes into memory of its own, which it keeps.

Fresh memory is what costs: the system has to find and to empty each page of it. So a process that
sends large buffers has a *segment*, a file in memory without a name, and uses its places again and
again. Over the connection goes a *reference*: which segment, and where in it. Files: `layout` says
where things are in a segment, `memfd` makes and opens one, `extents` divides it, `writer` is the
sender's side, `shelf` and `holding` the broker's, `reader` that of whoever gets a reference, and
`recycling` keeps memory for what it reads. What many will read is another matter, and lies in
memory of its own: `sealed`.

Who may use a place again, and when, is the whole art. Of each place there are three facts:

- its *generation*, a number that is never used twice. Only the writer changes it, and it does so
  before it puts something else there.
- the *writer's own hold*: an object of it, a `writer.Region`, which lives until the message that
  has the reference is answered. So a message can be repeated after a broken connection.
- the *broker's hold*: a byte in the segment, which only the broker changes. It takes it when it
  reads the message, which is before it answers; and lets go when nothing of it refers to the place.

A place is free when neither holds it; the writer looks when it needs room. No message says so, so
none can be lost. Readers have no hold. They copy, and then look whether the generation is still
that of their reference: if so, nobody can have changed what they copied; if not, the reference was
in vain by then (its task was cancelled, say), and they ask again.

A segment is shared with one run of one broker only: what a dead one holds is held for good, and
the segment goes as a whole. It has no name anywhere, so it goes with the last process that has it
open, whatever has ended that. Where there are no such files, or the other side is on another
host, or in another container: buffers go over the connection.
"""

from __future__ import annotations

from pyrotask.arena.holding import Lent, StaleReference
from pyrotask.arena.layout import EXTENSION, SEALED_EXTENSION, Offer, Reference
from pyrotask.arena.memfd import NoSegment, Opening
from pyrotask.arena.reader import Reader, Vanished
from pyrotask.arena.recycling import Recycling
from pyrotask.arena.sealed import Sealed
from pyrotask.arena.shelf import Shelf, Visitor
from pyrotask.arena.writer import SMALLEST_BYTES, Arena, Region, Segment

__all__ = [
    "EXTENSION", "SEALED_EXTENSION", "SMALLEST_BYTES", "Arena", "Lent", "NoSegment", "Offer",
    "Opening", "Reader", "Recycling", "Reference", "Region", "Sealed", "Segment", "Shelf", "StaleReference",
    "Vanished", "Visitor",
]  # fmt: skip
