"""`pyrotask status`: what a broker does, and why what waits waits."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Mapping
from typing import Any

from pyrotask.cli.ended import rest_of
from pyrotask.cli.hints import broker_of
from pyrotask.cli.options import add_connecting, seconds, settings_of
from pyrotask.cli.output import Output, duration

HELP = "show a broker's tasks and processes, and why what waits waits"

DESCRIPTION = """\
Show how many tasks of each tag wait, run and are finished; which processes take part, and
when they were last heard of; and for what waits, what it waits for."""

EXAMPLE = """\
example:
  pyrotask status pi
  pyrotask status pi --watch          again each second, until Ctrl-C
  pyrotask status pi --json           for programs"""

MOST_IDS = 3
"""Running tasks that are named in one row: more is a list for programs."""

MOST_SESSIONS = 10
"""Sessions that are shown: the others, which nobody has used for longer, are for programs."""

IS_AWAY_AFTER_S = 120.0
"""A program that waits for answers is heard of each minute: after twice that, it is not there."""

CLEAR = "\x1b[H\x1b[2J"


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.add_argument(
        "broker", metavar="LABEL", nargs="?", help="its label, or HOST:PORT (default: the only one there is)"
    )
    parser.add_argument(
        "--watch", metavar="SECONDS", type=seconds, nargs="?", const=1.0, help="again and again, until Ctrl-C"
    )
    add_connecting(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Print the status, once or again and again."""
    settings = settings_of(args)
    proxy = broker_of(args, settings)
    try:
        while True:
            status = proxy.call("status")
            if args.watch is not None and output.is_terminal:
                output.say(CLEAR)
            output.document(status)
            show(status, output)
            if status["terminated"]:
                output.say()
                output.say("\n".join(rest_of(status, settings)))
            if args.watch is None:
                return 0
            time.sleep(args.watch)
    finally:
        proxy.close()


def show(status: Mapping[str, Any], output: Output) -> None:
    """Print a status for people."""
    output.say(_headline(status))
    if status["journal"]:
        output.say(_journal_line(status["journal"]))
    tasks = status["tasks"]
    if tasks["waiting"]:
        output.say()
        output.table(
            ("tag", "waiting", "running", "finished"),
            [
                (tag, tasks["waiting"][tag], tasks["running"].get(tag, 0), tasks["finished"].get(tag, 0))
                for tag in sorted(tasks["waiting"])
            ],
            title="tasks",
        )
    if status["processes"]:
        output.say()
        output.table(
            ("process", "kind", "tags", "runs", "last heard of", "info"),
            [_process_row(process) for process in status["processes"]],
            title="processes",
        )
    if status["sessions"]:
        output.say()
        _show_sessions(status, output)
    if status["explanations"] and not status["terminated"]:
        output.say("\nwhy tasks wait:")
        for sentence in status["explanations"]:
            output.say(f"  {sentence}")
    if (
        any(tasks["waiting"].values())
        and not status["terminated"]
        and not any(p["kind"] == "worker" for p in status["processes"])
    ):
        output.say(f"  start a worker: pyrotask worker {shlex.quote(status['label'])} -n 2 --module MODULE")


def _show_sessions(status: Mapping[str, Any], output: Output) -> None:
    shown = status["sessions"][:MOST_SESSIONS]
    more = status["sessions_open"] - len(shown)
    output.table(
        ("session", "open for", "last heard of", "unfinished", "to collect", "handed out"),
        [_session_row(session) for session in shown],
        title=f"sessions ({more:,} more, not heard of for longer)" if more else "sessions",
    )
    alone = [one for one in shown if one["answers"] + one["handed_out"] and _silent_s(one) > IS_AWAY_AFTER_S]
    if alone:
        label, name = shlex.quote(status["label"]), shlex.quote(alone[0]["name"])
        output.say(
            f"  to collect without its program: pyrotask results {label} --session {name} --save FOLDER"
        )


def _session_row(session: Mapping[str, Any]) -> tuple[object, ...]:
    heard = "waits now" if session["is_waited_in"] else f"{duration(_silent_s(session))} ago"
    open_for = duration(max(0.0, time.time() - session["opened_at"]))
    return (
        session["name"],
        open_for,
        heard,
        session["unfinished"],
        session["answers"],
        session["handed_out"],
    )


def _silent_s(session: Mapping[str, Any]) -> float:
    return 0.0 if session["is_waited_in"] else max(0.0, time.time() - session["heard_at"])


def _headline(status: Mapping[str, Any]) -> str:
    counts = {state: sum(by_tag.values()) for state, by_tag in status["tasks"].items()}
    up = duration(max(0.0, time.time() - status["started_at"]))
    line = (
        f"{status['label']}: {'terminated' if status['terminated'] else 'serving'}, up {up}, "
        f"pyrotask {status['version']}; tasks: {counts['waiting']} waiting, {counts['running']} running, "
        f"{counts['finished']} finished"
    )
    if status["late_answers"]:
        line += f"; late answers dropped: {status['late_answers']}"
    return line


def _journal_line(journal: Mapping[str, Any]) -> str:
    line = (
        f"journal {journal['path']}: {journal['bytes']:,} bytes; policy {journal['policy']}, "
        f"what can be lost: {journal['can_lose']}"
    )
    if not journal["has_room"]:
        line += "; its disk is almost full, so new tasks are refused"
    return line


def _process_row(process: Mapping[str, Any]) -> tuple[object, ...]:
    running = process["running"]
    shown = ", ".join(map(str, running[:MOST_IDS]))
    heard = duration(process["silent_s"]) + " ago" if process["silent_s"] is not None else None
    return (
        process["id"],
        process["kind"],
        "any" if process["tags"] is None else ", ".join(sorted(process["tags"])),
        f"{shown}, and {len(running) - MOST_IDS} more" if len(running) > MOST_IDS else shown,
        heard if process["connected"] else f"{heard or ''} (no connection)".strip(),
        process["info"],
    )
