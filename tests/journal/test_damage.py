"""Damaged files: what was acknowledged comes back, or the opening is refused with the position.

Each test damages a copy of one small journal, which has an image, a log behind it, and a mark.
"""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyrotask.journal import JournalDamaged, Policy, open_journal
from pyrotask.journal.blocks import blocks_of, file_of
from pyrotask.journal.folder import Folder
from pyrotask.journal.frames import HEAD_BYTES, FrameReader
from pyrotask.journal.mark import SLOT_BYTES
from pyrotask.journal.recovery import Folded, fold, prove_blocks
from pyrotask.journal.repair import compact
from tests.journal.lives import append_one_by_one, life, state_after, write

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

COMMANDS = life(7, steps=40)
FIRST_HALF = COMMANDS[: len(COMMANDS) // 2]
EVENTS = sum(map(len, COMMANDS))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal"
    write(path, FIRST_HALF)
    compact(path)
    opened = open_journal(path)
    append_one_by_one(opened.journal, COMMANDS[len(FIRST_HALF) :])
    opened.journal.close()
    (path / "lock").unlink()
    return path


def check(path: Path) -> Folded | None:
    """All that was acknowledged is there (it is returned), or the journal is refused (None)."""
    try:
        folded = fold(Folder(path))
        prove_blocks(Folder(path), folded)
    except JournalDamaged as error:
        refusal = error
    else:
        assert folded.position == EVENTS
        assert folded.state.image() == state_after(COMMANDS).image()
        return folded
    assert refusal.position <= EVENTS
    assert re.search(rf"up to event {refusal.position}\b", str(refusal))
    return None


def places_in(kind: str, data: Sequence[int]) -> Iterable[int]:
    """Every byte; of the mark those that say something, and some of the rest."""
    if kind != "mark":
        return range(len(data))
    return [p for p in range(len(data)) if p % SLOT_BYTES < 64 or p % 512 == 0]


def files_of(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


def test_the_undamaged_journal_is_whole(journal: Path) -> None:
    assert {name.rpartition(".")[2] for name in files_of(journal)} == {"blocks", "image", "log", "mark"}
    assert check(journal) is not None


def _slow(kind: str) -> ParameterSet:
    """Each byte of it is a journal that is checked: seconds."""
    return pytest.param(kind, marks=pytest.mark.slow)


@pytest.mark.parametrize("kind", [_slow("*.log"), _slow("*.image"), "mark"])
def test_a_file_cut_at_any_byte_is_noticed_or_does_no_harm(journal: Path, kind: str) -> None:
    (file,) = journal.glob(kind)
    whole = file.read_bytes()
    refused = 0
    for length in places_in(kind, whole):
        file.write_bytes(whole[:length])
        refused += check(journal) is None

    # The second slot of the mark can be missing without a loss; anything else cannot.
    assert refused == len(whole) if kind != "mark" else refused


@pytest.mark.parametrize("kind", [_slow("*.log"), _slow("*.image"), "mark"])
def test_a_flipped_bit_anywhere_is_noticed_or_does_no_harm(journal: Path, kind: str) -> None:
    (file,) = journal.glob(kind)
    whole = bytearray(file.read_bytes())
    for place in places_in(kind, whole):
        bit = 1 << place % 8
        whole[place] ^= bit
        file.write_bytes(whole)
        folded = check(journal)
        # All of a log and an image counts; the mark has a spare, and unused room.
        assert folded is None or kind == "mark", place
        whole[place] ^= bit


def needed(path: Path) -> dict[str, set[int]]:
    """The bytes of large values that are there to be read again, by the names of their files."""
    places: dict[str, set[int]] = {}
    for block in blocks_of(fold(Folder(path)).state):
        bytes_of = places.setdefault(file_of(block).path.name, set())
        bytes_of.update(range(block.offset, block.offset + block.nbytes))
    return places


def test_a_file_of_large_values_cut_before_the_end_of_one_is_noticed(journal: Path) -> None:
    for name, places in needed(journal).items():
        whole = (journal / name).read_bytes()
        for length in range(len(whole)):
            (journal / name).write_bytes(whole[:length])
            assert (check(journal) is None) == (length <= max(places, default=-1)), (name, length)
        (journal / name).write_bytes(whole)


def test_a_flipped_bit_in_a_large_value_that_is_needed_is_noticed(journal: Path) -> None:
    for name, places in needed(journal).items():
        whole = bytearray((journal / name).read_bytes())
        assert places
        for place in range(len(whole)):
            whole[place] ^= 1 << place % 8
            (journal / name).write_bytes(whole)
            assert (check(journal) is None) == (place in places), (name, place)
            whole[place] ^= 1 << place % 8
        (journal / name).write_bytes(whole)


def test_a_missing_file_of_large_values_is_noticed(journal: Path) -> None:
    for name in needed(journal):
        (journal / name).rename(journal / "elsewhere")
        assert check(journal) is None
        (journal / "elsewhere").rename(journal / name)


def test_what_is_laid_out_behind_the_end_may_hold_anything(journal: Path) -> None:
    (log,) = journal.glob("*.log")
    with log.open("ab") as file:
        file.write(bytes(100) + b"garbage" + bytes(1000))
    folded = check(journal)

    assert folded is not None
    assert folded.end is not None
    assert folded.end.unread_bytes == 107


def test_a_commit_that_was_never_completed_is_cut_off_and_the_next_run_goes_on(journal: Path) -> None:
    (log,) = journal.glob("*.log")
    first_frame = _frames(log)[0]
    with log.open("ab") as file:
        file.write(first_frame[:-1])
    opened = open_journal(journal)
    more = life(8)[1:4]
    opened.journal.wait(opened.journal.append([more[0][0]]))
    opened.journal.close()

    assert opened.dropped_bytes == len(first_frame) - 1
    assert fold(Folder(journal)).position == EVENTS + 1


def test_what_was_cut_off_never_comes_back(journal: Path) -> None:
    """Old bytes behind the end must not become part of a commit that is written over them."""
    (log,) = journal.glob("*.log")
    frames = _frames(log)
    with log.open("ab") as file:
        file.write(b"\1" + b"".join(frames))
    for _ in range(3):
        open_journal(journal).journal.close()

    assert check(journal) is not None
    assert log.stat().st_size == HEAD_BYTES + sum(map(len, frames))


def _frames(log: Path) -> list[bytes]:
    data = log.read_bytes()
    ends = [HEAD_BYTES]
    with log.open("rb") as file:
        file.seek(HEAD_BYTES)
        reader = FrameReader(file, len(data))
        ends += [reader.end for _ in reader]
    return [data[start:end] for start, end in itertools.pairwise(ends)]


def _lose_a_commit_in_the_middle(journal: Path) -> None:
    (log,) = journal.glob("*.log")
    frames = _frames(log)
    del frames[len(frames) // 2]
    log.write_bytes(log.read_bytes()[:HEAD_BYTES] + b"".join(frames))


def _lose_the_log(journal: Path) -> None:
    next(journal.glob("*.log")).unlink()


def _lose_the_image(journal: Path) -> None:
    next(journal.glob("*.image")).unlink()


def _lose_the_mark(journal: Path) -> None:
    (journal / "mark").unlink()


def _lose_all_but_the_mark(journal: Path) -> None:
    _lose_the_log(journal)
    _lose_the_image(journal)


def _take_the_log_of_another_journal(journal: Path) -> None:
    other = journal.with_name("other")
    write(other, COMMANDS)
    (log,) = journal.glob("*.log")
    shutil.copy(next(other.glob("*.log")), log)


@pytest.mark.parametrize(
    "damage",
    [
        _lose_a_commit_in_the_middle,
        _lose_the_log,
        _lose_the_image,
        _lose_the_mark,
        _lose_all_but_the_mark,
        _take_the_log_of_another_journal,
    ],
    ids=lambda damage: damage.__name__.removeprefix("_"),
)
def test_what_is_missing_or_strange_is_noticed(journal: Path, damage: Callable[[Path], None]) -> None:
    damage(journal)

    assert check(journal) is None


def test_a_refused_journal_is_left_as_it_is(journal: Path) -> None:
    _lose_a_commit_in_the_middle(journal)
    before = {path.name: path.read_bytes() for path in journal.iterdir()}
    with pytest.raises(JournalDamaged):
        open_journal(journal)
    (journal / "lock").unlink()

    assert {path.name: path.read_bytes() for path in journal.iterdir()} == before


def test_the_message_says_where_and_what_to_do(journal: Path) -> None:
    (log,) = journal.glob("*.log")
    end = HEAD_BYTES + len(_frames(log)[0])
    log.write_bytes(log.read_bytes()[: end + 5])
    with pytest.raises(JournalDamaged) as refusal:
        open_journal(journal)
    position = sum(map(len, FIRST_HALF)) + len(COMMANDS[len(FIRST_HALF)])

    assert refusal.value.position == position
    assert f"up to event {position} ({log.name}, byte {end})" in str(refusal.value)
    assert f"everything up to event {EVENTS} was acknowledged" in str(refusal.value)
    assert f"pyrotask journal compact --accept-loss {journal}" in str(refusal.value)


def test_a_damaged_image_does_no_harm_while_all_that_it_has_is_still_there(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, COMMANDS)
    folder = Folder(path)
    folder.image_at(EVENTS).write_bytes(b"not an image")
    opened = open_journal(path)
    opened.journal.close()

    assert opened.state.image() == state_after(COMMANDS).image()
    assert folder.images() == []
    assert len(folder.logs()) == 1


def test_under_a_weak_policy_unsynced_events_may_be_lost_from_their_end_on(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    opened = open_journal(path, Policy.NEVER)
    append_one_by_one(opened.journal, COMMANDS)
    # As after a power failure: the journal was not closed, and the disk has less than was written.
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    opened.journal.close()
    (log,) = copy.glob("*.log")
    data = log.read_bytes().rstrip(b"\0")
    log.write_bytes(data[: len(data) * 9 // 10])
    folded = fold(Folder(copy))

    assert 0 < folded.position < EVENTS
    assert folded.state.image() == state_after(COMMANDS, folded.position).image()
