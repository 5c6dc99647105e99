from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.storage.domain.bar_selection import BarSelection

MINUTE, DAY = Timeframe.MINUTE_1, Timeframe.DAY_1


def test_a_selection_of_nothing_in_particular_has_every_column_in_utc() -> None:
    found = BarSelection.of(MINUTE)

    assert found.columns[:3] == ("symbol", "timestamp", "open")
    assert found.columns[-1] == "vwap"
    assert (found.session, found.time_zone) == (None, "UTC")
    assert BarSelection.of(DAY).columns[-1] == "source"


def test_the_columns_keep_the_order_in_which_they_are_named() -> None:
    assert BarSelection.of(MINUTE, columns=["close", "symbol", "close"]).columns == ("close", "symbol")
    assert BarSelection.of(MINUTE, columns="close").columns == ("close",)


def test_columns_that_are_no_list_are_refused() -> None:
    wrong: Any = 5
    with pytest.raises(ValidationError, match="columns: 5 is neither a name nor a list of names"):
        BarSelection.of(MINUTE, columns=wrong)


def test_the_trading_date_follows_the_symbol_or_is_the_last_of_the_named_columns() -> None:
    assert BarSelection.of(MINUTE, trading_date=True).columns[:3] == ("symbol", "trading_date", "timestamp")
    assert BarSelection.of(MINUTE, columns=["close"], trading_date=True).columns == ("close", "trading_date")
    named = ["trading_date", "close"]
    assert BarSelection.of(MINUTE, columns=named, trading_date=True).columns == tuple(named)


def test_only_the_named_columns_and_the_times_are_read() -> None:
    assert BarSelection.of(MINUTE, columns=["close", "symbol"]).stored == ("timestamp", "close")


@pytest.mark.parametrize("tz", ["America/New_York", ZoneInfo("America/New_York")])
def test_a_time_zone_is_a_name_or_an_object(tz: str | ZoneInfo) -> None:
    assert BarSelection.of(MINUTE, tz=tz).time_zone == "America/New_York"


def test_days_are_of_the_regular_session_anyway() -> None:
    assert BarSelection.of(DAY, "regular").session is None
    assert BarSelection.of(MINUTE, SessionKind.REGULAR).regular_hours


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda: BarSelection.of(MINUTE, "regulr"), "'regulr' is not a session; did you mean 'regular'"),
        (lambda: BarSelection.of(DAY, "extended"), "a bar of 1d is of the regular session"),
        (lambda: BarSelection.of(MINUTE, columns=["clsoe"]), "no column 'clsoe'; did you mean 'close'"),
        (lambda: BarSelection.of(MINUTE, columns=["source"]), "bars of 1m have no column 'source'"),
        (lambda: BarSelection.of(MINUTE, columns=[]), "no column is named"),
        (lambda: BarSelection.of(MINUTE, tz="America/NewYork"), "did you mean 'America/New_York'"),
        (lambda: BarSelection.of(MINUTE, tz="../etc/passwd"), "is not a time zone"),
        (lambda: BarSelection.of(MINUTE, tz="America"), "is not a time zone"),
        (lambda: BarSelection.of(MINUTE, tz=""), "is not a time zone"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_nearest_name(refused: Callable[[], object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        refused()
