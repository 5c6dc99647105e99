from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.application.ports import Aggregator
from marketpipe.storage.domain.refresh_count import RefreshCount
from marketpipe.storage.infrastructure.day_files import entries_of, looking_into, number_in
from marketpipe.storage.infrastructure.seen_months import SeenMonths, SeenYear
from marketpipe.storage.infrastructure.store_layout import MONTH_NAME, YEAR_FOLDER, StoreLayout

Month = tuple[int, int]
LAST: Month = (9999, 12)


class UnchangedAggregates:
    """An ``Aggregator`` for right after the minutes were looked at: it looks at them again only where it has to.

    A symbol whose aggregates all bear the stamps of the files that were seen is done with. Others need an aggregator.
    """

    def __init__(self, layout: StoreLayout, seen: SeenMonths, new_aggregator: Callable[[], Aggregator]) -> None:
        self._data, self._aggregates = str(layout.data), str(layout.aggregates)
        self._seen, self._new_aggregator = seen, new_aggregator

    def up_to_date(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> RefreshCount | None:
        with looking_into(self._data):
            agreeing = list(self._verdicts(symbol, timeframes, _month_of(first, (0, 0)), _month_of(last, LAST)))
        if all(agreeing):
            return RefreshCount(0, len(agreeing))
        return self._new_aggregator().up_to_date(symbol, timeframes, first, last)

    def refresh(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> RefreshCount:
        return self._new_aggregator().refresh(symbol, timeframes, first, last)

    def _verdicts(self, symbol: Symbol, timeframes: Sequence[Timeframe], first: Month, last: Month) -> Iterator[bool]:
        """One for each aggregate file that there has to be."""
        for folder in entries_of(f"{self._data}/symbol={symbol}", YEAR_FOLDER):
            year = number_in(folder.name)
            months = [
                number for each in entries_of(folder.path, MONTH_NAME) if 1 <= (number := number_in(each.name)) <= 12
            ]
            wanted = [month for month in months if first <= (year, month) <= last]
            if year and wanted:
                seen = self._seen.of(symbol, year)
                if seen is None or not seen.covers(months):
                    yield False
                    return
                yield from self._agreeing(f"symbol={symbol}/year={year:04d}", timeframes, wanted, seen)

    def _agreeing(
        self, folder: str, timeframes: Sequence[Timeframe], wanted: Sequence[int], seen: SeenYear
    ) -> Iterator[bool]:
        for timeframe in timeframes:
            root = f"{self._aggregates}/timeframe={timeframe}/{folder}"
            if timeframe.is_intraday:
                for month in wanted:
                    yield _bears(f"{root}/month={month:02d}.parquet", seen.months[month])
            else:
                yield _bears(f"{root}.parquet", seen.whole)


def _bears(path: str, stamp: int) -> bool:
    try:
        return os.stat(path).st_mtime_ns == stamp
    except FileNotFoundError:
        return False


def _month_of(date: TradingDate | None, otherwise: Month) -> Month:
    return otherwise if date is None else (date.day.year, date.day.month)
