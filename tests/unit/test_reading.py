"""The arguments of ``load``."""

from __future__ import annotations

import pytest

from marketpipe.reading import day_source
from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.timeframe import DaySource, Timeframe


@pytest.mark.parametrize("timeframe", [each for each in Timeframe if each.is_intraday])
def test_bars_that_have_no_source_cannot_be_narrowed(timeframe: Timeframe) -> None:
    assert day_source(None, timeframe) is None
    with pytest.raises(ValidationError, match=f"source: bars of {timeframe} have none"):
        day_source(DaySource.MINUTES, timeframe)


def test_a_source_is_read() -> None:
    assert day_source("official", Timeframe.DAY_1) is DaySource.OFFICIAL
