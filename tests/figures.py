"""What a test says of what it measured: see the fixture `figure`."""

from __future__ import annotations

from collections.abc import Callable

Figure = Callable[[str], None]
