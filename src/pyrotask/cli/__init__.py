"""The command line: `pyrotask serve`, `worker`, `status`, `tasks`, and those in `parser.COMMANDS`.

One file a command. Each has the same three things: `HELP`, a line; `add_to`, which describes its
arguments; `run`, which does it and returns the exit code. What is slow to import is imported
by `run`, so that `pyrotask --help` answers at once.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (None: the process's own) and return its exit code.

    Expected errors are told in one line on stderr, never as a traceback. May exit instead of
    returning, after ``--help`` and for arguments that argparse refuses.
    """
    try:
        return _main(argv)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `pyrotask list | head -1`: nobody reads on, and that is fine
        from pyrotask.cli.output import forget

        forget(sys.stdout)
        return 0


def _main(argv: Sequence[str] | None) -> int:
    from pyrotask.cli.options import UsageError, check_labels
    from pyrotask.cli.output import Output
    from pyrotask.cli.parser import parse
    from pyrotask.errors import PyrotaskError

    args = parse(argv)
    output = Output(json=args.json, quiet=args.quiet)
    try:
        check_labels(args)
        code: int = args.run(args, output)
        sys.stdout.flush()
    except UsageError as error:
        output.error(error)
        return EXIT_USAGE
    except BrokenPipeError:
        raise
    except (PyrotaskError, OSError) as error:
        output.error(error)
        return EXIT_FAILED
    return code
