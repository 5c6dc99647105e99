"""``Mutant``: one mistake in the product as plain data, and the story in which the oracle sees it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from attrs import evolve, field, frozen

from tests.simulation.story import Story

SOURCES: Final = Path(__file__).parents[3] / "src"
PACKAGE: Final = "marketpipe"
SCHEMA: Final = SOURCES.parent / "schema" / "schema_v1.json"


@frozen
class Change:
    """``old`` is in the ``file``, a path below the package, exactly once; ``new`` takes its place."""

    file: str
    old: str = field(repr=False)
    new: str = field(repr=False)


@frozen
class Mutant:
    """``name`` says in a sentence what the product does wrong with these changes.

    ``by`` are the checks of the oracle that see it in ``story``, any of them. ``attack`` is the number of the attack
    whose repair is taken out, "" for any other mistake. ``unseen`` is why no story finds it; it has no ``story`` then.
    """

    name: str
    changes: tuple[Change, ...]
    by: tuple[str, ...] = ()
    story: Story | None = None
    attack: str = ""
    unseen: str = ""
    seeds: int = 1
    """So many seeds are tried, from that of the story on: for what a power loss takes, and who runs first."""

    def stories(self) -> list[Story]:
        """Return the story with each of its seeds."""
        story = self.story
        return [] if story is None else [evolve(story, seed=story.seed + more) for more in range(self.seeds)]

    def problems(self, sources: Path = SOURCES) -> list[str]:
        """Return what is wrong with the changes: texts that are not in today's sources exactly once."""
        return [
            f"{self.name}: {change.file} has this text {count} times: {change.old!r}"
            for change in self.changes
            if (count := (sources / PACKAGE / change.file).read_text("utf-8").count(change.old)) != 1
        ]

    def write(self, folder: Path) -> None:
        """Copy the sources into a folder, with the changes. Raises ``ValueError`` if one of them cannot be made."""
        if problems := self.problems():
            raise ValueError("; ".join(problems))
        # With what Python has compiled, and with the times that make it valid.
        shutil.copytree(SOURCES / PACKAGE, folder / PACKAGE)
        shutil.copy(SCHEMA, folder / PACKAGE)  # where a wheel has it
        for change in self.changes:
            path = folder / PACKAGE / change.file
            path.write_text(path.read_text("utf-8").replace(change.old, change.new), "utf-8")


def change(file: str, old: str, new: str) -> tuple[Change, ...]:
    """Return the changes of a mutant that has one."""
    return (Change(file, old, new),)
