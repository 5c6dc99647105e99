"""The list of the decision records, by their headings."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "adr"
TEXT = """# Decisions

Each page records one decision: what was chosen, why, and what it costs. They are written for people who change the
code; a user needs none of them.

"""


def page() -> str:
    rows = []
    for path in sorted(FOLDER.glob("*.md")):
        number, _, title = path.read_text("utf-8").splitlines()[0].removeprefix("# ").partition(":")
        rows.append(f"- [{number}](../adr/{path.name}): {title.strip()}\n")
    return TEXT + "".join(rows)
