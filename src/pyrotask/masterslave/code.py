"""The code of a job, which slaves get from the manager: kept as labelled data by the master.

Whoever has a slave run this has it run whatever the master sent: see the package's text.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pyrotask.errors import UnknownLabel
from pyrotask.masterslave import role
from pyrotask.masterslave.telling import say

if TYPE_CHECKING:
    from pyrotask.masterslave.role import SlaveRole
    from pyrotask.masterslave.states import Data

CODE_LABEL = "slave_code"
DIRECTORY_LABEL = "cwd"
_DETAILS_LABEL = "slave_code_details"

_MODULE_CODE = """\
from pyrotask.masterslave.jobs import start_slave_of_module
start_slave_of_module({module!r})
"""


@dataclass(frozen=True, slots=True)
class JobCode:
    """What a slave runs, and how.

    Attributes:
        source: the text of the script.
        directory: the directory to run it in.
        file: the script's file, as the master has it.
        path: where modules of the user's own are looked for first; then in the directory.
        argv: the arguments that the script saw.
        package: the package that it belongs to (``python -m``); None: none.
        job: which `runJob` call of it is meant, from 1 on; None: no matter.
    """

    source: str
    directory: str
    file: str
    path: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    package: str | None = None
    job: int | None = None

    @classmethod
    def of_main(cls, job: int) -> JobCode | None:
        """The script that this process runs; None: it runs none (it is interactive)."""
        main = sys.modules["__main__"]
        file = getattr(main, "__file__", None)
        if file is None or not Path(file).is_file():
            return None
        package = None if getattr(main, "__spec__", None) is None else main.__package__
        source = Path(file).read_text("utf-8")
        file = str(Path(file).resolve())
        return cls(source, str(Path.cwd()), file, _own_path(), tuple(sys.argv), package, job)

    @classmethod
    def of_script(cls, script: str) -> JobCode:
        """A script of the slaves' own."""
        path = Path(script).resolve()
        own = (str(path.parent), *_own_path())
        return cls(path.read_text("utf-8"), str(Path.cwd()), str(path), own, (str(script),))

    @classmethod
    def of_module(cls, module: str) -> JobCode:
        """A module with the slaves' handlers."""
        source = _MODULE_CODE.format(module=module)
        return cls(source, str(Path.cwd()), f"<slave of {module}>", _own_path(), (module,))

    def store(self, task_manager: Data) -> None:
        """Give it to the manager, for slaves to get."""
        details = asdict(self)
        source, directory = details.pop("source"), details.pop("directory")
        task_manager.storeData(**{CODE_LABEL: source, DIRECTORY_LABEL: directory, _DETAILS_LABEL: details})

    @classmethod
    def retrieve(cls, retrieve: Callable[[str], Any]) -> JobCode:
        """Get it from the manager; ``retrieve`` gets the value under a label.

        Raises:
            UnknownLabel: the manager has no code for slaves.
        """
        source, directory = retrieve(CODE_LABEL), retrieve(DIRECTORY_LABEL)
        try:
            details = retrieve(_DETAILS_LABEL)
        except UnknownLabel:  # a script has stored the two others by itself
            details = {"file": "<slave code>"}
        return cls(source, directory, **details)

    def run_as(self, me: SlaveRole) -> None:
        """Run it in this process, as its ``__main__`` module, in that role. Raises what it raises."""
        self._enter_directory()
        main = ModuleType("__main__")
        main.__file__ = self.file
        main.__package__ = self.package
        sys.modules["__main__"] = main
        sys.argv = list(self.argv) or [self.file]
        # The file need not be there, or be the same: tracebacks shall show what was run.
        lines = self.source.splitlines(keepends=True)
        linecache.cache[self.file] = (len(self.source), None, lines, self.file)
        me.job = self.job
        role.take(me)
        exec(compile(self.source, self.file, "exec"), vars(main))  # noqa: S102 - what a slave is for

    def _enter_directory(self) -> None:
        try:
            os.chdir(self.directory)
        except OSError as error:
            here = Path.cwd()
            say(f"the master's directory {self.directory} is not here ({error.strerror}); going on in {here}")
        sys.path[:0] = [*self.path, str(Path.cwd())]


def _own_path() -> tuple[str, ...]:
    """The directory of the script that this process runs, where Python looks for modules first."""
    first = Path(sys.path[0]) if sys.path else Path()
    return (str(first.resolve()),) if first.is_dir() else ()
