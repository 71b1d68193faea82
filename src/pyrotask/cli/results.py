"""`pyrotask results`: the answers of a session, or of keys, from wherever one is."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyrotask.cli import EXIT_FAILED
from pyrotask.cli.hints import broker_of
from pyrotask.cli.options import UsageError, add_connecting, positive, settings_of
from pyrotask.cli.output import Output
from pyrotask.cli.progress import Show, progress
from pyrotask.cli.selecting import Task, each_task, id_of, session_number
from pyrotask.errors import Refused, TaskManagerTermination, UnknownSession

if TYPE_CHECKING:
    from pyrotask.cli.answers import Answer, Sink
    from pyrotask.remote.bulk_proxy import BulkProxy

HELP = "collect the answers of a session, or look up those of keys"

DESCRIPTION = """\
Collect the answers of a session that its own program does not collect (any more): started on Friday,
collected on Monday, from another machine. They are printed, or saved to a folder, and only then
taken over: what was not written out comes again the next time.

With --key, the values of tasks that were submitted with a key: they stay where they are, so they can be
looked up as often as one likes. * and ? in a key stand for any text, and any character.

Values are decoded here: as for the program itself, the modules that they need must be at hand."""

EXAMPLE = """\
examples:
  pyrotask results pi --session friday --save friday/
  pyrotask results pi --session friday --peek               look, and leave them there
  pyrotask results pi --key grid-7 --key 'scan/*' --json

a saved folder has one pickle for each value, and results.jsonl, a line for each answer"""

PAGE = 100
"""Answers that are asked for at once, and taken over together."""

LONGEST_WAIT_S = 50.0

MOST_NAMED = 5

UNFINISHED = ("scheduled", "waiting", "running")


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.add_argument(
        "broker", metavar="LABEL", nargs="?", help="its label, or HOST:PORT (default: the only one there is)"
    )
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--session", metavar="NAME", help="the session's answers")
    whose.add_argument(
        "--key", dest="keys", metavar="KEY", action="append", help="the value of this key, or these"
    )
    parser.add_argument(
        "--save", metavar="FOLDER", type=Path, help="write them there; it is made if it is missing"
    )
    parser.add_argument("--peek", action="store_true", help="leave them there: nothing is taken over")
    parser.add_argument("--wait", action="store_true", help="until the session has no unfinished task")
    parser.add_argument(
        "--limit", metavar="N", type=positive, help="at most so many (default: all there are)"
    )
    add_connecting(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Collect. Fails if a key has no value yet, or an answer could not be written out."""
    sys.path.insert(0, "")  # the user's modules, as with `python -m`
    if output.quiet and not output.json and args.save is None:
        raise UsageError("--quiet says nothing, so the answers would be lost: add --save FOLDER, or --json")
    with broker_of(args, settings_of(args)) as proxy:
        if args.keys is not None:
            return _look_up(proxy, args, output)
        if args.session is None:
            raise UsageError(_whose(proxy))
        session = session_number(args.session, proxy)
        if session == 0:
            raise Refused(
                "the answers of the public session belong to whoever asks for them by getAnyResult "
                f"and getResultWithTag; what there is shows `pyrotask tasks {shlex.quote(proxy.label)}`"
            )
        return (_peek if args.peek else _collect)(proxy, session, args, output)


# --- the answers of a session -------------------------------------------------------------------


def _collect(proxy: BulkProxy, session: int, args: argparse.Namespace, output: Output) -> int:
    from pyrotask.cli.answers import NotWritten

    before = _facts(proxy, args.session)
    if before["is_waited_in"]:
        raise Refused(
            f"the program of session {args.session!r} waits for its answers at this moment, and two cannot "
            f"collect them. To look at them: `{_called(proxy)} --session {shlex.quote(args.session)} --peek`"
        )
    sink = _sink(args, proxy, output, is_copy=False)
    there = before["answers"] + before["handed_out"]
    problem = None
    with progress(output, "answers", min(there, args.limit or there) or None) as show:
        try:
            _take_all(proxy, session, args, sink, show)
        except NotWritten as error:
            problem = error
    sink.conclude(f"of session {args.session!r}")
    after = _facts(proxy, args.session)
    if after["unfinished"]:
        output.say(
            f"its unfinished tasks: {after['unfinished']:,}; the same command collects their answers later"
        )
    if problem is None:
        return 0
    hint = (
        ""
        if args.save
        else f"; to save them: `{_called(proxy)} --session {shlex.quote(args.session)} --save FOLDER`"
    )
    output.warn(f"{problem}. It is still there, and what came after it{hint}")
    return EXIT_FAILED


def _take_all(proxy: BulkProxy, session: int, args: argparse.Namespace, sink: Sink, show: Show) -> None:
    """Write out what there is, page by page; only what was written is taken over.

    Raises:
        NotWritten: at the first answer that could not be.
    """
    written = taken_over = 0
    while args.limit is None or written < args.limit:
        room = PAGE if args.limit is None else min(PAGE, args.limit - written)
        page = _next_page(proxy, session, taken_over, room, wait=args.wait)
        if not page:
            return
        try:
            for delivery, answer in page:
                sink.write(answer)
                taken_over, written = delivery, written + 1
                show(written)
        finally:
            sink.flush()
            proxy.call("collect", session, taken_over, 0, 0)


def _next_page(
    proxy: BulkProxy, session: int, taken_over: int, count: int, *, wait: bool
) -> list[tuple[int, Answer]]:
    from pyrotask.cli.answers import Answer
    from pyrotask.remote.bulk_proxy import CALL_TIMEOUT_S

    while True:
        timeout_s = LONGEST_WAIT_S if wait and _is_unfinished(proxy, session) else 0.0
        patience_s = timeout_s + CALL_TIMEOUT_S
        try:
            reply = proxy.call("collect", session, taken_over, count, timeout_s, timeout_s=patience_s)
        except TaskManagerTermination:
            return []
        deliveries = reply["deliveries"]
        if deliveries or not timeout_s:
            break
    keys = {task["task"]: task["key"] for task in each_task(proxy, {"tasks": [one[1] for one in deliveries]})}
    return [
        (delivery, Answer(task, tag, keys.get(task), outcome)) for delivery, task, tag, outcome in deliveries
    ]


def _is_unfinished(proxy: BulkProxy, session: int) -> bool:
    """Whether more answers will come."""
    reply = proxy.call("tasks", {"session": session, "states": UNFINISHED}, 1)
    while not reply["tasks"] and reply["next"] is not None:
        reply = proxy.call("tasks", {"session": session, "states": UNFINISHED}, 1, reply["next"])
    return bool(reply["tasks"])


def _facts(proxy: BulkProxy, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = proxy.call("sessions", name)
    if not found:
        raise UnknownSession(f"session {name!r} has ended meanwhile")
    return found[0]


# --- looking ------------------------------------------------------------------------------------


def _peek(proxy: BulkProxy, session: int, args: argparse.Namespace, output: Output) -> int:
    return _show(proxy, {"session": session}, args, output, f"of session {args.session!r}")


def _look_up(proxy: BulkProxy, args: argparse.Namespace, output: Output) -> int:
    """Show the values of keys. Fails if one has none."""
    found = _tasks_of(proxy, args.keys)
    code = _show(proxy, {"tasks": [task["task"] for task in found]}, args, output, "by key")
    keys = {task["key"] for task in found}
    for key in args.keys:
        if not any(fnmatchcase(known, key) or known == key for known in keys):
            output.warn(f"no task of {proxy.label} has the key {key!r}")
            code = EXIT_FAILED
    for task in found:
        if task["state"] in UNFINISHED:
            output.warn(
                f"the task of key {task['key']!r}, {id_of(task)}, is {task['state']}: it has no answer yet"
            )
            code = EXIT_FAILED
    return code


def _tasks_of(proxy: BulkProxy, keys: Sequence[str]) -> list[Task]:
    patterns = [key for key in keys if any(sign in key for sign in "*?[")]
    found = {task["task"]: task for task in each_task(proxy, {"keys": keys})}
    for task in each_task(proxy, {}) if patterns else ():
        if task["key"] is not None and any(fnmatchcase(task["key"], pattern) for pattern in patterns):
            found[task["task"]] = task
    return list(found.values())


def _show(
    proxy: BulkProxy, which: Mapping[str, Any], args: argparse.Namespace, output: Output, whose: str
) -> int:
    from pyrotask.cli.answers import Answer

    sink, written, after = _sink(args, proxy, output, is_copy=True), 0, None
    with progress(output, "answers", args.limit) as show:
        while args.limit is None or written < args.limit:
            room = PAGE if args.limit is None else min(PAGE, args.limit - written)
            reply = proxy.call("peek", which, room, after)
            for answer in starmap(Answer, reply["answers"]):
                sink.write(answer)
                written += 1
                show(written)
            sink.flush()
            after = reply["next"]
            if after is None:
                break
    stay = ("", "; it is still there")[written] if written <= 1 else "; they are still there"
    sink.conclude(whose + stay)
    return 0


# --- how ----------------------------------------------------------------------------------------


def _sink(args: argparse.Namespace, proxy: BulkProxy, output: Output, *, is_copy: bool) -> Sink:
    from pyrotask.cli.answers import Folder, Paper

    return Folder(args.save, proxy.lineage, output) if args.save else Paper(output, is_copy=is_copy)


def _called(proxy: BulkProxy) -> str:
    return f"pyrotask results {shlex.quote(proxy.label)}"


def _whose(proxy: BulkProxy) -> str:
    """Say what to type, for who named neither a session nor a key."""
    sessions = [session for session in proxy.call("sessions") if session["answers"] + session["handed_out"]]
    if not sessions:
        return f"whose? No session of {proxy.label} has answers; for those of keys, add --key KEY"
    named = (
        f"`{_called(proxy)} --session {shlex.quote(session['name'])}`" for session in sessions[:MOST_NAMED]
    )
    return f"whose? Type {' or '.join(named)}; or, for those of keys, --key KEY"
