"""What a provider has: minutes as columns, and the official day."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

Wholes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Row = tuple[int, float, float, float, float, float, int | None, float | None]
"""The time in microseconds since 1970, open, high, low, close, volume, trade count and vwap of one bar."""
MINUTE: Final = 60_000_000


@frozen(eq=False)
class Minutes:
    """Bars as columns, one row a bar. ``times`` are microseconds since 1970 (UTC), of the left edge of a bar."""

    times: Wholes
    opens: Floats
    highs: Floats
    lows: Floats
    closes: Floats
    volumes: Floats
    trades: Wholes
    vwaps: Floats

    def __len__(self) -> int:
        return len(self.times)

    def kept(self, chosen: Mask | Wholes) -> Minutes:
        """Return the bars of a mask, or those at these positions, in their order."""
        return Minutes(*(column[chosen] for column in self.columns()))

    def none(self) -> Minutes:
        return self.kept(np.zeros(len(self), np.bool_))

    def before(self, micros: int) -> Minutes:
        return self if not len(self) or self.times[-1] < micros else self.kept(self.times < micros)

    def scaled(self, factor: float) -> Minutes:
        """Return the bars with prices times ``factor`` and volumes through it, as a split of 1 / ``factor`` does."""
        prices = {name: np.round(getattr(self, name) * factor, 4) for name in ("opens", "highs", "lows", "closes")}
        vwaps = np.clip(np.round(self.vwaps * factor, 4), prices["lows"], prices["highs"])
        return evolve(self, **prices, vwaps=vwaps, volumes=np.round(self.volumes / factor))

    def shifted(self, micros: int) -> Minutes:
        return evolve(self, times=self.times + micros)

    def columns(self) -> tuple[Any, ...]:
        return (
            self.times,
            self.opens,
            self.highs,
            self.lows,
            self.closes,
            self.volumes,
            self.trades,
            self.vwaps,
        )

    def rows(self) -> Iterator[Row]:
        return zip(*(column.tolist() for column in self.columns()), strict=True)

    @classmethod
    def joined(cls, parts: list[Minutes]) -> Minutes:
        columns = zip(*(part.columns() for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns)) if parts else NOTHING

    @classmethod
    def of(cls, rows: list[Row]) -> Self:
        """Return rows as columns. A trade count or vwap that is None becomes 0 or NaN."""
        columns = [*zip(*rows, strict=True)] if rows else [()] * 8
        counts = [0 if count is None else count for count in columns[6]]
        vwaps = [np.nan if vwap is None else vwap for vwap in columns[7]]
        prices = (np.array(column, np.float64) for column in columns[1:6])
        return cls(np.array(columns[0], np.int64), *prices, np.array(counts, np.int64), np.array(vwaps, np.float64))


NOTHING: Final = Minutes.of([])


@frozen
class Official:
    """The exchange's daily bar. ``time`` is New York midnight of its date, in microseconds since 1970 (UTC)."""

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int
    vwap: float

    def row(self) -> Row:
        return (self.time, self.open, self.high, self.low, self.close, self.volume, self.trades, self.vwap)
