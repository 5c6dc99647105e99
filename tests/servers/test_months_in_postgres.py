"""Processes that make day files of the same month at the same time, over a bucket with its state in PostgreSQL."""

from __future__ import annotations

import threading
from pathlib import Path

from marketpipe import composition, place_parts
from marketpipe.parts import Parts
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.infrastructure.machine.disk import read_bytes
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.testing import FakeClock
from tests.support.bucket_stores import bucket_config, in_folders, over
from tests.support.pipeline_ring import minutes
from tests.support.scripted_provider import ScriptedProvider

DATES = ("2024-03-04", "2024-03-05")
MONTH = MonthPartition(Symbol("AAPL"), 2024, 3)
A_MOMENT = 1.0


def expand(parts: Parts) -> object:
    return composition.month_folders(parts).expand(MONTH, {})


def test_a_day_that_another_process_has_stored_in_the_month_is_kept(database_url: str, tmp_path: Path) -> None:
    config = bucket_config(tmp_path, symbols=["AAPL"], start=DATES[0], end=DATES[1], state_path=Path(database_url))
    provider = ScriptedProvider({"AAPL": {date: minutes(date, 8) for date in DATES}})
    new, clock = in_folders(tmp_path), FakeClock()
    with over(new, config, provider, clock) as first, over(new, config, provider, clock) as second:
        assert first.ingest().ok
        first.compact()
        one, found = first._parts, list[object]()
        day = place_parts.layout(one).month(MONTH) / "day=04.parquet"
        late = threading.Thread(target=lambda: found.append(expand(second._parts)))
        with place_parts.state(one).together():
            assert expand(one) is not None
            place_parts.files(one).publish({day: b"corrected"})
            late.start()
            late.join(A_MOMENT)
            assert not found  # it waits until this is committed
        late.join()
        assert found == [None]
        assert read_bytes(place_parts.layout(second._parts).disk, day) == b"corrected"
