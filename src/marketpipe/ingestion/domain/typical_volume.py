from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen

from marketpipe.shared_kernel.domain.symbol import Symbol


@frozen
class TypicalVolume:
    """What the stored symbol-days of a symbol hold on average; ``days`` says how many those are."""

    bars_a_day: float
    bytes_a_bar: float
    days: int


@frozen
class TypicalVolumes:
    """What is known of symbols, and of all that is stored together: None while nothing is."""

    by_symbol: Mapping[Symbol, TypicalVolume]
    overall: TypicalVolume | None

    def of(self, symbol: Symbol) -> TypicalVolume | None:
        """Its own, or else that of all together."""
        return self.by_symbol.get(symbol) or self.overall

    def mean_bars(self, symbols: Iterable[Symbol]) -> float | None:
        """A day's bars over the stored days of these symbols; None where that is nothing."""
        known = [volume for symbol in symbols if (volume := self.by_symbol.get(symbol))]
        days = sum(volume.days for volume in known)
        return sum(volume.bars_a_day * volume.days for volume in known) / days if days else None
