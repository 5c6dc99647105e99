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
    return f"python {python_version()} {packages} sqlite {sqlite3.sqlite_version} commit {_commit()}"


def _commit() -> str:
    """Return the commit that is checked out, also of a linked work tree; "unknown" if this is no clone."""
    try:
        folder = Path(GIT.read_text("utf-8").partition("gitdir: ")[2].strip()) if GIT.is_file() else GIT
        head = (folder / "HEAD").read_text("utf-8").strip()
        reference = head.partition("ref: ")[2]
        common = folder / "commondir"
        shared = folder / common.read_text("utf-8").strip() if common.is_file() else folder
        return (shared / reference).read_text("utf-8").strip()[:12] if reference else head[:12]
    except OSError:
        return "unknown"
