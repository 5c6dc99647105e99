"""What the bytes of a world depend on besides its seed."""

from __future__ import annotations

import sqlite3
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Final

GIT: Final = Path(__file__).parents[2] / ".git"


def versions() -> str:
    """Return the versions under which a seed replays byte for byte."""
    packages = " ".join(f"{name} {version(name)}" for name in ("pyarrow", "duckdb", "numpy"))
    return f"python {python_version()} {packages} sqlite {sqlite3.sqlite_version} commit {commit_of(GIT)}"


def commit_of(git: Path) -> str:
    """Return the commit that is checked out, also of a linked work tree; "unknown" if this is no clone."""
    try:
        folder = Path(git.read_text("utf-8").partition("gitdir: ")[2].strip()) if git.is_file() else git
        head = (folder / "HEAD").read_text("utf-8").strip()
        reference = head.partition("ref: ")[2]
        common = folder / "commondir"
        shared = folder / common.read_text("utf-8").strip() if common.is_file() else folder
        return (_referred(shared, reference) if reference else head)[:12]
    except OSError:
        return "unknown"


def _referred(folder: Path, reference: str) -> str:
    """Return the commit of a branch. Git keeps it in a file of its own, or after some time in one with many."""
    if (own := folder / reference).is_file():
        return own.read_text("utf-8").strip()
    packed = (line.split(" ") for line in (folder / "packed-refs").read_text("utf-8").splitlines())
    return next((fields[0] for fields in packed if fields[1:] == [reference]), "unknown")
