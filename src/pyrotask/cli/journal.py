"""`pyrotask journal`: what is in a journal, whether it is whole, and how to make it short."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from pyrotask.cli.options import UsageError
from pyrotask.cli.output import Output
from pyrotask.cli.progress import reading

if TYPE_CHECKING:
    from pyrotask.journal.recovery import Folded

HELP = "check, export or compact a broker's journal"

DESCRIPTION = """\
Look after a journal, the folder that `pyrotask serve --journal` keeps its events in.

  check     read all of it, and say whether something is missing
  export    print all of it as JSON, one event a line
  compact   put the present state in the place of the events that led to it"""

EXAMPLE = """\
example:
  pyrotask journal check jobs.journal
  pyrotask journal export --no-payloads jobs.journal > for-a-bug-report.jsonl
  pyrotask journal compact --accept-loss jobs.journal      go on after damage, without what is lost"""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.add_argument("action", choices=("check", "export", "compact"))
    parser.add_argument("journal", metavar="FOLDER", type=Path)
    parser.add_argument(
        "--no-payloads",
        action="store_true",
        help="export: of users' values, only the sizes",
    )
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="compact: a damaged journal, too; the old files are kept beside it",
    )


def run(args: argparse.Namespace, output: Output) -> int:
    """Do it."""
    for option, given, owner in (
        ("--no-payloads", args.no_payloads, "export"),
        ("--accept-loss", args.accept_loss, "compact"),
    ):
        if given and args.action != owner:
            name = shlex.quote(str(args.journal))
            raise UsageError(f"{option} is an option of `pyrotask journal {owner} {option} {name}` only")
    action = {"check": _check, "export": _export, "compact": _compact}[args.action]
    return action(args, output)


def _check(args: argparse.Namespace, output: Output) -> int:
    from pyrotask.journal.folder import Folder
    from pyrotask.journal.recovery import fold_in_use, prove_blocks

    folder = Folder(args.journal)
    with reading(output, args.journal):
        folded = fold_in_use(folder)
        prove_blocks(folder, folded)
    output.document({"whole": True, **_facts(folded), "bytes": folder.size()})
    output.say(f"{args.journal} is whole. {_sentence(folded)}")
    return 0


def _export(args: argparse.Namespace, output: Output) -> int:
    from pyrotask.journal.export import export
    from pyrotask.journal.folder import Folder
    from pyrotask.journal.recovery import require

    folder = Folder(args.journal)
    require(folder)
    with reading(output, args.journal):
        for line in export(folder, payloads=not args.no_payloads):
            if not args.quiet:
                print(json.dumps(line))
    return 0


def _compact(args: argparse.Namespace, output: Output) -> int:
    from pyrotask.journal.repair import compact

    with reading(output, args.journal):
        done = compact(args.journal, accept_loss=args.accept_loss)
    kept = None if done.kept is None else str(done.kept)
    output.document(
        {
            **_facts(done.folded),
            "bytes_before": done.bytes_before,
            "bytes": done.bytes_after,
            "lost_values": done.lost_values,
            "damaged_files": kept,
        }
    )
    if done.kept is not None:
        if done.folded.damage is not None:
            output.warn(f"{done.folded.damage}")
        if done.lost_values:
            output.warn(
                f"{done.lost_values} large values could not be read: tasks that need them were cancelled, "
                "results count as lost with their worker"
            )
        output.say(f"what is lost is lost; the damaged files are in {kept}")
    output.say(f"{args.journal}: {done.bytes_before:,} bytes before, {done.bytes_after:,} now")
    output.say(_sentence(done.folded))
    return 0


def _facts(folded: Folded) -> dict[str, object]:
    return {
        "lineage": folded.lineage,
        "position": folded.position,
        "image_position": folded.image_position,
        "unread_bytes": folded.end.unread_bytes if folded.end is not None else 0,
        "tasks": _tasks(folded),
    }


def _tasks(folded: Folded) -> dict[str, int]:
    counts = folded.state.counts()
    return {name: sum(by_tag.values()) for name, by_tag in zip(counts._fields, counts, strict=True)}


def _sentence(folded: Folded) -> str:
    tasks = _tasks(folded)
    text = (
        f"Up to event {folded.position:,}: {tasks['waiting']:,} tasks wait, {tasks['running']:,} run, "
        f"{tasks['finished']:,} are finished"
    )
    if folded.end is not None and folded.end.unread_bytes:
        text += (
            f". Behind that are {folded.end.unread_bytes} bytes of a commit that was never completed, "
            "and that nobody was told of"
        )
    return text
