"""``OfficialDays`` in plain Python, without a file."""

from __future__ import annotations

from collections.abc import Mapping

from marketpipe.shared_kernel.domain.ohlcv_bar import OfficialDay
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import DaysOfYear, TradingDate


class InMemoryOfficialDays:
    """The official days that it is given; ``put`` adds one, None for a day without a bar."""

    def __init__(self, days: Mapping[SymbolDay, OfficialDay | None] | None = None) -> None:
        self._days = dict(days or {})

    def put(self, symbol: str, date: str, day: OfficialDay | None) -> None:
        self._days[SymbolDay(Symbol(symbol), TradingDate.parse(date))] = day

    def between(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> Mapping[TradingDate, OfficialDay | None]:
        chosen = sorted(day for day in self._days if day.symbol == symbol and first <= day.trading_date <= last)
        return {day.trading_date: self._days[day] for day in chosen}

    def answered(self, symbol: Symbol, first: int, last: int) -> Mapping[int, DaysOfYear]:
        dates = [day.trading_date for day in self._days if day.symbol == symbol]
        years = {date.day.year for date in dates}
        return {
            year: DaysOfYear.of(year, (date for date in dates if date.day.year == year))
            for year in sorted(years)
            if first <= year <= last
        }
