from __future__ import annotations

from typing import Any

import pytest

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.timeframe import DaySource, Timeframe

MINUTES = {
    **{"1m": 1, "2m": 2, "3m": 3, "5m": 5, "10m": 10, "15m": 15, "30m": 30},  # noqa: PIE800
    **{"1h": 60, "2h": 120, "4h": 240, "1d": 1440, "1w": 10_080, "1mo": 43_200},  # noqa: PIE800
}


def test_timeframes_and_their_minutes_are_these() -> None:
    assert {str(timeframe): timeframe.minutes for timeframe in Timeframe} == MINUTES


@pytest.mark.parametrize("text", MINUTES)
def test_parse_reads_what_str_writes(text: str) -> None:
    assert str(Timeframe.parse(text)) == text
    assert Timeframe.parse(Timeframe.parse(text)) is Timeframe.parse(text)


NEAREST = {"1M": "1mo", "1D": "1d", "4m": "5m", "60m": "1h", "90m": "2h", "1min": "1m", "1Min": "1m", " 1m": "1m"}
NEAREST |= {"7d": "1w", "1wk": "1w", "3mo": "1mo", "240 minutes": "4h"}


@pytest.mark.parametrize("text", NEAREST)
def test_parse_names_the_nearest_length(text: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        Timeframe.parse(text)
    known = ", ".join(MINUTES)
    assert str(refusal.value) == f"{text!r} is not a timeframe; did you mean '{NEAREST[text]}'? Use one of: {known}"


@pytest.mark.parametrize("text", ["", "m", "0m", "daily", 1, 5.0, None, True, [], {}])
def test_parse_refuses_other_lengths_and_names_the_known_ones(text: Any) -> None:
    with pytest.raises(ValidationError) as refusal:
        Timeframe.parse(text)
    assert str(refusal.value) == f"{text!r} is not a timeframe; use one of: {', '.join(MINUTES)}"


def test_days_weeks_and_months_are_not_intraday() -> None:
    assert [str(timeframe) for timeframe in Timeframe if not timeframe.is_intraday] == ["1d", "1w", "1mo"]


def test_weeks_and_months_are_made_of_days_and_kept_in_no_file() -> None:
    assert [str(timeframe) for timeframe in Timeframe if timeframe.is_made_of_days] == ["1w", "1mo"]
    assert [str(each) for each in Timeframe if each.is_aggregated] == list(MINUTES)[1:-2]


@pytest.mark.parametrize("text", ["official", "minutes", "mixed"])
def test_the_source_of_a_bar_is_one_of_three(text: str) -> None:
    assert str(DaySource.parse(text)) == text
    assert DaySource.parse(DaySource.parse(text)) is DaySource.parse(text)


@pytest.mark.parametrize("text", ["", "Official", "mix", None, 1])
def test_another_source_is_refused_by_name(text: Any) -> None:
    with pytest.raises(ValidationError, match=r"is not the source of a bar; (use one of: minutes, mixed|did you mean)"):
        DaySource.parse(text)
