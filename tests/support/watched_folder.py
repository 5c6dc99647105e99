"""A working folder for a command, beside files that the command must not touch."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

Look = tuple[int, int, int, bytes]


class WatchedFolder:
    """``cwd`` is in ``root`` beside a few files; ``begin`` creates it again, from a template if there is one."""

    def __init__(self, root: Path, template: Path | None = None) -> None:
        self.root, self._template = root, template
        self._before: dict[str, Look] = {}

    @property
    def cwd(self) -> Path:
        return self.root / "outer" / "cwd"

    def begin(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        for neighbour in ("near", "outer/near", "outer/data/symbol=AAPL/near"):
            (self.root / neighbour).parent.mkdir(parents=True, exist_ok=True)
            (self.root / neighbour).write_text("not yours")
        if self._template is None:
            self.cwd.mkdir()
        else:
            shutil.copytree(self._template, self.cwd)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Enter ``cwd``, with the home folder that ``run_in_process`` sets."""
        home = os.environ.get("HOME", "")
        os.environ["HOME"] = str(self.cwd.parent)
        try:
            with contextlib.chdir(self.cwd):
                yield
        finally:
            os.environ["HOME"] = home

    def look(self) -> None:
        """Take a snapshot: ``changed`` reports changes from here on."""
        self._before = self._now()

    def changed(self) -> set[str]:
        """Return the paths below the root that were created, deleted or changed; folders only if created or deleted."""
        now = self._now()
        return {path for path in now.keys() | self._before.keys() if now.get(path) != self._before.get(path)}

    def changed_outside(self, allowed: Iterable[Path]) -> set[str]:
        roots = [os.path.realpath(self.cwd / path) for path in allowed]
        return {
            path
            for path in self.changed()
            if not any(f"{self.root.resolve() / path}/".startswith(f"{root}/") for root in roots)
            and not any(root.startswith(f"{self.root.resolve() / path}/") for root in roots)  # a parent folder
        }

    def _now(self) -> dict[str, Look]:
        return {str(path.relative_to(self.root)): _look(path) for path in self.root.rglob("*")}


def _look(path: Path) -> Look:
    found = path.lstat()
    if path.is_file():
        return found.st_mode, found.st_size, found.st_mtime_ns, path.read_bytes()
    return found.st_mode, 0, 0, b""
