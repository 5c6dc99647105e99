"""What storage and ingestion exchange about the stored versions of symbol-days, and which dataset they belong to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from enum import Enum
from typing import Final, Protocol

from attrs import frozen

from marketpipe.shared_kernel.domain.ohlcv_bar import OfficialDay
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import DaysOfYear, TradingDate

VersionMark = str
"""Identifies the stored version of a symbol-day. Opaque: storage makes it, others compare it for equality only."""
NO_MARK: VersionMark = ""
"""Equals the mark of no stored version: the state uses it if it does not know the mark of a version."""
TotalKey = tuple[str, tuple[str, ...]]
"""The name of a figure about a store, such as that of a series without its prefix, and the values of its labels."""


IMPORTED: Final = "import:"
"""The provider of bars from a user's own files begins with it."""
NO_MAPPING = "-"
"""Symbols are taken literally: bars belong to the security that bore the symbol on their own day."""


@frozen
class DatasetIdentity:
    """The provider, feed and adjustment of bars. Bars of two identities never share a store.

    ``asof`` is the date on which the symbols bore the names that are asked for, YYYY-MM-DD; ``NO_MAPPING`` also for
    stores that were written before it was recorded. What volume counts (all trades, one exchange's, fractional shares)
    is a matter of provider and feed.
    """

    provider: str
    feed: str
    adjustment: str
    asof: str = NO_MAPPING

    @property
    def is_imported(self) -> bool:
        """Whether the bars come from a user's own files, so that none can be requested."""
        return self.provider.startswith(IMPORTED)

    def __str__(self) -> str:
        mapped = "" if self.asof == NO_MAPPING else f", asof {self.asof}"
        return f"provider {self.provider}, feed {self.feed}, adjustment {self.adjustment}{mapped}"


@frozen
class DayComparison:
    """The bars that the provider returns for a symbol-day now, compared with the stored ones.

    Counts are bars: ``unchanged`` and ``changed`` are in both, ``added`` are new, ``removed`` are stored only.
    ``largest_move`` is the largest relative change of a price among the changed bars. ``price_ratio`` and
    ``volume_ratio`` are new over old if that ratio is, but for rounding, the same for all bars in both; else None.
    ``error`` is why the day could not be compared. ``scale`` is new over old prices if the provider has re-adjusted
    them: it explains nearly all bars, and may be as close to one as a small dividend; else None.
    """

    symbol_day: SymbolDay
    unchanged: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    largest_move: float = 0.0
    price_ratio: float | None = None
    volume_ratio: float | None = None
    error: str | None = None
    scale: float | None = None

    @property
    def differs(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    @property
    def has_stored_bars(self) -> bool:
        return bool(self.unchanged or self.removed or self.changed)


@frozen
class RecordedVersion:
    """A stored version of a symbol-day as it was recorded when it was written.

    ``known_since`` is the moment since which the store has this content; None if a state of an early version of
    MarketPipe did not record it. ``sha256`` is of the stored bytes.
    """

    mark: VersionMark
    known_since: Timestamp | None
    sha256: str


class VersionCondition(Enum):
    """How a stored day differs from its record."""

    GONE = "its file is gone"
    ALTERED = "its file is not the recorded one: it was cut short, damaged or changed by another program"
    UNRECORDED = "a file exists that the state does not know"
    UNREADABLE = "its folder cannot be read: make it readable, 'marketpipe verify' names it"

    def __str__(self) -> str:
        return self.value


class VersionRegister(Protocol):
    """The recorded versions of a store's symbol-days, and a way to mark some of them as failed."""

    def symbols(self) -> frozenset[Symbol]:
        """Return the symbols of which anything was ever recorded."""

    def versions(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, RecordedVersion]:
        """Return the recorded versions between the dates, both inclusive; dates ascend."""

    def mark_suspect(self, symbol: Symbol, reasons: Mapping[TradingDate, str]) -> None:
        """Mark these days as failed, each for its reason, so that they are requested again.

        Their files have the recorded mark, and not the recorded content.
        """


@frozen
class RecordedOfficialYear:
    """What is recorded of the official days of one symbol and year.

    ``answered``: the days that were requested when they were final, and that the provider answered with a bar or with
    none. ``version`` is None if it answered none of them with a bar: then there is no file.
    """

    answered: DaysOfYear
    version: RecordedVersion | None = None


class OfficialYearRegister(Protocol):
    """The recorded official days of a store, by symbol and year. Raises ``StateError``."""

    def years(self, symbol: Symbol, first: int, last: int) -> Mapping[int, RecordedOfficialYear]:
        """Return the recorded years between these, both inclusive; years ascend."""

    def reopen(self, symbol: Symbol, dates: Collection[TradingDate]) -> None:
        """Take the dates from the answered ones, so that they are requested again; recorded versions stay."""

    def forget(self, symbol: Symbol) -> None:
        """Remove the records of a symbol, so that its whole history is requested again."""


class OfficialDays(Protocol):
    """The exchange's official daily bars that are stored. Raises ``StateError`` and ``StorageError``."""

    def between(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> Mapping[TradingDate, OfficialDay | None]:
        """Return one symbol's days between the dates, both inclusive; dates ascend.

        None if the day was requested when it was final and the provider has no bar. A day is absent if nothing is known
        of it: it was never requested, or its file is gone or altered.
        """

    def answered(self, symbol: Symbol, first: int, last: int) -> Mapping[int, DaysOfYear]:
        """Return, by year, the days that ``between`` would have, without reading a file that has its recorded mark.

        Years from ``first`` to ``last``, both inclusive; one without such days may be absent.
        """


ABSENT: Final = ""
"""In the place of a digest: the file does not exist."""


class FileDigests(Protocol):
    """The recorded SHA-256 of files that have no other record: aggregates, rejected bars, revisions, histories.

    A path begins with its area, such as ``aggregates/``, and has forward slashes. A file has several digests only while
    it is being replaced, or if a crash left it so: either is right. Raises ``StateError``.
    """

    def below(self, folder: str) -> Mapping[str, frozenset[str]]:
        """Return the digests of each recorded file whose path begins with ``folder``, which ends with a slash."""

    def has_any(self, folder: str) -> bool:
        """Return whether any file is recorded whose path begins with ``folder``."""

    def expect(self, digests: Mapping[str, str], *, durable: bool = False) -> None:
        """Add these digests, by path, before files are published or removed; ``ABSENT`` for one that is removed.

        One that was not recorded may be ``ABSENT`` too: a crash may come before it is published. ``durable``: no power
        loss may lose them. None ever loses those of a removal.
        """

    def settle(self, digests: Mapping[str, str]) -> None:
        """Record that each path has just this digest now; one that is ``ABSENT`` is recorded no more."""

    def adopt(self, digests: Mapping[str, str]) -> None:
        """Record those of these files, by path, that are not recorded."""


class StoreInventory(Protocol):
    """What a store really contains, whatever is recorded of it. Raises ``StorageError``."""

    def dates(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> frozenset[TradingDate]:
        """Return the dates with stored minute bars; both bounds are inclusive."""

    def marks(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[date, VersionMark]:
        """Return the mark of each stored day between the dates, both inclusive."""

    def conditions(
        self, symbol: Symbol, first: TradingDate, last: TradingDate, recorded: Mapping[TradingDate, RecordedVersion]
    ) -> Mapping[TradingDate, VersionCondition]:
        """Return how the stored days between the dates differ from ``recorded``; empty if none does. Dates ascend.

        A day with the recorded mark counts as unchanged. One with another mark is read and compared by its digest.
        """

    def stale_aggregates(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> Mapping[TradingDate, tuple[str, ...]]:
        """Return, by date, the timeframes whose aggregates were made from other minutes than the stored ones."""
