"""Which tasks a command is about: its options, and what is said of them to the broker."""

from __future__ import annotations

import argparse
import difflib
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pyrotask.cli.options import UsageError
from pyrotask.errors import UnknownSession, UnknownTask

if TYPE_CHECKING:
    from pyrotask.remote.bulk_proxy import BulkProxy

Task = dict[str, Any]
"""A task as the bulk call `tasks` tells of it."""

STATES = ("scheduled", "waiting", "running", "succeeded", "failed", "cancelled")
PUBLIC = "public"
"""What the session of the reference API is called here. It has no name of its own."""

PAGE = 1000


class TaskId(NamedTuple):
    """A task as people name it: ``sqrt_17``, or only ``17``."""

    number: int
    tag: str | None

    def __str__(self) -> str:
        return str(self.number) if self.tag is None else f"{self.tag}_{self.number}"


def add_selecting(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which tasks are meant."""
    group = parser.add_argument_group("which tasks: those for which all that is given is true")
    group.add_argument(
        "--id",
        dest="ids",
        metavar="TASK",
        type=task_id,
        nargs="+",
        action="extend",
        help="these: sqrt_17, or 17",
    )
    group.add_argument("--tag", help="those of this tag")
    group.add_argument(
        "--state",
        dest="states",
        choices=STATES,
        action="append",
        metavar="STATE",
        help=f"those in this state, or these, if given again: {', '.join(STATES)}",
    )
    group.add_argument(
        "--session", metavar="NAME", help=f"those whose answers it gets; {PUBLIC}: what belongs to everybody"
    )
    group.add_argument(
        "--key", dest="keys", metavar="KEY", action="append", help="those with this key, or these"
    )


def add_selecting_one(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names one task."""
    parser.add_argument("task", metavar="TASK", type=task_id, help="its id, sqrt_17, or only its number, 17")


def task_id(text: str) -> TaskId:
    """Parse a task's id, as argparse's ``type``."""
    tag, _, number = text.rpartition("_")
    if not (number.isascii() and number.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no task: give its id, like sqrt_17, or its number")
    return TaskId(int(number), tag or None)


class Chosen(NamedTuple):
    """What the options have said."""

    which: dict[str, Any]
    """The selection, as the broker reads it."""
    tasks: dict[int, Task]
    """Those that were named one by one, and are there."""
    missing: list[str]
    """Sentences about those that were, and are not."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said, so that all tasks would be meant."""
        return not self.which


def chosen(args: argparse.Namespace, proxy: BulkProxy) -> Chosen:
    """Read the options. Asks the broker about names and ids.

    Raises:
        UnknownSession: none of that name is open.
        UnknownTask: a task of that number has another tag: it is not the one that was meant.
    """
    which: dict[str, Any] = {}
    for name in ("tag", "states", "keys"):
        if getattr(args, name) is not None:
            which[name] = getattr(args, name)
    if args.session is not None:
        which["session"] = session_number(args.session, proxy)
    if args.ids is None:
        return Chosen(which, {}, [])
    found = {task["task"]: task for task in each_task(proxy, {"tasks": [one.number for one in args.ids]})}
    for one in args.ids:
        _check_tag(one, found, proxy)
    missing = [_missing(one, proxy) for one in args.ids if one.number not in found]
    return Chosen({**which, "tasks": sorted(found)}, found, missing)


def the_task(one: TaskId, proxy: BulkProxy) -> Task:
    """Return the task that was named.

    Raises:
        UnknownTask: it is not there (any more), or has another tag.
    """
    found: Task = proxy.call("task", one.number)
    _check_tag(one, {one.number: found}, proxy)
    return found


def session_number(name: str, proxy: BulkProxy) -> int:
    """Return the number of the session of that name.

    Raises:
        UnknownSession: none is open; the text says which are.
    """
    found = proxy.call("sessions", name)
    if found:
        return int(found[0]["id"])
    if name == PUBLIC:
        return 0
    known = [session["name"] for session in proxy.call("sessions")]
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "it has ended, or never was;"
    raise UnknownSession(
        f"no session {name!r} is open: {hint} `pyrotask status {shlex.quote(proxy.label)}` shows which are"
    )


def each_task(proxy: BulkProxy, which: Mapping[str, Any], page: int = PAGE) -> Iterator[Task]:
    """Yield the tasks of a selection, in the order of their numbers, fetched page by page."""
    after = None
    while True:
        reply = proxy.call("tasks", which, page, after)
        yield from reply["tasks"]
        after = reply["next"]
        if after is None:
            return


def id_of(task: Task) -> str:
    """The id of a task."""
    return f"{task['tag']}_{task['task']}"


def require_selection(which: Chosen, args: argparse.Namespace) -> None:
    """Refuse to do it to all tasks by mistake.

    Raises:
        UsageError: nothing was said; the text says what to type.
    """
    if which.is_empty:
        called = f"pyrotask {args.command}" + (f" {shlex.quote(args.broker)}" if args.broker else "")
        state = {"cancel": "waiting", "retry": "failed"}.get(args.command, "succeeded")
        raise UsageError(
            "say which tasks, by --id, --tag, --state, --session or --key; for example "
            f"`{called} --state {state}`"
        )


def _check_tag(one: TaskId, found: Mapping[int, Task], proxy: BulkProxy) -> None:
    task = found.get(one.number)
    if task is not None and one.tag not in (None, task["tag"]):
        label, tag = shlex.quote(proxy.label), shlex.quote(str(one.tag))
        raise UnknownTask(
            f"there is no task {one} at {proxy.label}: number {one.number} is {id_of(task)}. Nothing was "
            f"done; those of that tag: `pyrotask tasks {label} --tag {tag}`"
        )


def _missing(one: TaskId, proxy: BulkProxy) -> str:
    try:
        proxy.call("task", one.number)
    except UnknownTask as error:
        return str(error).replace(f"task {one.number}", f"task {one}")
    return f"task {one} came only now"
