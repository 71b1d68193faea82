"""Answers on their way out of a broker: to the screen, or to a folder.

A sink either writes an answer out whole or raises `NotWritten`: only what was written out may be
taken over, since it never comes again.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from pyrotask.cli.output import Output
from pyrotask.client.outcomes import decoded
from pyrotask.core.model import PLAIN
from pyrotask.errors import PayloadError, PyrotaskError
from pyrotask.journal.disk import sync_folder
from pyrotask.payload import pickle_file
from pyrotask.remote.labels import file_stem

INDEX = "results.jsonl"


class NotWritten(PyrotaskError):
    """An answer could not be written out whole; the text says why."""


class Answer(NamedTuple):
    """The answer of a task."""

    number: int
    tag: str
    key: str | None
    outcome: list[Any]
    """As it came over the wire: see docs/protocol.md."""

    @property
    def id(self) -> str:
        """The task's id."""
        return f"{self.tag}_{self.number}"

    @property
    def is_failure(self) -> bool:
        """Whether there is no value."""
        return bool(self.outcome[0] != "value")

    def read(self) -> tuple[Any, BaseException | None]:
        """The value and None, or None and what the task raised.

        Raises:
            NotWritten: the value needs something that is not here.
        """
        value, error = decoded(self.outcome, self.tag, self.number)
        if error is not None and not self.is_failure:
            raise NotWritten(f"{self.id}: {error}")
        return value, error


class Sink(Protocol):
    """Where answers go."""

    def write(self, answer: Answer) -> None:
        """Write it out. Raises NotWritten if it would not be whole."""

    def flush(self) -> None:
        """All that was written is out for good on return."""

    def conclude(self, whose: str) -> None:
        """Tell how many there were."""


class Paper:
    """The screen, or whatever stdout is: a line for each answer, or a JSON document.

    Args:
        output: how it is told.
        is_copy: the answers stay where they are, so that also an excerpt may be shown.
    """

    def __init__(self, output: Output, *, is_copy: bool) -> None:
        self._output = output
        self._is_copy = is_copy
        self._written = self._failures = 0

    def write(self, answer: Answer) -> None:
        """Print it. A Python object is no text: it is shown only where it stays."""
        if not (self._is_copy or answer.is_failure or answer.outcome[1][0] == PLAIN):
            raise NotWritten(f"{answer.id} is a Python object, which a text cannot replace")
        try:
            value, error = answer.read()
        except NotWritten as why:
            if not self._is_copy:
                raise
            self._output.document(facts_of(answer) | {"problem": str(why)})
            self._output.say(str(why))
        else:
            self._output.document(facts_of(answer) | told(value, error))
            self._output.say(_line(answer, value, error))
        self._written += 1
        self._failures += answer.is_failure

    def flush(self) -> None:
        """Done by each `write`."""

    def conclude(self, whose: str) -> None:
        """Tell how many there were, but not to programs."""
        self._output.say(f"{_counted(self._written, self._failures)} {whose}")


class Folder:
    """A folder with a pickle for each value or exception, and an index with a line for each answer.

    Raises:
        NotWritten: it has the answers of another broker, whose tasks have the same ids.
    """

    def __init__(self, path: Path, lineage: str, output: Output) -> None:
        self._path = path
        self._lineage = lineage
        self._output = output
        self._unsynced: list[Path] = []
        self._written = self._failures = 0
        path.mkdir(parents=True, exist_ok=True)
        self._index_path = path / INDEX
        self._check_lineage()

    def write(self, answer: Answer) -> None:
        """Write its files. What is there of the same task is replaced; in the index, the last line counts."""
        value, error = answer.read()
        file = self._path / f"{file_stem(answer.id)}.pickle"
        try:
            file.write_bytes(pickle_file(value if error is None else error))
        except PayloadError as why:
            raise NotWritten(f"{answer.id}: {why}") from why
        line = facts_of(answer) | told(value, error) | {"file": file.name, "lineage": self._lineage}
        with self._index_path.open("a", encoding="utf-8") as index:
            index.write(json.dumps(line) + "\n")
        self._unsynced.append(file)
        self._written += 1
        self._failures += answer.is_failure

    def flush(self) -> None:
        """Everything is on the disk."""
        for file in (*self._unsynced, self._index_path):
            with file.open("rb") as opened:
                _sync(opened)
        self._unsynced.clear()
        sync_folder(self._path)

    def conclude(self, whose: str) -> None:
        """Tell how many there were, and where they are."""
        self._output.say(f"{_counted(self._written, self._failures)} {whose}, saved in {self._path}")
        self._output.document(
            {"saved": self._written, "failures": self._failures, "folder": str(self._path), "index": INDEX}
        )

    def _check_lineage(self) -> None:
        try:
            with self._index_path.open(encoding="utf-8") as index:
                first = index.readline()
        except FileNotFoundError:
            self._index_path.touch()
            return
        if first and json.loads(first).get("lineage") != self._lineage:
            raise NotWritten(
                f"{self._path} has results of another broker, whose tasks have the same ids: "
                "name another folder"
            )


def facts_of(answer: Answer) -> dict[str, Any]:
    """Whose answer it is, for programs."""
    outcome = answer.outcome[0]
    return {"task": answer.id, "tag": answer.tag, "key": answer.key, "outcome": outcome}


def told(value: Any, error: BaseException | None) -> dict[str, Any]:
    """What it is, for programs: ``value`` where JSON has it, else its ``repr``."""
    if error is not None:
        cause = error.__cause__
        traceback = "" if cause is None else str(cause).strip()
        return {"type": type(error).__name__, "message": str(error), "traceback": traceback}
    return {"value": value} if _is_json(value) else {"repr": repr(value)}


def _is_json(value: Any) -> bool:
    if value is None or type(value) in {bool, int, str}:
        return True
    if type(value) is float:
        return math.isfinite(value)
    if type(value) in {list, tuple}:
        return all(map(_is_json, value))
    return type(value) is dict and all(type(k) is str and _is_json(v) for k, v in value.items())


def _line(answer: Answer, value: Any, error: BaseException | None) -> str:
    name = answer.id if answer.key is None else f"{answer.id} (key {answer.key!r})"
    if error is None:
        return f"{name}: {value!r}"
    facts = told(value, error)
    text = f"{name} has no value: {facts['type']}: {facts['message']}"
    return "\n    ".join([text, *facts["traceback"].splitlines()])


def _counted(answers: int, failures: int) -> str:
    text = "1 answer" if answers == 1 else f"{answers:,} answers"
    return text + (f" ({failures:,} without a value)" if failures else "")


def _sync(file: IO[bytes]) -> None:
    os.fsync(file.fileno())
