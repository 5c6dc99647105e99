from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marketpipe import ConfigurationError, SessionKind, load_ohlcv
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.infrastructure.reading.selected_bars import repeated
from marketpipe.testing import bar
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk

HALF_DAY, AFTER_IT = "2024-11-29", "2024-12-02"
"""The half day closes at 13:00 in New York, 18:00 UTC."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> StoreOnDisk:
    store = StoreOnDisk(tmp_path_factory.mktemp("store"))
    for number, date_ in enumerate((HALF_DAY, AFTER_IT)):
        times = ("09:00", "14:29", "14:30", "17:59", "18:00", "20:59", "21:00")
        rows = [bar(f"{date_}T{at}:00Z", 10.0 * number + minute) for minute, at in enumerate(times, 1)]
        store.keep((day("AAPL", date_), rows), (day("MSFT", date_), rows[:3]))
    store.refresh("AAPL", [Timeframe.HOUR_1, Timeframe.DAY_1])
    return store


def load(store: StoreOnDisk, symbols: object = "AAPL", timeframe: str = "1m", **wanted: object) -> pa.Table:
    return load_ohlcv(symbols, HALF_DAY, AFTER_IT, timeframe, store.root, **wanted)  # type: ignore[arg-type]


def test_the_regular_hours_of_a_half_day_end_early(store: StoreOnDisk) -> None:
    found = load(store, session="regular")["timestamp"].to_pylist()

    assert [f"{time:%d %H:%M}" for time in found] == [
        "29 14:30",
        "29 17:59",
        "02 14:30",
        "02 17:59",
        "02 18:00",
        "02 20:59",
    ]


@pytest.mark.parametrize("timeframe", ["5m", "1h", "4h"])
def test_buckets_have_regular_hours_too_whether_they_are_stored_or_made(store: StoreOnDisk, timeframe: str) -> None:
    found = load(store, timeframe=timeframe, session=SessionKind.REGULAR)

    opens = [datetime.fromisoformat(f"{day_}T14:30:00Z") for day_ in (HALF_DAY, AFTER_IT)]
    assert [time for time in found["timestamp"].to_pylist() if time in opens] == opens
    assert min(found["open"].to_pylist()) == 3.0
    assert sum(found["volume"].to_pylist()) == 6 * bar(f"{HALF_DAY}T14:30:00Z")["volume"]


def test_extended_is_everything_and_each_symbol_has_its_own_bars(store: StoreOnDisk) -> None:
    found = load(store, ["MSFT", "AAPL"], session="regular")

    assert load(store, session="extended").equals(load(store))
    assert found["symbol"].to_pylist() == ["AAPL"] * 6 + ["MSFT"] * 2


def test_extended_hours_of_a_store_without_them_are_refused(tmp_path: Path) -> None:
    from marketpipe import Pipeline, PipelineConfig

    config = PipelineConfig(
        provider="synthetic",
        symbols=["AAPL"],
        start=HALF_DAY,
        end=HALF_DAY,
        session="regular",
        timeframes=[],
        output_path=tmp_path / "data",
    )
    with Pipeline(config) as pipeline:
        pipeline.ingest()
        everything = pipeline.load("AAPL", HALF_DAY, HALF_DAY)
        regular = pipeline.load("AAPL", HALF_DAY, HALF_DAY, session="regular")
        with pytest.raises(ConfigurationError, match="holds regular sessions only"):
            pipeline.load("AAPL", HALF_DAY, HALF_DAY, session="extended")

    assert set(everything["timestamp"].to_pylist()) >= set(regular["timestamp"].to_pylist())
    assert len(regular) > 100


def test_a_table_has_the_named_columns_in_their_order_and_those_of_all_bars(store: StoreOnDisk) -> None:
    for timeframe in ("1m", "5m", "1h", "1d", "1w"):
        everything = load(store, timeframe=timeframe)
        found = load(store, timeframe=timeframe, columns=["vwap", "symbol", "close"])
        assert found.equals(everything.select(["vwap", "symbol", "close"]))


def test_as_of_has_columns_and_hours_too(store: StoreOnDisk) -> None:
    moment = "2100-01-01T00:00:00Z"
    for timeframe in ("1m", "1h"):
        found = load(store, timeframe=timeframe, columns=["close"], session="regular", as_of=moment)
        assert found.equals(load(store, timeframe=timeframe, columns=["close"], session="regular"))


def test_columns_that_are_not_wanted_are_not_read(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((day("AAPL", AFTER_IT), [bar(f"{AFTER_IT}T14:30:00Z", 7.0)]))
    path = store.path(day("AAPL", AFTER_IT))
    pq.write_table(pq.read_table(path, partitioning=None).select(["timestamp", "close"]), path, store_schema=False)

    assert load(store, columns=["close"])["close"].to_pylist() == [7.5]


def test_a_time_zone_changes_how_moments_are_shown_and_no_moment(store: StoreOnDisk) -> None:
    found, before = load(store, tz="America/New_York"), load(store)

    assert str(found.schema.field("timestamp").type) == "timestamp[us, tz=America/New_York]"
    assert found["timestamp"].to_pylist() == before["timestamp"].to_pylist()
    assert found["timestamp"].to_pylist()[2].hour == 9
    assert found.drop_columns("timestamp").equals(before.drop_columns("timestamp"))


@pytest.mark.parametrize("timeframe", ["1m", "1h", "1d"])
def test_a_trading_date_is_that_of_new_york(store: StoreOnDisk, timeframe: str) -> None:
    found = load(store, timeframe=timeframe, trading_date=True)

    assert found.column_names[:3] == ["symbol", "trading_date", "timestamp"]
    assert found.schema.field("trading_date").type == pa.date32()
    assert set(found["trading_date"].to_pylist()) == {date(2024, 11, 29), date(2024, 12, 2)}


def test_a_table_without_bars_has_the_wanted_columns(store: StoreOnDisk) -> None:
    wanted = {"columns": ["close", "timestamp"], "tz": "Asia/Tokyo", "trading_date": True, "session": "regular"}
    found = load_ohlcv("AAPL", "2020-01-01", "2020-01-31", "5m", store.root, **wanted)  # type: ignore[arg-type]

    assert found.num_rows == 0
    assert found.schema.equals(load(store, timeframe="5m", **wanted).schema)


def test_the_column_of_symbols_has_the_parts_of_the_others(store: StoreOnDisk) -> None:
    found = load(store, ["AAPL", "MSFT"])

    assert found["symbol"].to_pylist() == ["AAPL"] * 14 + ["MSFT"] * 6
    for column in found.columns:
        assert [len(chunk) for chunk in column.chunks] == [7, 7, 3, 3]


def test_symbols_of_several_lengths_are_repeated() -> None:
    found = repeated(["A", "BRK.B", "C", ""], [[2, 0, 1], [3], [], [1]])

    found.validate(full=True)
    assert found.to_pylist() == ["A"] * 3 + ["BRK.B"] * 3 + [""]
    assert repeated([], []).to_pylist() == []
