from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from attrs import define, field

from marketpipe.observers import LoggedIsolation
from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import AggregatesRefreshed
from marketpipe.storage.application.aggregate_refresher import AggregateRefresher
from marketpipe.storage.domain.storage_metadata import AggregationReport

AAPL, MSFT, TSLA = Symbol("AAPL"), Symbol("MSFT"), Symbol("TSLA")
FIRST, LAST = TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-31")
Asked = tuple[Symbol, Sequence[Timeframe], TradingDate | None, TradingDate | None]


@define
class FakeAggregator:
    """Counts one file written for each timeframe, two unchanged for each symbol; five for one that is ``fresh``."""

    asked: list[Asked] = field(factory=list)
    broken: Symbol | None = None
    fresh: Symbol | None = None
    unsightly: Symbol | None = None
    checked: list[Asked] = field(factory=list)

    def up_to_date(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> AggregationReport | None:
        self.checked.append((symbol, timeframes, first, last))
        if symbol == self.unsightly:
            raise StorageError(f"cannot check {symbol}")
        return AggregationReport(0, 5) if symbol == self.fresh else None

    def refresh(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> AggregationReport:
        if symbol == self.broken:
            raise StorageError(f"cannot aggregate {symbol}")
        self.asked.append((symbol, timeframes, first, last))
        return AggregationReport(len(timeframes), 2)


@define
class Refreshing:
    aggregator: FakeAggregator = field(factory=FakeAggregator)
    published: list[AggregatesRefreshed] = field(factory=list)
    workers: int = 1

    def executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.workers)

    @property
    def refresher(self) -> AggregateRefresher:
        bus = EventBus(LoggedIsolation)
        bus.observe(AggregatesRefreshed, self.published.append)
        return AggregateRefresher(self.aggregator, bus, self.executor)


def test_every_symbol_is_refreshed_between_the_dates_and_counted() -> None:
    refreshing = Refreshing()

    count = refreshing.refresher.refresh([AAPL, MSFT], [Timeframe.MINUTE_5, Timeframe.DAY_1], FIRST, LAST)

    wanted = [Timeframe.MINUTE_5, Timeframe.DAY_1]
    assert refreshing.aggregator.asked == [(AAPL, wanted, FIRST, LAST), (MSFT, wanted, FIRST, LAST)]
    assert count == AggregationReport(written=4, unchanged=4)
    assert refreshing.published == [AggregatesRefreshed(4, 4)]


def test_read_copies_are_the_files_of_minutes_and_weeks_and_months_have_no_file() -> None:
    refreshing = Refreshing()

    refreshing.refresher.refresh([AAPL], list(Timeframe))

    with_files = [timeframe for timeframe in Timeframe if not timeframe.is_made_of_days]
    assert [timeframes for _, timeframes, _, _ in refreshing.aggregator.asked] == [with_files]


@pytest.mark.parametrize("wanted", [[Timeframe.WEEK_1], [Timeframe.MONTH_1, Timeframe.WEEK_1, Timeframe.DAY_1]])
def test_for_weeks_and_months_daily_bars_are_refreshed(wanted: list[Timeframe]) -> None:
    refreshing = Refreshing()

    refreshing.refresher.refresh([AAPL], wanted)

    assert [timeframes for _, timeframes, _, _ in refreshing.aggregator.asked] == [[Timeframe.DAY_1]]


@pytest.mark.parametrize(("symbols", "timeframes"), [([], [Timeframe.DAY_1]), ([AAPL], [])])
def test_nothing_to_refresh_calls_no_aggregator(symbols: list[Symbol], timeframes: list[Timeframe]) -> None:
    refreshing = Refreshing()

    assert refreshing.refresher.refresh(symbols, timeframes) == AggregationReport(0, 0)
    assert refreshing.aggregator.asked == []


def test_a_symbol_that_cannot_be_aggregated_holds_up_no_other() -> None:
    refreshing = Refreshing(FakeAggregator(broken=AAPL))

    count = refreshing.refresher.refresh([AAPL, MSFT], [Timeframe.DAY_1])

    assert count == AggregationReport(1, 2, ("AAPL: cannot aggregate AAPL",))
    assert [asked[0] for asked in refreshing.aggregator.asked] == [MSFT]
    assert refreshing.published == [AggregatesRefreshed(1, 2)]


def test_what_is_up_to_date_is_checked_and_not_refreshed() -> None:
    refreshing = Refreshing(FakeAggregator(fresh=AAPL))

    count = refreshing.refresher.refresh([AAPL, MSFT], [Timeframe.DAY_1], FIRST, LAST)

    assert refreshing.aggregator.checked == [(symbol, [Timeframe.DAY_1], FIRST, LAST) for symbol in (AAPL, MSFT)]
    assert [asked[0] for asked in refreshing.aggregator.asked] == [MSFT]
    assert count == AggregationReport(1, 7)


def test_failures_are_in_the_order_of_the_symbols_whichever_step_failed() -> None:
    refreshing = Refreshing(FakeAggregator(broken=AAPL, unsightly=MSFT))

    count = refreshing.refresher.refresh([AAPL, MSFT, TSLA], [Timeframe.DAY_1])

    assert count == AggregationReport(1, 2, ("AAPL: cannot aggregate AAPL", "MSFT: cannot check MSFT"))


def test_several_symbols_are_refreshed_at_once() -> None:
    meeting = threading.Barrier(2)

    class Meeting(FakeAggregator):
        def refresh(self, symbol: Symbol, **_: Any) -> AggregationReport:
            meeting.wait(60)  # it fails if the other one does not come
            return AggregationReport(1, 0)

    assert Refreshing(Meeting(), workers=2).refresher.refresh([AAPL, MSFT], [Timeframe.DAY_1]) == AggregationReport(
        2, 0
    )


def test_counts_add_up() -> None:
    assert AggregationReport(1, 2) + AggregationReport(10, 20) == AggregationReport(11, 22)
