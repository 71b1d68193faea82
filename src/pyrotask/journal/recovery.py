"""From the files of a journal to the state, with a proof that nothing acknowledged is missing.

The newest image is loaded, and the events behind it are applied one by one, in the same way as
when they happened. It is an error when the logs end before the mark, and when there is a gap.
What stands behind the last whole commit was never acknowledged: a commit that was being
written when the broker died.

Nothing here writes.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import NamedTuple

from pyrotask.core import events as e
from pyrotask.core.model import Nanoseconds
from pyrotask.core.state import DurableState
from pyrotask.errors import BrokerBroken
from pyrotask.journal.blocks import BlockFiles, blocks_of, file_of, first_too_short, place_of, unreadable
from pyrotask.journal.codec import NUMBERS
from pyrotask.journal.folder import Folder, Part
from pyrotask.journal.frames import HEAD_BYTES, read_head
from pyrotask.journal.mark import Mark, read_mark
from pyrotask.journal.problems import JournalDamaged, NoJournal, what_to_do
from pyrotask.journal.reading import Commit, LogReader, Place
from pyrotask.journal.snapshot import read_image

_TRIES = 5
"""How often a journal is read that its broker changes faster than that."""

_TIMED = frozenset(cls for cls in NUMBERS if "at" in cls._fields)


class Folded(NamedTuple):
    """What the files of a journal add up to."""

    state: DurableState
    lineage: str
    position: int
    """Of the last event."""
    last_at: Nanoseconds
    """The last core time of an event; the clock must not run back behind it."""
    image_position: int
    """What came from the image; 0: nothing. The rest came from the logs, event by event."""
    mark: Mark | None
    end: Place | None
    """Where the last log ends."""
    damage: JournalDamaged | None
    """What made the reading end too early, if that was accepted."""


def fold(
    folder: Folder, *, up_to: int | None = None, accept_loss: bool = False, files: BlockFiles | None = None
) -> Folded:
    """Read a journal.

    Args:
        folder: where it is.
        up_to: the position to stop at, if there is as much; None: read all.
        accept_loss: when it is damaged, give what can be read, instead of raising.
        files: finds the files of its blocks; None: it finds them by itself.

    Raises:
        NoJournal: there is none.
        JournalDamaged: something acknowledged is missing; with its position.
        JournalTooNew: a later version of pyrotask wrote it.
    """
    require(folder)
    mark = read_mark(folder.mark)
    folding = _Folding(folder, mark, files or BlockFiles(folder), accepts_loss=accept_loss)
    damage = None
    try:
        with _without_collections():
            folding.run(up_to)
        folding.prove(up_to)
    except JournalDamaged as error:
        if not accept_loss:
            raise
        damage = error
    return folding.result(damage or folding.accepted)


def require(folder: Folder) -> None:
    """Refuse to go on when there is no journal.

    Raises:
        NoJournal: there is none.
    """
    if not folder.is_journal():
        raise NoJournal(
            f"there is no journal at {folder.path}; pyrotask serve --journal {folder.path} makes one"
        )


def fold_in_use(folder: Folder) -> Folded:
    """Read a journal that a broker may be writing: what it deletes meanwhile is no damage.

    Raises as `fold` does.
    """
    for _ in range(_TRIES):
        mark = read_mark(folder.mark)
        try:
            return fold(folder)
        except (JournalDamaged, FileNotFoundError):
            if read_mark(folder.mark) == mark:
                raise
    return fold(folder)


def prove_blocks(folder: Folder, folded: Folded) -> None:
    """Read all large values of a journal. Reads the disk, for as long as that takes.

    A broker may be writing it meanwhile: what cannot be read is damaged if it is needed afterwards, too.

    Raises:
        JournalDamaged: one of them is not what was written.
    """
    lost = unreadable(folded.state)
    if not lost:
        return
    folded = fold_in_use(folder)
    for block in blocks_of(folded.state):
        if place_of(block) in lost:
            raise JournalDamaged(
                f"the journal {folder.path} is damaged: it can be read up to event {folded.position}, but "
                f"{file_of(block).describe(block)} is not what was written. {what_to_do(folder.path)}",
                folded.position,
            )


def commits(folder: Folder, after: int = 0) -> Iterator[Commit]:
    """Read the events behind a position, as they were committed.

    Raises:
        JournalDamaged: at the place where it shows.
    """
    mark = read_mark(folder.mark)
    reader = LogReader(folder, _lineage(folder, mark), after, proven=_proven(mark))
    yield from reader
    _prove(reader, mark)


class _Folding:
    def __init__(self, folder: Folder, mark: Mark | None, files: BlockFiles, *, accepts_loss: bool) -> None:
        self._accepts_loss = accepts_loss
        self.accepted: JournalDamaged | None = None
        """Damage behind which it went on."""
        self._folder = folder
        self._mark = mark
        self._lineage = _lineage(folder, mark)
        self._files = files
        self.state = DurableState()
        self.last_at: Nanoseconds = 0
        self.image_position = 0
        self.reader = self._reader(0)

    def run(self, up_to: int | None) -> None:
        self._load_image(up_to)
        if self.reader.position == up_to:
            return
        for commit in self.reader:
            self._apply(commit)
            if self.reader.position == up_to:
                return

    def prove(self, up_to: int | None) -> None:
        if up_to is None:
            _prove(self.reader, self._mark)
            if self._files.are_needed and (path := first_too_short(self.state)) is not None:
                raise self.reader.damage(
                    f"{path.name}, which has large values of it, is missing or too short"
                )
        elif self.reader.position != up_to:
            raise self.reader.damage(f"event {up_to} was to be the last one")

    def result(self, damage: JournalDamaged | None) -> Folded:
        return Folded(
            self.state,
            self._lineage,
            self.reader.position,
            self.last_at,
            self.image_position,
            self._mark,
            self.reader.end,
            damage,
        )

    def _load_image(self, up_to: int | None) -> None:
        images = [part for part in self._folder.images() if up_to is None or part.position <= up_to]
        damage = None
        for part in reversed(images):  # an older one is there for as long as its logs are
            try:
                self._take_image(part)
            except JournalDamaged as error:
                damage = damage or error
            else:
                return
        if damage is not None and self._first_log() != 1:
            self._take_image_without_head(images, self.reader.damage(f"{damage}"))

    def _take_image_without_head(self, images: list[Part], damage: JournalDamaged) -> None:
        for part in reversed(images) if self._accepts_loss else ():
            with contextlib.suppress(JournalDamaged):
                self._take_image(part, without_head=True)
                self.accepted = damage
                return
        raise damage

    def _take_image(self, part: Part, *, without_head: bool = False) -> None:
        loaded = read_image(part, self._lineage, self._files, without_head=without_head)
        self.state, self.last_at = loaded
        self.image_position = part.position
        self.reader = self._reader(part.position)

    def _reader(self, after: int) -> LogReader:
        return LogReader(self._folder, self._lineage, after, self._files, _proven(self._mark))

    def _first_log(self) -> int | None:
        logs = self._folder.logs()
        return logs[0].position if logs else None

    def _apply(self, commit: Commit) -> None:
        for position, event in enumerate(commit.events, commit.first):
            try:
                self.state.apply(event)
            except (BrokerBroken, LookupError, AssertionError) as error:
                self.reader.position = position - 1
                raise self.reader.damage(f"what comes then cannot have happened: {error}") from error
        for event in reversed(commit.events):
            if type(event) in _TIMED:
                self.last_at = max(self.last_at, _time_of(event))
                return


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Look for no garbage meanwhile: it would take as long again, and there is none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _prove(reader: LogReader, mark: Mark | None) -> None:
    if mark is None:
        raise reader.damage("its mark, which says how far it must reach, is missing or damaged")
    if reader.position < mark.position:
        raise reader.damage(f"everything up to event {mark.position} was acknowledged")


def _proven(mark: Mark | None) -> int | None:
    # Without a mark, a value that cannot be read may as well be one that nobody needed any more.
    return None if mark is None else mark.position


def _lineage(folder: Folder, mark: Mark | None) -> str:
    if mark is not None:
        return mark.lineage
    for part in [*reversed(folder.images()), *folder.logs()]:
        with part.path.open("rb") as file:
            head = read_head(file.read(HEAD_BYTES))
        if head is not None:
            return head.lineage
    return ""


def _time_of(event: e.Event) -> Nanoseconds:
    at: Nanoseconds = event.at  # type: ignore[union-attr]
    return at
