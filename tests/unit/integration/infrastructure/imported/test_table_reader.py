from __future__ import annotations

import math
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from marketpipe.integration.domain.table_import import ImportSettings
from marketpipe.integration.infrastructure.imported.table_reader import BarTable, SourceTable, read_bars
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from tests.support.builders import CALENDAR
from tests.support.own_files import Market

DAY = Market(last="2024-01-02")
PRICES = ["open", "high", "low", "close"]


def read(table: pa.Table, **settings: Any) -> BarTable:
    return read_bars(SourceTable(table), ImportSettings(name="x", **settings), CALENDAR)


def scaled(factor: int, kind: pa.DataType) -> pa.Table:
    table = DAY.table()
    for name in PRICES:
        values = [round(price * factor) for price in table[name].to_pylist()]
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, kind))
    return table.drop_columns(["vwap"])


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64()], ids=str)
@pytest.mark.parametrize(("unit", "factor"), [("cents", 100), ("deci-cents", 10_000), ("nano-dollars", 10**9)])
def test_whole_prices_are_asked_about_and_become_exact_dollars(kind: pa.DataType, unit: str, factor: int) -> None:
    table = scaled(factor, kind)
    asked = read(table, symbol="AAPL").preview
    assert 'price_unit="dollars", "cents"' in asked.questions[0]
    assert asked.price_unit == ""
    found = read(table, symbol="AAPL", price_unit=unit).table
    assert found.select(PRICES).to_pydict() == DAY.table().select(PRICES).to_pydict()


def test_prices_that_no_share_has_are_asked_about() -> None:
    table = DAY.table()
    for name in PRICES:
        values = [price * 10_000 + 0.5 for price in table[name].to_pylist()]
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    (question,) = read(table, symbol="A").preview.questions
    assert "nearly no share costs so many dollars" in question


@pytest.mark.parametrize(("kind", "unit"), [(pa.int64(), "nano-dollars"), (pa.float64(), "dollars")], ids=str)
def test_whole_prices_of_databento_are_what_their_column_is(kind: pa.DataType, unit: str) -> None:
    table = scaled(10**9 if unit == "nano-dollars" else 1, kind).rename_columns(
        ["ts_event", *PRICES, "volume", "trade_count"]
    )
    constants = {"rtype": 33, "instrument_id": 1}
    for name, value in constants.items():
        table = table.append_column(name, pa.array([value] * len(table)))
    preview = read(table, symbol="AAPL").preview
    assert (preview.price_unit, preview.questions) == (unit, ())


def test_repetitions_of_the_same_bar_are_left_out_and_counted() -> None:
    table = DAY.table()
    found = read(pa.concat_tables([table, table.slice(0, 50)]), symbol="AAPL")
    assert found.preview.left_out == {"repetitions of the same bar": 50}
    assert found.table.equals(table.combine_chunks())


def test_bars_of_several_venues_are_asked_about() -> None:
    table = DAY.table()
    other = table.set_column(5, "volume", pa.array([1.0] * len(table)))
    (question,) = read(pa.concat_tables([table, other]), symbol="AAPL").preview.questions
    assert question.startswith("50% of the bars have the symbol and time of another bar")


def test_a_stated_time_zone_that_is_not_used_is_a_note() -> None:
    notes = read(DAY.table(), symbol="AAPL", timezone="America/New_York").preview.notes
    assert notes == ("the times name their moment in UTC: the stated time zone is not used",)


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize("stated", ["UTC", "America/Chicago", "+03:00"])
def test_a_stated_time_zone_that_does_not_fit_is_named_with_one_that_does(extended: bool, stated: str) -> None:
    questions = read(_local_times(extended), symbol="AAPL", timezone=stated).preview.questions
    wanted = f'the times do not fit timezone="{stated}"; is it timezone="America/New_York"?'
    assert questions[-1].endswith(wanted)


@pytest.mark.parametrize("stated", [None, "America/New_York"])
def test_local_times_that_are_marked_as_utc_are_recognized(stated: str | None) -> None:
    local = _local_times(extended=False)
    marked = local.set_column(0, "timestamp", pc.assume_timezone(local["timestamp"], "UTC"))
    (question,) = read(marked, symbol="AAPL", timezone=stated).preview.questions
    assert "look like those of America/New_York: remove the zone from them, and state timezone=" in question


def _local_times(extended: bool) -> pa.Table:
    table = Market(first="2024-01-02", last="2024-01-05", extended=extended).table()
    local = pc.local_timestamp(table["timestamp"].cast(pa.timestamp("us", "America/New_York")))
    return table.set_column(0, "timestamp", local)


def test_bars_are_sorted_by_symbol_and_time() -> None:
    table = pa.concat_tables(
        [Market(name, last="2024-01-02").table().append_column("symbol", pa.array([name] * n)) for name, n in _sizes()]
    )
    mixed = table.take(pa.array(range(len(table) - 1, -1, -1)))
    found = read(mixed)
    assert [str(symbol) for symbol in found.symbols] == ["AAPL", "MSFT"]
    assert found.bounds.tolist() == [0, len(DAY.table()), len(table)]
    assert found.table.slice(0, len(DAY.table())).equals(DAY.table().combine_chunks())


def _sizes() -> list[tuple[str, int]]:
    return [(name, len(Market(name, last="2024-01-02").table())) for name in ("MSFT", "AAPL")]


def test_right_edges_that_are_stated_become_left_ones() -> None:
    table = DAY.table()
    later = pa.array([micros + 60_000_000 for micros in table["timestamp"].cast(pa.int64()).to_pylist()])
    shifted = table.set_column(0, "timestamp", later.cast(table.schema.field("timestamp").type))
    assert read(shifted, symbol="AAPL", stamps="right").table["timestamp"].equals(table["timestamp"])


def test_names_in_small_letters_and_other_spellings_are_symbols() -> None:
    table = DAY.table()
    names = pa.array(["aapl", "BRK/B", "BACpB", "ABCw"] * (len(table) // 4) + ["aapl"] * (len(table) % 4))
    found = read(table.append_column("ticker", names))
    assert [str(symbol) for symbol in found.symbols] == ["AAPL", "BAC.PRB", "BRK.B"]
    assert found.preview.left_out == {"symbols that cannot be stored": len(table) // 4}
    assert "ABCw" in found.preview.notes[0]


def test_days_without_a_session_are_left_out_and_counted() -> None:
    table = Market(first="2024-01-02", last="2024-01-31").table()
    sunday = pa.array([1_704_650_400_000_000], pa.int64()).cast(table.schema.field("timestamp").type)
    odd = table.slice(0, 1).set_column(0, table.schema.field("timestamp"), sunday)
    found = read(pa.concat_tables([table, odd]), symbol="AAPL")
    assert found.preview.left_out == {"days on which the exchange was closed": 1}
    assert found.preview.bars == len(table)


def test_minutes_without_any_price_are_left_out_and_counted() -> None:
    table = DAY.table()
    gaps = table.slice(10, 2)
    for name, value in zip(PRICES, (None, math.nan, None, None), strict=True):
        gaps = gaps.set_column(gaps.schema.get_field_index(name), name, pa.array([value] * 2, pa.float64()))
    found = read(pa.concat_tables([table.slice(0, 10), gaps, table.slice(12)]), symbol="AAPL")
    assert found.preview.left_out == {"rows without any price": 2}
    assert found.preview.bars == len(table) - 2


def test_the_bars_of_each_date_are_counted() -> None:
    found = read(Market().table(), symbol="AAPL")
    counts = {str(date): count for date, count in found.dates()[found.symbols[0]].items()}
    assert counts == {day: len(Market(first=day, last=day).table()) for day in ("2024-01-02", "2024-01-03")}


def test_daily_bars_belong_to_their_date_in_new_york() -> None:
    days = Market().days()
    at_utc_midnight = pa.array(["2024-01-02", "2024-01-03"])
    for stamps in (days["timestamp"], at_utc_midnight):
        found = read(days.set_column(0, "date", stamps), symbol="AAPL", timeframe="1d").table
        assert found["timestamp"].equals(days["timestamp"])


def test_columns_in_another_order_are_asked_about() -> None:
    table = DAY.table().rename_columns(["timestamp", "open", "low", "high", *DAY.table().column_names[4:]])
    assert "the columns are not what they are taken for" in read(table, symbol="AAPL").preview.questions[0]


def test_whose_bars_these_are_is_asked() -> None:
    assert "whose bars are these" in read(DAY.table()).preview.questions[0]


def test_a_stated_symbol_and_a_column_of_several_is_a_question() -> None:
    table = DAY.table()
    names = pa.array(["AAPL", "MSFT"] * (len(table) // 2) + ["AAPL"] * (len(table) % 2))
    (question,) = read(table.append_column("symbol", names), symbol="AAPL").preview.questions
    assert question.startswith("the column symbol names 2 symbols")


def test_an_empty_table_is_a_question() -> None:
    assert "no rows" in read(DAY.table().slice(0, 0), symbol="AAPL").preview.questions[0]


def test_text_that_is_no_number_is_refused() -> None:
    table = DAY.table().set_column(1, "open", pa.array(["1.234,50"] * len(DAY.table())))
    with pytest.raises(ConfigurationError, match="column open has values that are no numbers"):
        read(table, symbol="AAPL")


def test_trade_counts_and_vwap_come_along() -> None:
    found = read(DAY.table(), symbol="AAPL").table
    assert found.select(["trade_count", "vwap"]).equals(DAY.table().select(["trade_count", "vwap"]).combine_chunks())


def test_the_dates_of_a_preview() -> None:
    preview = read(Market().table(), symbol="AAPL").preview
    assert (preview.first, preview.last) == (TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-03"))
    assert preview.symbol_days == 2


def test_two_columns_of_one_name_are_refused() -> None:
    table = DAY.table()
    twice = pa.Table.from_arrays([*table.columns, table["open"]], names=[*table.column_names, "open"])
    with pytest.raises(ConfigurationError, match="two columns are named 'open'"):
        read(twice, symbol="AAPL", columns={"open": "open"})


def test_a_volume_that_no_market_has_does_not_end_the_import() -> None:
    table = DAY.table()
    volumes = pa.array([2**63 + 2**20] * len(table), pa.uint64())
    found = read(table.set_column(table.schema.get_field_index("volume"), "volume", volumes), symbol="AAPL")
    assert found.table["volume"][0].as_py() == float(2**63 + 2**20)  # for validation to reject


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_column_of_prices_without_values_is_a_question(value: float | None) -> None:
    table = DAY.table()
    lows = pa.array([value] * len(table), pa.float64())
    preview = read(table.set_column(table.schema.get_field_index("low"), "low", lows), symbol="AAPL").preview
    assert preview.questions == ('no bar has a value of low: name other columns with columns={"low": "…"}',)


def test_prices_of_32_bits_are_the_decimal_numbers_that_were_meant() -> None:
    table = DAY.table()
    for name in PRICES:
        values = table[name].cast(pa.float32())
        table = table.set_column(table.schema.get_field_index(name), name, values)
    assert read(table, symbol="AAPL").table.select(PRICES).to_pydict() == DAY.table().select(PRICES).to_pydict()
    odd = pa.array([1234.56, 0.0001, 1 / 3, None, float("nan"), 487_300.03], pa.float32())
    rows = table.slice(0, len(odd)).drop_columns(["vwap"])
    for name in PRICES:
        rows = rows.set_column(rows.schema.get_field_index(name), name, odd)
    priced = pa.array([1234.56, 0.0001, 1 / 3, 5.0, 5.0, 487_300.03], pa.float32())  # else they are left out
    rows = rows.set_column(rows.schema.get_field_index("close"), "close", priced)
    *found, missing, nan, large = read(rows, symbol="AAPL", price_unit="dollars").table["open"].to_pylist()
    assert found == [1234.56, 0.0001, pytest.approx(1 / 3)]
    assert missing is None
    assert math.isnan(nan)
    assert large == 487_300.03


def test_daily_bars_that_are_off_by_a_day_are_asked_about() -> None:
    days = Market(first="2024-01-02", last="2024-01-31").days()
    own = [stamp.date() for stamp in days["timestamp"].to_pylist()]
    settings: dict[str, Any] = {"symbol": "AAPL", "timeframe": "1d"}
    in_tokyo = pa.array([datetime(d.year, d.month, d.day, tzinfo=ZoneInfo("Asia/Tokyo")) for d in own])
    (question,) = read(days.set_column(0, "date", in_tokyo), **settings).preview.questions
    assert "on days on which the exchange was closed, such as 2024-01-01: is the time zone right" in question
    holiday = pa.array([date(2024, 1, 1), *own[1:]])  # one placeholder, as some sources have
    preview = read(days.set_column(0, "date", holiday), **settings).preview
    assert (preview.questions, preview.left_out) == ((), {"days on which the exchange was closed": 1})
