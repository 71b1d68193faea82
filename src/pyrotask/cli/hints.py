"""Which brokers there are, for those who mistyped a label or gave none."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyrotask.errors import BrokerNotFound, NameServerNotFound

if TYPE_CHECKING:
    from pyrotask.config import Settings
    from pyrotask.remote.bulk_proxy import BulkProxy


@contextlib.contextmanager
def with_near_labels(where: str, settings: Settings) -> Iterator[None]:
    """Add the labels that may have been meant to the error for a broker that was not found."""
    try:
        yield
    except BrokerNotFound as error:
        near = difflib.get_close_matches(where, known_labels(settings), n=3)
        if not near or near == [where]:  # known, and dead: the error says so already
            raise
        meant = " or ".join(f"`{shlex.quote(label)}`" for label in near if label != where)
        raise BrokerNotFound(f"{error}. Did you mean {meant}?") from error


def broker_of(args: argparse.Namespace, settings: Settings) -> BulkProxy:
    """Connect to the broker that ``args.broker`` means; None: the only one there is.

    Raises:
        ConnectError: there is no way to it; the text says what to type.
    """
    from pyrotask.remote.bulk_proxy import BulkProxy

    where = args.broker or the_only_label(settings, args.command)
    with with_near_labels(where, settings):
        return BulkProxy(where, settings)


def the_only_label(settings: Settings, command: str = "status") -> str:
    """Return the label of the one broker there is a connection file of.

    Raises:
        BrokerNotFound: there are none, or several; the text says what to type.
    """
    from pyrotask.remote.connection_file import ConnectionFile

    # `explain` has a task before the label.
    called = "pyrotask explain TASK" if command == "explain" else f"pyrotask {command}"
    labels = [file.label for file in ConnectionFile.list_all(settings.runtime_dir)]
    if len(labels) == 1:
        return labels[0]
    if not labels:
        raise BrokerNotFound(
            f"no broker has a connection file in {settings.runtime_dir}: start one with "
            f"`pyrotask serve LABEL`, or name one: `{called} LABEL` or `{called} HOST:PORT`"
        )
    which = ", ".join(f"`{called} {shlex.quote(label)}`" for label in labels)
    raise BrokerNotFound(f"which broker? There are {len(labels)}; type one of {which}")


def known_labels(settings: Settings) -> list[str]:
    """Return the labels in connection files and in the name server, those of dead brokers too.

    Never fails: what cannot be read has no labels. Blocks for at most about the lookup timeout.
    """
    from pyrotask.remote.connection_file import ConnectionFile
    from pyrotask.remote.name_server import list_names

    labels: set[str] = set()
    with contextlib.suppress(OSError):
        labels.update(file.label for file in ConnectionFile.list_all(settings.runtime_dir))
    with contextlib.suppress(NameServerNotFound):
        labels.update(list_names(settings))
    return sorted(labels)
