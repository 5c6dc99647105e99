from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.storage.domain.integrity import CheckedFile, Damage, IntegrityProblem, StoreArea

FROZEN: Final = (StoreArea.DATA, StoreArea.AGGREGATES)
"""What a backtest reads."""

TITLE: Final = "marketpipe lock 1"
KEYS: Final = ("provider", "feed", "adjustment", "session", "files", "sha256")
UNKNOWN: Final = "unknown"
_LINE: Final = re.compile(r"([0-9a-f]{64})  (\d+)  (\S.*)", re.ASCII)


@frozen(order=True)
class LockedFile:
    """``path`` begins with ``data/`` or ``aggregates/``, wherever those folders lie."""

    path: str
    size_bytes: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.sha256}  {self.size_bytes}  {self.path}"

    def problem_of(self, file: CheckedFile) -> IntegrityProblem | None:
        if file.sha256 == self.sha256:
            return None
        return file.found_wrong(Damage.ALTERED, "not the bytes that were frozen")


def _ascending(files: Iterable[LockedFile]) -> tuple[LockedFile, ...]:
    return tuple(sorted(files))


@frozen
class DatasetLock:
    """The very bytes of a dataset: minute bars and aggregates. ``session`` is None where nobody knows it."""

    identity: DatasetIdentity
    session: SessionKind | None
    files: tuple[LockedFile, ...] = field(converter=_ascending, repr=lambda files: f"<{len(files)} files>")

    @property
    def dataset_sha256(self) -> str:
        """Of all that the text says but this."""
        return _digest([*self._head(), *map(str, self.files)])

    def text(self) -> str:
        """The same files give the same text; ``parse`` reads it."""
        return "\n".join([*self._head(), f"sha256 {self.dataset_sha256}", "", *map(str, self.files), ""])

    @classmethod
    def parse(cls, text: str) -> DatasetLock:
        """Raises ``ConfigurationError`` for a text that is none, or no longer what ``text`` wrote."""
        lines = text.splitlines()
        if not lines or not lines[0].startswith("marketpipe lock "):
            raise ConfigurationError("this is not a lock: its first line is not that of 'marketpipe freeze'")
        if lines[0] != TITLE:
            raise ConfigurationError(f"this lock says {lines[0]!r}, and {TITLE!r} is known; install a newer MarketPipe")
        head, rest = lines[1 : len(KEYS) + 1], lines[len(KEYS) + 1 :]
        said = dict(line.partition(" ")[::2] for line in head)
        if tuple(said) != KEYS or rest[:1] != [""] or _digest([*lines[: len(KEYS)], *rest[1:]]) != said["sha256"]:
            raise ConfigurationError("this lock was edited or cut short: its own hash does not match; freeze again")
        identity = DatasetIdentity(said["provider"], said["feed"], said["adjustment"])
        session = None if said["session"] == UNKNOWN else SessionKind(said["session"])
        return cls(identity, session, map(_locked, rest[1:]))

    def _head(self) -> list[str]:
        session = UNKNOWN if self.session is None else str(self.session)
        told = self.identity
        values = (told.provider, told.feed, told.adjustment, session, len(self.files))
        return [TITLE, *(f"{key} {value}" for key, value in zip(KEYS, values, strict=False))]


def _locked(line: str) -> LockedFile:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ConfigurationError(f"this lock has a line that names no file: {line[:100]!r}; freeze again")
    return LockedFile(found[3], int(found[2]), found[1])


def _digest(lines: Sequence[str]) -> str:
    return sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
