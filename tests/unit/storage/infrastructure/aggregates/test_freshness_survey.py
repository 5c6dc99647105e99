from __future__ import annotations

import os
from pathlib import Path

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import DISTANT_FUTURE, DISTANT_PAST
from marketpipe.storage.infrastructure.aggregates.freshness_survey import FreshnessSurvey
from tests.support.builders import day
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, minutes
from tests.support.store_on_disk import StoreOnDisk

FIVE, DAILY, HOURLY = (Timeframe.parse(text) for text in ("5m", "1d", "1h"))
AAPL, EVER = [Symbol("AAPL")], (DISTANT_PAST, DISTANT_FUTURE)


def counts(store: StoreOnDisk) -> list[tuple[int, int, int]]:
    found = FreshnessSurvey(store.layout, lambda: None).survey(AAPL, *EVER, [FIVE, DAILY, HOURLY])
    return [(each.fresh, each.stale, each.absent) for each in found]


def test_fresh_stale_and_absent_files_are_told_apart_without_changing_any(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((day("AAPL", TUESDAY), minutes(TUESDAY, 6)))
    store.refresh("AAPL", [FIVE, DAILY])
    assert counts(store) == [(1, 0, 0), (1, 0, 0), (0, 0, 1)]

    store.keep((day("AAPL", WEDNESDAY), minutes(WEDNESDAY, 6)))
    daily = store.aggregate_path("AAPL", DAILY, "2024-01")
    before = os.stat(daily).st_mtime_ns
    assert counts(store) == [(0, 1, 0), (0, 1, 0), (0, 0, 1)]
    assert os.stat(daily).st_mtime_ns == before

    daily.unlink()
    five, found, _ = FreshnessSurvey(store.layout, lambda: None).survey(AAPL, *EVER, [FIVE, DAILY, HOURLY])
    assert dict(five.names) == {"AAPL 2024-01": "stale"}
    assert dict(found.names) == {"AAPL 2024": "absent"}


def test_without_timeframes_nothing_is_examined(tmp_path: Path) -> None:
    assert FreshnessSurvey(StoreOnDisk(tmp_path).layout, lambda: None).survey(AAPL, *EVER, []) == ()
