from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from marketpipe.ingestion.domain.coverage.verdict import Verdict
from marketpipe.report_page import embedded_days
from marketpipe.report_page.embedded_days import Budget, packed_day, worth_embedding
from marketpipe.shared_kernel.domain.trading_date import EXTENDED_OPEN, TradingDate
from marketpipe.testing import bar, bar_table

START = TradingDate.parse("2024-01-02").at(EXTENDED_OPEN).epoch_micros
PRICES = ("open", "high", "low", "close")


def unpacked(text: str) -> dict[str, list[float]]:
    """Undo what ``packed_day`` does, as the script of the page does it."""
    content = zlib.decompress(base64.b64decode(text))
    whole, exact, count = struct.unpack("<Bii", content[:9])
    at = 9

    def column(kind: str) -> np.ndarray[Any, Any]:
        nonlocal at
        size = np.dtype(kind).itemsize
        part, at = content[at : at + size * count], at + size * count
        planes = np.frombuffer(part, np.uint8)
        return np.frombuffer(planes.reshape(size, count).T.tobytes() if kind == "<i4" else part, kind)

    found = {"minute": np.cumsum(column("<i4")).tolist()}
    if exact:
        first, high, low, close = (column("<i4").astype(np.int64) for _ in PRICES)
        opens = np.cumsum(first + np.concatenate([[0], close[:-1]])[:count])
        found |= {
            n: (c / 10_000).tolist()
            for n, c in zip(PRICES, (opens, opens + high, opens + low, opens + close), strict=True)
        }
    else:
        found |= {name: column("<f8").tolist() for name in PRICES}
    return {**found, "volume": column("<i4" if whole else "<f8").tolist()}


def table(*prices: float, volume: float = 100.0) -> pa.Table:
    rows = [bar(f"2024-01-02T14:{30 + n}:00Z", price, volume=volume) for n, price in enumerate(prices)]
    return bar_table(rows)


@pytest.mark.parametrize("prices", [(100.0, 101.25, 99.9999), (187.43210001, 0.000012, 3.0), ()])
@pytest.mark.parametrize("volume", [100.0, 0.5, 3e9])
def test_what_is_packed_is_unpacked_to_the_last_digit(prices: Sequence[float], volume: float) -> None:
    bars = table(*prices, volume=volume)

    found = unpacked(packed_day(bars, START))

    assert found["minute"] == [330 + number for number in range(len(prices))]  # 09:30 New York
    assert {name: found[name] for name in (*PRICES, "volume")} == {
        name: bars[name].to_pylist() for name in (*PRICES, "volume")
    }


def test_problems_come_before_other_days_and_newest_sessions_first() -> None:
    codes = [list(Verdict).index(each) for each in (Verdict.COMPLETE, Verdict.SUSPECT, Verdict.MISSING)]
    columns = {
        "verdicts": np.array([[codes[0], codes[1], codes[0]], [codes[0], codes[0], codes[2]]], np.uint8),
        "bars": np.array([[5, 5, 1], [5, 5, 0]]),
        "first": np.array([[-1, -1, 330], [330, 330, -1]]),
        "rejected": np.array([[0, 0, 0], [2, 0, 0]]),
        "difference": np.array([[0, 0, 0.5], [np.nan, 0, np.nan]]),
    }

    assert worth_embedding(columns, [4]) == ([2, 1, 4, 3], [0])


def test_a_daily_bar_without_minutes_has_no_bars_to_embed() -> None:
    columns = {
        "verdicts": np.zeros((1, 2), np.uint8),
        "bars": np.array([[1, 1]]),
        "first": np.array([[-1, 330]]),
        "rejected": np.zeros((1, 2)),
        "difference": np.zeros((1, 2)),
    }

    assert worth_embedding(columns) == ([], [1])


def test_a_budget_ends_with_the_bytes_the_share_or_the_number_of_days() -> None:
    read = list[int]()

    def texts(cells: Iterable[int]) -> Iterator[tuple[int, str]]:
        for cell in cells:
            read.append(cell)
            yield cell, "x" * 9

    budget = Budget(100)
    budget.fill(range(1000), texts, 0.5)
    assert list(budget.packed) == [0, 1, 2, 3, 4]
    budget.fill(range(500, 1000), texts)
    assert len(budget.packed) == 10
    assert budget.used == 100
    assert len(read) == 2 * embedded_days.DAYS_AT_A_TIME

    many = Budget(10**9)
    many.fill(range(embedded_days.MOST_DAYS * 2), texts)
    assert len(many.packed) == embedded_days.MOST_DAYS


def test_no_day_is_read_twice_or_without_room() -> None:
    read = list[int]()

    def texts(cells: Iterable[int]) -> Iterator[tuple[int, str]]:
        read.extend(cells)
        return ((cell, "x" * 9) for cell in cells if cell != 3)  # one cannot be read

    problems = range(64)
    budget = Budget(200)
    budget.fill(problems, texts, 0.3)
    budget.fill([100], texts)
    budget.fill([cell for cell in problems if cell not in budget.packed], texts)
    assert list(budget.packed) == [0, 1, 2, 4, 5, 6, 100, *range(7, 20)]
    assert read == [*range(64), 100]

    Budget(0).fill(problems, texts)
    assert len(read) == 65
