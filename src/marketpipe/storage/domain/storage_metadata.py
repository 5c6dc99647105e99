from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe

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
