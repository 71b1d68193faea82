"""The helper process that makes images.

    python -m pyrotask.journal.helper FOLDER POSITION

The broker never walks its own state for an image: this process reads the files as a recovery
does, up to that position, and writes the image beside them. It lives no longer than its
broker: it ends when its standard input is closed.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from pyrotask.errors import PyrotaskError
from pyrotask.journal.folder import Folder
from pyrotask.journal.recovery import fold
from pyrotask.journal.snapshot import write_image


def main(arguments: list[str]) -> int:
    """Make the image of a journal that somebody else writes."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    if sys.platform != "win32":
        os.nice(5)  # whoever submits goes first
    folder, position = Folder(Path(arguments[0])), int(arguments[1])
    try:
        folded = fold(folder, up_to=position)
        write_image(folder, folded.lineage, position, folded.state, folded.last_at)
    except (PyrotaskError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _end_with_input() -> None:
    # Not sys.stdin: a thread that waits in there would hold the interpreter up at its end.
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
