"""Tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

_BAR: Final = re.compile(r"(`[^`]*`)|\|")
"""A vertical bar, but for those in code, where a backslash would be shown."""


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a vertical bar in a cell stays text, and a line break becomes a space."""
    lines = [_line(titles), _line(["---"] * len(titles)), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def code(text: object) -> str:
    return f"`{text}`"


def _line(cells: Iterable[str]) -> str:
    texts = (_BAR.sub(lambda found: found[1] or "\\|", " ".join(cell.split())) for cell in cells)
    return f"| {' | '.join(texts)} |"
