"""A lock: the list of the exact bytes that a dataset consists of, so that a backtest can be repeated on them.

The text of a lock has a title with the version of the format, the identity of the dataset, a SHA-256 of all other
lines, and one line for each file: hash, size in bytes, path, ascending by path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.store_inventory import NO_MAPPING, DatasetIdentity
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.storage.domain.integrity import CheckedFile, Damage, IntegrityProblem, StoreArea

FROZEN: Final = (StoreArea.DATA, StoreArea.AGGREGATES)
"""The areas that a backtest reads."""

TITLE: Final = "marketpipe lock 1"
KEYS: Final = ("provider", "feed", "adjustment", "session", "files", "sha256")
ASOF: Final = "asof"
"""A line behind adjustment, only if symbols are mapped to the names of a date."""
UNKNOWN: Final = "unknown"
_LINE: Final = re.compile(r"([0-9a-f]{64})  (\d+)  (\S.*)", re.ASCII)


@frozen(order=True)
class LockedFile:
    """A file of a lock. ``path`` begins with ``data/`` or ``aggregates/``, whatever those folders are called here."""

    path: str
    size_bytes: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.sha256}  {self.size_bytes}  {self.path}"

    def problem_of(self, file: CheckedFile) -> IntegrityProblem | None:
        if file.sha256 == self.sha256:
            return None
        return file.problem_with(Damage.ALTERED, "its bytes are not those that were frozen")


def _ascending(files: Iterable[LockedFile]) -> tuple[LockedFile, ...]:
    return tuple(sorted(files))


@frozen
class DatasetLock:
    """The frozen files of a dataset: minute bars and aggregates. ``session`` is None if it is not known."""

    identity: DatasetIdentity
    session: SessionKind | None
    files: tuple[LockedFile, ...] = field(converter=_ascending, repr=lambda files: f"<{len(files)} files>")

    @property
    def dataset_sha256(self) -> str:
        """The SHA-256 of all lines of the text but its own."""
        return _digest([*self._head(), *map(str, self.files)])

    def text(self) -> str:
        """Return the lock as text, which ``parse`` reads. The same files give the same text."""
        return "\n".join([*self._head(), f"sha256 {self.dataset_sha256}", "", *map(str, self.files), ""])

    @classmethod
    def parse(cls, text: str) -> DatasetLock:
        """Read what ``text`` returned. Raises ``ConfigurationError`` if it is not a lock, or was changed since."""
        lines = text.splitlines()
        if not lines or not lines[0].startswith("marketpipe lock "):
            raise ConfigurationError("this is not a lock: it does not begin as the output of 'marketpipe freeze' does")
        if lines[0] != TITLE:
            raise ConfigurationError(
                f"this lock has the format {lines[0]!r}; only {TITLE!r} can be read: install a newer MarketPipe"
            )
        keys = (*KEYS[:3], ASOF, *KEYS[3:]) if lines[4:] and lines[4].startswith(f"{ASOF} ") else KEYS
        head, rest = lines[1 : len(keys) + 1], lines[len(keys) + 1 :]
        found = dict(line.partition(" ")[::2] for line in head)
        if tuple(found) != keys or rest[:1] != [""] or _digest([*lines[: len(keys)], *rest[1:]]) != found["sha256"]:
            raise ConfigurationError("this lock was edited or cut short: its own hash does not match; freeze again")
        identity = DatasetIdentity(found["provider"], found["feed"], found["adjustment"], found.get(ASOF, NO_MAPPING))
        session = None if found["session"] == UNKNOWN else SessionKind(found["session"])
        return cls(identity, session, map(_locked, rest[1:]))

    def _head(self) -> list[str]:
        session = UNKNOWN if self.session is None else str(self.session)
        of = self.identity
        mapped = () if of.asof == NO_MAPPING else (f"{ASOF} {of.asof}",)
        dataset = (f"provider {of.provider}", f"feed {of.feed}", f"adjustment {of.adjustment}", *mapped)
        return [TITLE, *dataset, f"session {session}", f"files {len(self.files)}"]


def _locked(line: str) -> LockedFile:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ConfigurationError(f"this lock has a line that names no file: {line[:100]!r}; freeze again")
    return LockedFile(found[3], int(found[2]), found[1])


def _digest(lines: Sequence[str]) -> str:
    return sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
