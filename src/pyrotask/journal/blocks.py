"""The files of a journal that have the large values: blocks, one behind the other, nothing else.

A block is written once, before the commit that names it, and never moved. The log and the
images have its place only (file, offset, length and digest): so the helper that makes images never
has it in memory, the broker for a while only (`recent`), and no compaction copies it. What reads a
block proves it by its digest.

A file is deleted, or written over under another number (`spares`), when nobody needs any block in it.
Who needs one holds the `Block`, and this holds its `BlockFile`: so that is known by itself
(`BlockFiles`), for tasks, for data, and for answers on their way to somebody. It goes only when the
events that led to that are on disk, and what a killed broker leaves of such files goes when the
journal is opened.

What this costs: one block that stays keeps up to `FILE_BYTES` of the disk from being free.
"""

from __future__ import annotations

import errno
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from pyrotask.core.blocks import Block, digest_of, new_digest
from pyrotask.core.model import Payload
from pyrotask.core.records import result_of
from pyrotask.core.state import DurableState
from pyrotask.journal.disk import WritableFile, read_at, sync_folder
from pyrotask.journal.folder import Folder
from pyrotask.journal.problems import JournalDamaged, what_to_do
from pyrotask.journal.recent import Recent
from pyrotask.journal.spares import Spares

FILE_BYTES = 32 << 20
"""A file is begun anew behind that: small enough to be free soon, large enough to be few."""

PIECE_BYTES = 1 << 20
"""Small blocks are joined to writes of about this length, and large ones are written in such pieces."""


Place = tuple[int, int, bytes]
"""Where a block is: see `place_of`."""


class BlockFile:
    """A file of blocks. It stays for as long as this object: see `BlockFiles`. Thread-safe."""

    __slots__ = ("__weakref__", "_tell", "number", "path")

    def __init__(self, path: Path, number: int, tell: Callable[[JournalDamaged], None]) -> None:
        self.path = path
        self.number = number
        self._tell = tell

    def read(self, block: Block) -> bytes:
        """The bytes of a block that is here. Reads the disk.

        Raises:
            JournalDamaged: they are not there, or not the right ones.
            OSError: the system cannot read them now, for reasons that are not the file's.
        """
        try:
            data = read_at(self.path, block.offset, block.nbytes)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.EIO}:
                raise  # as for want of descriptors: it may go well the next time
            data = b""
        if len(data) == block.nbytes and digest_of(data, len(block.digest)) == block.digest:
            return data
        damage = JournalDamaged(
            f"the journal {self.path.parent} is damaged: {self.describe(block)} is not what was written. "
            f"{what_to_do(self.path.parent)}",
            0,
        )
        self._tell(damage)
        raise damage

    def describe(self, block: Block) -> str:
        """Say which block, for people who have to look for it."""
        return f"a user's value ({block.nbytes} bytes, from byte {block.offset} of {self.path.name} on)"


class BlockFiles:
    """The files of blocks that somebody needs.

    Attributes:
        unneeded: those that nobody needs any more, as it turns out; they can be deleted when
            everything that happened until then is on disk.
        on_damage: told of each block that cannot be read.
        newest: the greatest number that was ever seen.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._needed: weakref.WeakValueDictionary[int, BlockFile] = weakref.WeakValueDictionary()
        self.unneeded: deque[Path] = deque()
        self.on_damage: Callable[[JournalDamaged], None] | None = None
        self.newest = max((part.position for part in folder.blocks()), default=0)

    def __call__(self, number: int) -> BlockFile:
        """The file with that number, whether it is there or not."""
        file = self._needed.get(number)
        if file is None:
            path = self._folder.blocks_file(number)
            file = self._needed[number] = BlockFile(path, number, self._damaged)
            # Called wherever the last block happens to go, also under the broker's lock: a single
            # step, which cannot be interrupted.
            weakref.finalize(file, self.unneeded.append, path).atexit = False
            self.newest = max(self.newest, number)
        return file

    @property
    def are_needed(self) -> bool:
        """Whether there is any."""
        return bool(self._needed)

    def begin(self) -> BlockFile:
        """A new file, which is not made yet."""
        return self(self.newest + 1)

    def leftovers(self) -> list[Path]:
        """Files that nobody needs. Only of use before the first block is written."""
        return [part.path for part in self._folder.blocks() if part.position not in self._needed]

    def _damaged(self, damage: JournalDamaged) -> None:
        if self.on_damage is not None:
            self.on_damage(damage)


class BlockWriter:
    """Gives blocks their places, and writes them. Of the flusher's thread.

    Args:
        folder: of the journal.
        files: of the same.
        recent: what stays in memory after it was written.
        synced: whether blocks are on disk when `write` returns; else after `sync`, or when their
            file is full.
        file_bytes: see `FILE_BYTES`.

    Attributes:
        spares: files that can become the next ones.
    """

    def __init__(
        self, folder: Folder, files: BlockFiles, recent: Recent, *, synced: bool, file_bytes: int = FILE_BYTES
    ) -> None:
        self._folder = folder
        self._files = files
        self._recent = recent
        self._synced = synced
        self._file_bytes = file_bytes
        self._home: BlockFile | None = None
        """Where the next block goes."""
        self._end = 0
        self._placed: list[Block] = []
        self._gathered: list[bytes] = []
        """Small ones that are not written yet: the last that have a place in that file, without a gap."""
        self._gathered_bytes = 0
        self._open: tuple[BlockFile, WritableFile] | None = None
        self.spares = Spares()
        self._room = memoryview(bytearray())

    @property
    def placed_bytes(self) -> int:
        """How much was placed, and is not settled yet."""
        return sum(map(len, self._placed))

    def place(self, block: Block) -> None:
        """Say where the block is, if it is nowhere yet, and write it, or gather it. `write` comes next.

        After an error for want of room it may be repeated: the block is nowhere still.
        """
        if block.home is not None:
            return
        home = self._home
        if home is None or (self._end and self._end + block.nbytes > self._file_bytes):
            self._write_gathered()
            home = self._home = self._files.begin()
            self._end = 0
        if block.nbytes < PIECE_BYTES:
            digest = self._gather(block)
        else:
            self._write_gathered()
            digest = self._written(block)
        block.place(home, self._end, digest)
        self._end += block.nbytes
        self._placed.append(block)

    def write(self) -> None:
        """Write what was gathered. May be repeated after an error for want of room."""
        self._write_gathered()
        if self._placed and self._synced:
            self.sync()

    def settle(self) -> None:
        """The commit is written: the blocks leave the memory, but for those that are soon wanted."""
        for block in self._placed:
            self._recent.keep(block)
        self._placed.clear()

    def sync(self) -> None:
        """Wait until the disk has all that was written."""
        if self._open is not None:
            self._open[1].sync()

    def close(self) -> None:
        """Let go. Nothing is synced."""
        if self._open is not None:
            file, self._open = self._open[1], None
            file.close()

    def _gather(self, block: Block) -> bytes:
        """Have it written with others. Returns its digest."""
        data = block.read()
        digest = block.digest if block.shared is None else digest_of(data)
        if self._gathered_bytes >= PIECE_BYTES:
            self._write_gathered()
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        return digest

    def _write_gathered(self) -> None:
        if not self._gathered:
            return
        assert self._home is not None
        self._opened(self._home).write(b"".join(self._gathered), self._end - self._gathered_bytes)
        self._gathered.clear()
        self._gathered_bytes = 0

    def _written(self, block: Block) -> bytes:
        """Write it, piece by piece: each is still in the processor when it is digested and written."""
        assert self._home is not None
        file, digest = self._opened(self._home), new_digest()
        if not self._room:
            self._room = memoryview(bytearray(PIECE_BYTES))
        for start in range(0, block.nbytes, PIECE_BYTES):
            piece = block.piece(start, self._room)
            digest.update(piece)
            file.write(piece, self._end + start)
        return digest.digest()

    def _opened(self, home: BlockFile) -> WritableFile:
        if self._open is not None and self._open[0] is home:
            return self._open[1]
        self.sync()
        self.close()
        is_new = not home.path.exists()
        if is_new:
            self.spares.become(home.path)
        file = WritableFile(home.path, synced=False)
        self._open = home, file
        if is_new:
            sync_folder(self._folder.path)
        return file


def file_of(block: Block) -> BlockFile:
    """Where a block of a journal is."""
    return cast("BlockFile", block.home)


def blocks_of(state: DurableState) -> Iterator[Block]:
    """All blocks that a state has."""
    for task in state.tasks.values():
        yield from _blocks_in(task.payload)
        for value in result_of(task):
            yield from _blocks_in(value)
    for value in state.data.values():
        yield from _blocks_in(value)


def place_of(block: Block) -> Place:
    """The number of a block's file, where in it, and the digest: nothing else is ever there."""
    return file_of(block).number, block.offset, block.digest


def unreadable(state: DurableState) -> set[Place]:
    """The places of a state's blocks that cannot be read. Reads them all, and those that many have once."""
    blocks = {place_of(block): block for block in blocks_of(state)}
    return {place for place, block in blocks.items() if not _can_be_read(block)}


def first_too_short(state: DurableState) -> Path | None:
    """The first file that is missing, or too short for a state's blocks; None: there is none such.

    Reads none of them: `BlockFile.read` proves the bytes.
    """
    ends: dict[Path, int] = {}
    for block in blocks_of(state):
        path = file_of(block).path
        ends[path] = max(ends.get(path, 0), block.offset + block.nbytes)
    return next((path for path, end in ends.items() if not path.exists() or path.stat().st_size < end), None)


def _can_be_read(block: Block) -> bool:
    try:
        block.read()
    except JournalDamaged:
        return False
    return True


def _blocks_in(value: Payload) -> list[Block]:
    return [buffer for buffer in value.buffers if isinstance(buffer, Block)]
