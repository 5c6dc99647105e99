"""What the files of a store state about themselves in their Parquet metadata.

An aggregate names, for each month, the day files it was made from: ``02=<digest> 03=<digest>``, ascending.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from marketpipe.shared_kernel.domain.store_inventory import NO_MAPPING, DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe

DIGITS: Final = 16
"""Of the 64 of a SHA-256. They are enough to tell two states of a file apart, and a daily file has a year of them."""
AUCTION: Final = re.compile(r"auction\+(\d+) ", re.ASCII)
DAY: Final = re.compile(r"(\d\d)=([0-9a-f]+)", re.ASCII)


def day_digests(sha256_of: Mapping[int, str]) -> str:
    """Return the digests of a month's files as text; keys are days of the month. Equal texts mean the same bytes."""
    return " ".join(f"{day:02d}={sha256_of[day][:DIGITS]}" for day in sorted(sha256_of))


def sources_of_days(digests: str, closing_auction: int | None) -> str:
    """Return what daily bars of a month are made from: its day files, and which minute counts as closing auction."""
    return digests if closing_auction is None else f"auction+{closing_auction} {digests}"


def differing_days(one: str, other: str) -> frozenset[int]:
    """Return the days whose digests differ or that only one text has. A text of another form has no days."""
    return frozenset(int(day) for day, _ in {*DAY.findall(one)} ^ {*DAY.findall(other)})


def digests_by_day(text: str) -> dict[int, str]:
    """Return the digests that a text names, by the day of the month."""
    return {int(day): digest for day, digest in DAY.findall(text)}


def closing_auction_in(text: str) -> int | None:
    """Return which minute counted as closing auction, of a text of daily bars; None if it names none."""
    found = AUCTION.match(text)
    return None if found is None else int(found[1])


def days_in(text: str) -> tuple[int, ...]:
    """Return the days of the month that a text of digests names, ascending."""
    return tuple(int(day) for day, _ in DAY.findall(text))


PREFIX: Final = "marketpipe."


@frozen
class StorageMetadata:
    """The key-value metadata of a Parquet file. It has no wall-clock time, so the same bars give the same bytes.

    ``period`` is the trading date ("2024-01-02"), month ("2024-01") or year ("2024") that the file covers. ``sources``
    maps each month that an aggregate was made from to the digests of its day files.
    """

    identity: DatasetIdentity
    symbol: Symbol
    period: str
    timeframe: Timeframe
    schema_version: int
    sources: Mapping[str, str] = {}

    def as_mapping(self) -> dict[str, str]:
        fields = {
            "symbol": str(self.symbol),
            "trading_date" if len(self.period) == 10 else "period": self.period,
            "timeframe": str(self.timeframe),
            "provider": self.identity.provider,
            "feed": self.identity.feed,
            "adjustment": self.identity.adjustment,
            # Written only if symbols are mapped: the same bars keep the bytes that they had before it was recorded.
            **({} if self.identity.asof == NO_MAPPING else {"asof": self.identity.asof}),
            "schema_version": str(self.schema_version),
            **{f"source.{month}": digest for month, digest in sorted(self.sources.items())},
        }
        return {PREFIX + key: value for key, value in fields.items()}


def sources_in(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the ``sources`` of a file's metadata."""
    start = f"{PREFIX}source."
    return {key.removeprefix(start): value for key, value in metadata.items() if key.startswith(start)}


def identity_in(metadata: Mapping[str, str]) -> DatasetIdentity | None:
    """Return the ``identity`` of a file's metadata; None for a file that MarketPipe did not write."""
    values = [metadata.get(PREFIX + name) for name in ("provider", "feed", "adjustment")]
    values.append(metadata.get(f"{PREFIX}asof", NO_MAPPING))
    present = [value for value in values if value is not None]
    return DatasetIdentity(*present) if len(present) == len(values) else None


def label_in(metadata: Mapping[str, str]) -> str:
    """Return symbol, timeframe and period of a file's metadata as text."""
    period = metadata.get(f"{PREFIX}trading_date") or metadata.get(f"{PREFIX}period")
    return f"{metadata.get(f'{PREFIX}symbol')} {metadata.get(f'{PREFIX}timeframe')} {period}"


@frozen
class AggregationReport:
    """What a refresh of aggregates did: files ``written``, and files ``unchanged`` because they agree with their bars.

    Read copies are among both, and ``copies_written`` and ``copies_unchanged`` are their numbers alone. ``failures``
    has one message for each symbol whose files could not all be refreshed.
    """

    written: int
    unchanged: int
    failures: tuple[str, ...] = ()
    copies_written: int = 0
    copies_unchanged: int = 0

    @property
    def ok(self) -> bool:
        return not self.failures

    def with_prepared(self, files: int, copies: int = 0) -> AggregationReport:
        """Return the report of a run that made so many files before this refresh, which found them up to date.

        So many of them are read ``copies``.

        The numbers add up to all files. But which of them were made before is not known: one that was made twice, or
        was stale again by the time of the refresh, is counted twice as written, if other files were unchanged.
        """
        found, of_copies = min(files, self.unchanged), min(copies, self.copies_unchanged)
        return AggregationReport(
            self.written + found,
            self.unchanged - found,
            self.failures,
            self.copies_written + of_copies,
            self.copies_unchanged - of_copies,
        )

    def __add__(self, other: AggregationReport) -> AggregationReport:
        return AggregationReport(
            self.written + other.written,
            self.unchanged + other.unchanged,
            self.failures + other.failures,
            self.copies_written + other.copies_written,
            self.copies_unchanged + other.copies_unchanged,
        )
