from __future__ import annotations

from pathlib import Path

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import DISTANT_FUTURE, DISTANT_PAST, TradingDate
from marketpipe.storage.infrastructure.reading.former_versions import FormerVersions
from tests.support.builders import day
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, minutes
from tests.support.store_on_disk import StoreOnDisk

AAPL, EVER = Symbol("AAPL"), (DISTANT_PAST, DISTANT_FUTURE)


def test_each_version_is_compared_with_the_one_that_followed_it_newest_first(tmp_path: Path) -> None:
    store, key = StoreOnDisk(tmp_path), day("AAPL", TUESDAY)
    for price in (100.0, 101.0, 103.0):
        store.keep((key, minutes(TUESDAY, 6, price=price)))
        store.clock.advance(60)

    found = FormerVersions(store.layout).survey([AAPL], *EVER, most=10)

    assert found.found == 2
    newest, oldest = found.days
    assert oldest.until == newest.since
    assert newest.since < newest.until  # type: ignore[operator]
    assert (newest.comparison.changed, newest.comparison.symbol_day) == (6, key)
    assert round(oldest.comparison.largest_move, 4) == 0.0101


def test_a_withdrawn_day_is_followed_by_no_bars(tmp_path: Path) -> None:
    store, key = StoreOnDisk(tmp_path), day("AAPL", TUESDAY)
    store.keep((key, minutes(TUESDAY, 6)))
    store.partitions.withdraw([key])

    (only,) = FormerVersions(store.layout).survey([AAPL], *EVER, most=10).days

    assert only.until is not None
    assert (only.comparison.removed, only.comparison.changed) == (6, 0)


def test_only_the_newest_are_compared_only_of_these_dates_and_a_damaged_one_says_so(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    for price in (100.0, 101.0):
        for date in (TUESDAY, WEDNESDAY):
            store.keep((day("AAPL", date), minutes(date, 6, price=price)))
            store.clock.advance(60)
    revision = next(path for path in sorted((tmp_path / "revisions").rglob("*.parquet")) if "day=03" in path.name)
    revision.write_bytes(b"rotten")
    survey = FormerVersions(store.layout).survey

    newest = survey([AAPL], *EVER, most=1)
    tuesday = TradingDate.parse(TUESDAY)

    assert (newest.found, len(newest.days)) == (2, 1)
    assert newest.days[0].comparison.symbol_day == day("AAPL", WEDNESDAY)
    assert "damaged" in (newest.days[0].comparison.error or "")
    assert [each.comparison.symbol_day for each in survey([AAPL], tuesday, tuesday, 9).days] == [day("AAPL", TUESDAY)]
    assert survey([Symbol("MSFT")], *EVER, most=1).found == 0
