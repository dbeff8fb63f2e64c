"""Draw the rooms of the four packages, as the import contracts in pyproject.toml order them, into docs/rooms.svg.

Run it after a change of the contracts: ``python docs/rooms.py``.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "rooms.svg"

PACKAGES = {
    "experiments": ("data, training runs, sweeps, papers, the command", "#dbe9f6"),
    "exports": ("files for other tools and chips", "#e2f0d9"),
    "neurofa": ("layers, networks, rules, feedback, the learner", "#fdf0d5"),
    "hwmodels": ("number formats, memory devices, projections", "#f6dfdb"),
}
"""Content and colour of each package, from the top: a package imports those below it."""

WIDTH, ROW, BOX, GAP, MARGIN = 660, 26, 20, 8, 10
"""Sizes, pixels."""
CHARACTER = 6.9
"""Mean width of a character of a room's name, pixels."""


def floors(package: str) -> list[list[str]]:
    """Return the rooms of a package by floor, from the top."""
    import tomllib

    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (contract,) = [c for c in linter["contracts"] if c.get("containers") == [package]]
    return [[room.strip() for room in floor.split("|")] for floor in contract["layers"]]


def picture() -> str:
    """Return the picture as SVG."""
    parts, top = [], MARGIN
    for package, (content, colour) in PACKAGES.items():
        rows = floors(package)
        height = ROW * (len(rows) + 1)
        parts.append(f'<rect x="{MARGIN}" y="{top}" width="{WIDTH - 2 * MARGIN}" height="{height}" fill="{colour}"/>')
        title = f'<tspan font-weight="bold">{package}</tspan>  {content}'
        parts.append(_text(MARGIN + GAP, top + 18, title, anchor="start"))
        for number, rooms in enumerate(rows, 1):
            parts += _floor(rooms, top + ROW * number)
        top += height + GAP
    parts.append(_text(WIDTH / 2, top + 10, "imports go downwards, never up and never sideways", anchor="middle"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 2 * MARGIN}" font-family="sans-serif"'
    body = f'<rect width="{WIDTH}" height="{top + 2 * MARGIN}" fill="white"/>'
    return "\n".join([f'{head} font-size="12">', body, *parts, "</svg>", ""])


def _floor(rooms: list[str], top: float) -> list[str]:
    """Return the boxes of one floor, in the middle."""
    widths = [CHARACTER * len(room) + 2 * GAP for room in rooms]
    left = (WIDTH - sum(widths) - GAP * (len(rooms) - 1)) / 2
    parts = []
    for room, width in zip(rooms, widths, strict=True):
        box = f'x="{left:.1f}" y="{top}" width="{width:.1f}" height="{BOX}" rx="4"'
        parts.append(f'<rect {box} fill="white" stroke="#555"/>')
        parts.append(_text(left + width / 2, top + 14, room, anchor="middle"))
        left += width + GAP
    return parts


def _text(x: float, y: float, content: str, *, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{content}</text>'


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
