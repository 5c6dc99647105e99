"""A lock: the list of the exact bytes that a dataset consists of, so that a backtest can be repeated on them.

The text of a lock has a title with the version of the format, the identity of the dataset, the scope (which symbols
and dates were frozen; version 1 has none), a SHA-256 of all other lines, and one line for each file: hash, size in
bytes, path, ascending by path. A file within the scope that is not listed did not exist, and that is frozen too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Final

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError, ValidationError
from marketpipe.shared_kernel.domain.store_inventory import NO_MAPPING, DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol, as_symbols
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.integrity import CheckedFile, Damage, IntegrityProblem, StoreArea

FROZEN: Final = (StoreArea.DATA, StoreArea.AGGREGATES, StoreArea.OFFICIAL)
"""The areas that a backtest reads."""
GIVEN: Final = (StoreArea.DATA, StoreArea.OFFICIAL)
"""The areas of bars that were not made from others."""

BEGINNING: Final = "marketpipe lock "
DATASET: Final = ("provider", "feed", "adjustment")
KEYS: Final = {
    "1": ("session", "files", "sha256"),
    "2": ("session", "symbols", "first", "last", "files", "sha256"),
}
"""What the lines after those of the dataset begin with, by the version of the format."""
ASOF: Final = "asof"
"""A line behind adjustment, only if symbols are mapped to the names of a date."""
UNKNOWN: Final = "unknown"
ALL_SYMBOLS: Final = "*"
_LINE: Final = re.compile(r"([0-9a-f]{64})  (\d+)  (\S.*)", re.ASCII)
_PATH: Final = re.compile(
    r"(?P<folder>data|official|aggregates/timeframe=\w+)/symbol=(?P<symbol>[^/]+)/year=(?P<year>\d{4})"
    r"(/month=(?P<month>\d\d)(/day=(?P<day>\d\d))?)?\.parquet",
    re.ASCII,
)


@frozen(order=True)
class LockedFile:
    """A file of a lock. ``path`` begins with one of the areas of ``FROZEN``, whatever the folders are called here."""

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
class LockScope:
    """What was frozen: ``symbols`` (None for all) between two trading dates, both inclusive."""

    symbols: tuple[Symbol, ...] | None
    first: TradingDate
    last: TradingDate

    def has(self, place: LockedPlace) -> bool:
        """Return whether all bars that a file in that place can have are frozen."""
        named = self.symbols is None or place.symbol in {str(symbol) for symbol in self.symbols}
        return named and self.first <= place.first and place.last <= self.last


@frozen
class LockedPlace:
    """What the path of a file names: its ``folder`` of bars of one kind, its symbol, its dates, both inclusive."""

    folder: str
    symbol: str
    first: TradingDate
    last: TradingDate

    @classmethod
    def of(cls, path: str) -> LockedPlace | None:
        """Return None for a path that is not one of minute bars, aggregates or official days."""
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        try:
            symbol, year = Symbol(match["symbol"]), int(match["year"])
            months = [MonthPartition(symbol, year, int(month)) for month in _months(match["month"])]
            first, last = months[0].first, months[-1].last
            if match["day"]:
                first = last = TradingDate.parse(f"{months[0]}-{match['day']}")
        except ValueError:  # no date of the calendar
            return None
        return cls(match["folder"], str(symbol), first, last)


def _months(month: str | None) -> tuple[str, ...]:
    return ("1", "12") if month is None else (month,)


@frozen(slots=False)
class DatasetLock:
    """The frozen files of a dataset: minute bars, aggregates, official days. ``session`` is None if it is not known.

    ``scope`` is None for a lock of version 1: then the symbols and dates of its day files are the scope.
    """

    identity: DatasetIdentity
    session: SessionKind | None
    files: tuple[LockedFile, ...] = field(converter=_ascending, repr=lambda files: f"<{len(files)} files>")
    scope: LockScope | None = None

    @property
    def dataset_sha256(self) -> str:
        """The SHA-256 of all lines of the text but its own."""
        return _digest([*self._head(), *map(str, self.files)])

    def text(self) -> str:
        """Return the lock as text, which ``parse`` reads. The same files give the same text."""
        return "\n".join([*self._head(), f"sha256 {self.dataset_sha256}", "", *map(str, self.files), ""])

    def pins_absence_of(self, path: str) -> bool:
        """Return whether a file that is not in this lock would change what was frozen.

        Aggregates of a timeframe of which nothing was frozen do not: they are made from frozen minutes. Minutes and
        official days do, for all bars come from them; a lock of version 1 may be older than official days are.
        """
        place, pinned = LockedPlace.of(path), self._pinned
        if place is None or pinned is None or not pinned.has(place):
            return False
        return place.folder in self._folders or (place.folder in GIVEN and self.scope is not None)

    @cached_property
    def _places(self) -> list[LockedPlace]:
        return [place for file in self.files if (place := LockedPlace.of(file.path))]

    @cached_property
    def _folders(self) -> frozenset[str]:
        return frozenset(place.folder for place in self._places)

    @cached_property
    def _pinned(self) -> LockScope | None:
        days = [place for place in self._places if place.folder == StoreArea.DATA]
        if self.scope is not None or not days:
            return self.scope
        symbols = as_symbols(sorted({place.symbol for place in days}))
        return LockScope(symbols, min(place.first for place in days), max(place.last for place in days))

    @classmethod
    def parse(cls, text: str) -> DatasetLock:
        """Read what ``text`` returned. Raises ``ConfigurationError`` if it is not a lock, or was changed since."""
        lines = text.splitlines()
        if not lines or not lines[0].startswith(BEGINNING):
            raise ConfigurationError("this is not a lock: it does not begin as the output of 'marketpipe freeze' does")
        keys_of_version = KEYS.get(lines[0].removeprefix(BEGINNING))
        if keys_of_version is None:
            raise ConfigurationError(
                f"this lock has the format {lines[0]!r}; only versions {' and '.join(KEYS)} can be read: "
                "install a newer MarketPipe"
            )
        mapped = (ASOF,) if lines[4:] and lines[4].startswith(f"{ASOF} ") else ()
        keys = (*DATASET, *mapped, *keys_of_version)
        head, rest = lines[1 : len(keys) + 1], lines[len(keys) + 1 :]
        found = dict(line.partition(" ")[::2] for line in head)
        if tuple(found) != keys or rest[:1] != [""] or _digest([*lines[: len(keys)], *rest[1:]]) != found["sha256"]:
            raise ConfigurationError("this lock was edited or cut short: its own hash does not match; freeze again")
        identity = DatasetIdentity(found["provider"], found["feed"], found["adjustment"], found.get(ASOF, NO_MAPPING))
        session = None if found["session"] == UNKNOWN else SessionKind(found["session"])
        return cls(identity, session, map(_locked, rest[1:]), _scope_in(found))

    def _head(self) -> list[str]:
        of, session = self.identity, UNKNOWN if self.session is None else str(self.session)
        mapped = () if of.asof == NO_MAPPING else (f"{ASOF} {of.asof}",)
        dataset = (f"provider {of.provider}", f"feed {of.feed}", f"adjustment {of.adjustment}", *mapped)
        title, about = f"{BEGINNING}1", [f"session {session}"]
        if (scope := self.scope) is not None:
            title = f"{BEGINNING}2"
            about += [f"symbols {_names(scope.symbols)}", f"first {scope.first}", f"last {scope.last}"]
        return [title, *dataset, *about, f"files {len(self.files)}"]


def _names(symbols: tuple[Symbol, ...] | None) -> str:
    return ALL_SYMBOLS if symbols is None else ",".join(map(str, symbols))


def _scope_in(found: Mapping[str, str]) -> LockScope | None:
    if "symbols" not in found:
        return None
    names = found["symbols"]
    try:
        symbols = None if names == ALL_SYMBOLS else as_symbols(names.split(","))
        return LockScope(symbols, TradingDate.parse(found["first"]), TradingDate.parse(found["last"]))
    except ValidationError as error:
        raise ConfigurationError(f"this lock names what was frozen in a wrong way: {error}; freeze again") from error


def _locked(line: str) -> LockedFile:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ConfigurationError(f"this lock has a line that names no file: {line[:100]!r}; freeze again")
    return LockedFile(found[3], int(found[2]), found[1])


def _digest(lines: Sequence[str]) -> str:
    return sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
