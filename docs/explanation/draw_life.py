"""Draws `life-of-a-task.svg` from the table that the broker itself goes by, and lists its events.

    python docs/explanation/draw_life.py

A test compares: a change of the table is a change of the picture.
"""

from __future__ import annotations

from pathlib import Path

from pyrotask.core.model import FINISHED, State
from pyrotask.core.transitions import TABLE

FOLDER = Path(__file__).parent
PICTURE = FOLDER / "life-of-a-task.svg"
PAGE = FOLDER / "life-of-a-task.md"
BEGIN, END = "<!-- events: made by draw_life.py -->\n", "<!-- end of events -->"

NOT_YET, GONE = "no task", "gone"
COLUMNS = [NOT_YET, *(state.value for state in State), GONE]
LEFT, TOP, WIDE, HIGH = 210, 50, 88, 26


def name_of(event) -> str:
    return event.__name__


def moves():
    """For each event: in which columns it happens, and in which ones the task may be afterwards."""
    for event, ways in TABLE.items():
        sources = [NOT_YET if source is None else source.value for source in ways]
        targets = {source if target is source else target for source in ways for target in ways[source]}
        stays = all(ways[source] == {source} for source in ways)
        if stays:
            yield name_of(event), [GONE if s == NOT_YET else s for s in sources], []
        else:
            yield name_of(event), sources, [GONE if t is None else t.value for t in targets]


def x_of(column: str) -> int:
    return LEFT + WIDE * COLUMNS.index(column) + WIDE // 2


def head(x: int, y: int, towards: int) -> str:
    back = x - 9 * towards
    return f'<path d="M{x} {y} L{back} {y - 5} L{back} {y + 5} Z" fill="#1a5fb4"/>'


def row(y: int, name: str, sources: list[str], targets: list[str]) -> list[str]:
    places = [x_of(column) for column in (*sources, *targets)]
    drawn = [f'<text x="12" y="{y + 4}">{name}</text>']
    if targets:
        drawn.append(
            f'<path d="M{min(places)} {y} H{max(places)}" stroke="#1a5fb4" stroke-width="2" fill="none"/>'
        )
    for source in sources:
        colour = "#1a5fb4" if targets else "#9a9996"
        drawn.append(f'<circle cx="{x_of(source)}" cy="{y}" r="5" fill="{colour}"/>')
    for target in sorted(targets, key=COLUMNS.index):
        x = x_of(target)
        if target in sources:
            drawn.append(f'<circle cx="{x}" cy="{y}" r="8" fill="none" stroke="#1a5fb4" stroke-width="2"/>')
        else:
            drawn.append(head(x, y, 1 if x > min(map(x_of, sources)) else -1))
    return drawn


def picture() -> str:
    rows = list(moves())
    width, height = LEFT + WIDE * len(COLUMNS) + 10, TOP + HIGH * len(rows) + 12
    finished = {state.value for state in FINISHED}
    attributes = f'viewBox="0 0 {width} {height}" width="{width}" font-family="sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for column in COLUMNS:
        x = x_of(column)
        if column not in (NOT_YET, GONE):
            colour = "#e8f3e8" if column in finished else "#eef3fb"
            parts.append(
                f'<rect x="{x - 42}" y="10" width="84" height="{height - 20}" rx="8" fill="{colour}"/>'
            )
        weight = "normal" if column in (NOT_YET, GONE) else "bold"
        parts.append(f'<text x="{x}" y="30" text-anchor="middle" font-weight="{weight}">{column}</text>')
    for number, (name, sources, targets) in enumerate(rows):
        parts += row(TOP + HIGH * number + 8, name, sources, targets)
    return "\n".join([*parts, "</svg>", ""])


def events() -> str:
    lines = ["| event | what has happened |", "|---|---|"]
    for event in TABLE:
        first = (event.__doc__ or "").partition("\n")[0].replace("|", "\\|")
        lines.append(f"| `{name_of(event)}` | {first} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The page, with its list made anew."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n{events()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
