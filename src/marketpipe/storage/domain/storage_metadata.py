"""How an aggregate says which day files of a month it was made from: ``02=<digest> 03=<digest>``, ascending."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe

DIGITS = 16  # of 64: they tell one state of a file from another, and a daily file carries those of a whole year
DAY = re.compile(r"(\d\d)=([0-9a-f]+)", re.ASCII)


def day_digests(sha256_of: Mapping[int, str]) -> str:
    """Of the files of one month, by day of the month. Equal texts: the same days with the same bytes."""
    return " ".join(f"{day:02d}={sha256_of[day][:DIGITS]}" for day in sorted(sha256_of))


def differing_days(one: str, other: str) -> frozenset[int]:
    """Those whose digests differ, and those that only one of the texts has. Any other text has no days."""
    return frozenset(int(day) for day, _ in {*DAY.findall(one)} ^ {*DAY.findall(other)})


def days_in(text: str) -> tuple[int, ...]:
    """The days of the month, ascending."""
    return tuple(int(day) for day, _ in DAY.findall(text))


PREFIX = "marketpipe."


@frozen
class StorageMetadata:
    """What a Parquet file says of itself, as key-value metadata. Nothing in it varies from run to run.

    ``period`` is the trading date, month or year that the file covers. ``sources`` maps each month of minutes an
    aggregate was made from to the digests of its day files.
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
            "schema_version": str(self.schema_version),
            **{f"source.{month}": digest for month, digest in sorted(self.sources.items())},
        }
        return {PREFIX + key: value for key, value in fields.items()}


def sources_in(metadata: Mapping[str, str]) -> dict[str, str]:
    """The ``sources`` of a file's metadata."""
    start = f"{PREFIX}source."
    return {key.removeprefix(start): value for key, value in metadata.items() if key.startswith(start)}


def identity_in(metadata: Mapping[str, str]) -> DatasetIdentity | None:
    """The ``identity`` of a file's metadata; None for a file that MarketPipe did not write."""
    said = [metadata.get(PREFIX + name) for name in ("provider", "feed", "adjustment")]
    known = [value for value in said if value is not None]
    return DatasetIdentity(*known) if len(known) == len(said) else None


def label_in(metadata: Mapping[str, str]) -> str:
    """Symbol, timeframe and period, as a file's metadata says them."""
    period = metadata.get(f"{PREFIX}trading_date") or metadata.get(f"{PREFIX}period")
    return f"{metadata.get(f'{PREFIX}symbol')} {metadata.get(f'{PREFIX}timeframe')} {period}"


@frozen
class AggregationReport:
    """What a refresh of aggregates did: files ``written``, and files ``unchanged`` because they agree with their bars.

    ``failures`` has one message for each symbol whose aggregates could not all be refreshed.
    """

    written: int
    unchanged: int
    failures: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.failures

    def __add__(self, other: AggregationReport) -> AggregationReport:
        return AggregationReport(
            self.written + other.written, self.unchanged + other.unchanged, self.failures + other.failures
        )
