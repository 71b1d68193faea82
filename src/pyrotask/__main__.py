"""`python -m pyrotask` is the same as `pyrotask`."""

from __future__ import annotations

import sys

from pyrotask.cli import main

if __name__ == "__main__":
    sys.exit(main())
