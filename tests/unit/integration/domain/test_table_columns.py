from __future__ import annotations

import pytest

from marketpipe.integration.domain.table_columns import DATABENTO, MASSIVE, YAHOO, assign, recognised

CANONICAL = ["timestamp", "open", "high", "low", "close", "volume"]


@pytest.mark.parametrize(
    "names",
    [
        "timestamp open high low close volume",
        "t o h l c v",
        "Date Open High Low Close Volume",
        "Datetime OPEN HIGH LOW CLOSE VOL",
        "ts_event open high low close volume",
        "window_start open high low close volume",
        "time open high low close volume",
    ],
)
def test_usual_names(names: str) -> None:
    found = assign(names.split(), {})
    assert list(found.columns) == CANONICAL
    assert list(found.columns.values()) == names.split()
    assert found.questions == ()


def test_a_date_beside_a_time_are_two_columns() -> None:
    found = assign(["Date", "Time", "Open", "High", "Low", "Close", "Volume"], {})
    assert [found.columns["date"], found.columns["time"]] == ["Date", "Time"]
    assert "timestamp" not in found.columns


def test_numbered_names_of_alpha_vantage() -> None:
    found = assign(["timestamp", "1. open", "2. high", "3. low", "4. close", "5. volume"], {})
    assert found.columns["close"] == "4. close"


def test_stated_columns_come_first_whatever_their_case() -> None:
    found = assign([*CANONICAL, "Mid"], {"close": "mid"})
    assert found.columns["close"] == "Mid"
    assert found.ignored == ("close",)


def test_two_columns_of_one_role_are_a_question() -> None:
    assert "may each be the volume" in assign([*CANONICAL, "vol"], {}).questions[0]


def test_missing_columns_are_named() -> None:
    found = assign(["timestamp", "open", "high", "low", "price"], {})
    assert "no column is named like close, volume" in found.questions[0]
    assert 'columns={"close": "…", "volume": "…"}' in found.questions[0]


def test_an_index_of_pandas_without_a_name_is_to_be_named() -> None:
    bars = [name for name in CANONICAL if name != "timestamp"]
    (question,) = assign([*bars, "__index_level_0__"], {}).questions
    assert question.endswith('if the index of the DataFrame has the times, give frame.rename_axis("timestamp")')
    assert assign([*CANONICAL, "__index_level_0__"], {}).questions == ()


def test_a_stated_column_that_does_not_exist_is_named() -> None:
    assert "no column 'px'" in assign(CANONICAL, {"open": "px"}).questions[0]


def test_the_adjusted_close_is_never_the_close() -> None:
    found = assign(["Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"], {})
    assert found.columns["close"] == "Close"
    assert found.ignored == ("Adj Close",)


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        ("ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol", DATABENTO),
        ("ticker,volume,open,close,high,low,window_start,transactions", MASSIVE),
        ("Date,Open,High,Low,Close,Adj Close,Volume", YAHOO),
        ("timestamp,open,high,low,close,volume", None),
    ],
)
def test_documented_formats(names: str, layout: object) -> None:
    assert recognised(names.split(",")) is layout
