from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.ohlcv_bar import DayFigures
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.day_figures import FigureCalculator
from marketpipe.testing import bar_table, sessions
from tests.support.builders import CALENDAR

Row = dict[str, Any]
FULL, HALF, SUMMER, CLOSED = (TradingDate.parse(d) for d in ("2024-01-02", "2024-07-03", "2024-07-05", "2024-07-04"))
CLOSES = {FULL: 720, HALF: 540, SUMMER: 720}
CALCULATOR = FigureCalculator(CALENDAR)
QUARTERS = st.integers(4, 4000).map(lambda n: n / 4)
ROWS = st.lists(
    st.tuples(st.integers(0, 959), st.lists(QUARTERS, min_size=4, max_size=4), st.integers(0, 900)),
    unique_by=lambda row: row[0],
    max_size=12,
)


def bars(date: TradingDate, rows: Sequence[tuple[int, Sequence[float], float]]) -> list[Row]:
    """Return bars at minutes after 04:00, with four prices and a volume each."""
    found = []
    for minute, prices, volume in sorted(rows):
        start = date.at(sessions(str(FULL), str(FULL))[0].extended.start.moment.time().replace(hour=4))
        low, *middle, high = sorted(prices)
        moment = start.plus(timedelta(minutes=minute)).moment
        row = {"timestamp": moment, "open": middle[0], "high": high, "low": low, "close": middle[1]}
        found.append({**row, "volume": float(volume), "trade_count": None, "vwap": None})
    return found


def expected(date: TradingDate, rows: Sequence[tuple[int, Sequence[float], float]]) -> DayFigures | None:
    """Compute all figures but the hash one bar after another."""
    closes, named = CLOSES[date], dict(zip([row[0] for row in sorted(rows)], bars(date, rows), strict=True))
    if not rows:
        return None
    regular = {minute: bar for minute, bar in named.items() if 330 <= minute < closes}
    opening, closing = (
        {minute: bar for minute, bar in named.items() if edge - 60 <= minute <= edge + 60} for edge in (330, closes)
    )
    first, last = (regular[end(regular)] if regular else {} for end in (min, max))
    auction = named.get(closes, {})
    return DayFigures(
        opens=330,
        closes=closes,
        opening_peak=max(opening, key=lambda minute: opening[minute]["volume"], default=-1),
        closing_peak=max(closing, key=lambda minute: closing[minute]["volume"], default=-1),
        in_lots=any(b["volume"] for b in named.values()) and not any(b["volume"] % 100 for b in named.values()),
        open=first.get("open", 0.0),
        high=max((bar["high"] for bar in regular.values()), default=0.0),
        low=min((bar["low"] for bar in regular.values()), default=0.0),
        close=last.get("close", 0.0),
        volume=sum(bar["volume"] for bar in regular.values()),
        early_volume=sum(bar["volume"] for minute, bar in named.items() if minute < 330),
        late_volume=sum(bar["volume"] for minute, bar in named.items() if minute >= closes),
        auction_open=auction.get("open", 0.0),
        auction_high=auction.get("high", 0.0),
        auction_low=auction.get("low", 0.0),
        auction_volume=auction.get("volume", 0.0),
        opening_volume=first.get("volume", 0.0),
        odd_lots=float(np.float32(sum(b["volume"] % 100 > 0 for b in named.values()) / len(named))),
    )


def without_hash(figures: DayFigures | None) -> DayFigures | None:
    return figures and figures._replace(values_hash=0)


@given(st.lists(st.tuples(st.sampled_from([FULL, HALF, SUMMER]), ROWS), min_size=1, max_size=4))
def test_columns_add_up_to_what_bars_add_up_to_one_by_one(days: list[tuple[TradingDate, Any]]) -> None:
    dates, lengths = [date for date, _ in days], [len(rows) for _, rows in days]

    found = CALCULATOR.of_days(dates, lengths, bar_table([bar for date, rows in days for bar in bars(date, rows)]))

    assert list(map(without_hash, found)) == [expected(date, rows) for date, rows in days]
    assert found == [CALCULATOR.of_day(date, bar_table(bars(date, rows))) for date, rows in days]


def test_a_day_without_a_session_and_one_without_bars_have_no_figures() -> None:
    rows = bar_table(bars(CLOSED, [(400, [1, 2, 3, 4], 5)]))

    assert CALCULATOR.of_days([CLOSED, FULL], [1, 0], rows) == [None, None]
    assert CALCULATOR.of_days([FULL], [0], bar_table([])) == [None]


def test_a_day_in_disorder_spoils_no_other() -> None:
    one, other = bars(FULL, [(400, [1, 2, 3, 4], 5), (401, [1, 2, 3, 5], 6)]), bars(SUMMER, [(330, [9, 9, 9, 9], 7)])

    found = CALCULATOR.of_days([FULL, SUMMER, FULL], [2, 1, 2], bar_table([*one[::-1], *other, *one]))

    assert found[1:] == [CALCULATOR.of_day(SUMMER, bar_table(other)), CALCULATOR.of_day(FULL, bar_table(one))]


def test_the_hash_ignores_times_and_sees_every_value() -> None:
    rows = [(400, [1.0, 2.0, 3.0, 4.0], 5), (401, [2.0, 2.0, 3.0, 4.0], 6)]
    later = [(minute + 60, prices, volume) for minute, prices, volume in rows]
    other = [rows[0], (401, [2.0, 2.0, 3.0, 4.0], 7)]

    hashes = [
        figures.values_hash
        for date, some in ((FULL, rows), (SUMMER, later), (FULL, other))
        if (figures := CALCULATOR.of_day(date, bar_table(bars(date, some))))
    ]

    assert hashes[0] == hashes[1] != hashes[2]


@given(ROWS.filter(bool))
def test_figures_come_back_from_their_bytes(rows: Any) -> None:
    found = CALCULATOR.of_day(FULL, bar_table(bars(FULL, rows)))

    assert found is not None
    assert DayFigures.unpack(found.packed) == found


@pytest.mark.parametrize("packed", [b"", b"\0", DayFigures().packed + b"\0", struct.pack("<q", 1)])
def test_other_bytes_are_no_figures(packed: bytes) -> None:
    with pytest.raises(ValidationError, match="not the figures of a day"):
        DayFigures.unpack(packed)
