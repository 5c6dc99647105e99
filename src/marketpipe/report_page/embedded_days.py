"""The bars that are inside a report page: those of symbol-days with a problem, and the newest, within a budget.

A symbol-day is packed column by column, as differences and in planes of bytes, and compressed: 390 bars take about
three kilobytes. The script of the page unpacks it (assets/columns.js).
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from attrs import define, field, frozen

from marketpipe.ingestion.domain.coverage.verdict import Verdict
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE

Array = npt.NDArray[np.generic]
PRICE_UNITS: Final = 10_000
"""Prices are packed as whole multiples of 0.0001, if they all are, which real ones are."""
LARGEST: Final = 2**30
NEARLY: Final = 1e-4
PROBLEMS: Final = (Verdict.SUSPECT, Verdict.SHORT, Verdict.PARTIAL)
DIFFERS: Final = 0.01
"""A symbol-day whose prices differ so much from its official day is worth a look."""
SHARE_OF_PROBLEMS: Final = 0.6
"""Of the budget: the rest is for the newest days, so that a page of many problems shows these too."""
DAYS_AT_A_TIME: Final = 64
MOST_DAYS: Final = 10_000
"""However few bars they have: a file is opened for each."""


@frozen
class EmbeddedDays:
    """Packed symbol-days by their cell: the number of the symbol times the sessions, plus the number of the session.

    ``stored`` is the number of symbol-days that have bars.
    """

    packed: Mapping[int, str] = field(repr=lambda packed: f"<{len(packed)} symbol-days>")
    stored: int


NO_DAYS: Final = EmbeddedDays({}, 0)


def packed_day(bars: pa.Table, start: int) -> str:
    """Return the bars of one symbol-day as text. ``start`` is 04:00 New York of its date, in epoch microseconds."""
    times = bars["timestamp"].cast(pa.int64()).to_numpy()
    prices = np.array([bars[name].to_numpy() for name in ("open", "high", "low", "close")])
    volume = bars["volume"].to_numpy()
    whole = _is_whole(volume)
    scaled = np.rint(prices * PRICE_UNITS)
    exact = bool(
        np.isfinite(prices).all()
        and (np.abs(scaled) < LARGEST).all()
        and (np.abs(prices * PRICE_UNITS - scaled) < NEARLY * np.maximum(1, np.abs(prices))).all()
    )
    parts = [
        np.array([exact, len(times)], "<i4").tobytes(),
        planes(np.diff((times - start) // MICROS_PER_MINUTE, prepend=0).astype("<i4")),
        *([planes(column) for column in _differences(scaled)] if exact else [prices.astype("<f8").tobytes()]),
        planes(volume.astype("<i4")) if whole else volume.astype("<f8").tobytes(),
    ]
    return base64.b64encode(zlib.compress(b"".join([bytes([whole]), *parts]), 6)).decode()


def _is_whole(volume: npt.NDArray[np.float64]) -> bool:
    return bool(np.isfinite(volume).all() and (np.abs(volume) < LARGEST).all() and (volume == np.rint(volume)).all())


def _differences(scaled: npt.NDArray[np.float64]) -> Iterator[Array]:
    """Yield the opens as differences from the close before, and the other prices as differences from the open."""
    opens, highs, lows, closes = scaled.astype(np.int64)
    before = np.concatenate([[0], closes[:-1]])[: len(closes)]
    for column in (opens - before, highs - opens, lows - opens, closes - opens):
        yield column.astype("<i4")


def planes(column: Array) -> bytes:
    """Return the first bytes of all numbers, then the second ones, and so on: that compresses much better."""
    return np.frombuffer(column.tobytes(), np.uint8).reshape(-1, column.dtype.itemsize).T.tobytes()


def worth_embedding(columns: Mapping[str, Any], restated: Iterable[int] = ()) -> tuple[list[int], list[int]]:
    """Return the cells that have bars and a problem, then all others that have bars; each the newest sessions first.

    A problem is also a cell that was ``restated``.
    """
    has_bars = with_minutes(columns)
    marked = np.isin(columns["verdicts"], [list(Verdict).index(verdict) for verdict in PROBLEMS])
    marked |= columns["rejected"] > 0
    with np.errstate(invalid="ignore"):
        marked |= columns["difference"] > DIFFERS
    marked.reshape(-1)[np.fromiter(restated, np.int64)] = True
    return _newest_first(has_bars & marked), _newest_first(has_bars & ~marked)


def with_minutes(columns: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """Return which symbol-days have minute bars. A daily bar without minutes counts as one bar at no minute."""
    found: npt.NDArray[np.bool_] = (columns["bars"] > 1) | ((columns["bars"] > 0) & (columns["first"] >= 0))
    return found


def _newest_first(mask: npt.NDArray[np.bool_]) -> list[int]:
    sessions, symbols = np.nonzero(mask.T[::-1])
    cells: list[int] = (symbols * mask.shape[1] + (mask.shape[1] - 1 - sessions)).tolist()
    return cells


@define
class Budget:
    """Takes packed symbol-days until they fill the budget of ``size`` bytes. Reads none twice."""

    size: int
    packed: dict[int, str] = field(factory=dict)
    used: int = 0
    _left: dict[int, str] = field(factory=dict, init=False)
    """What was read and did not fit; empty for a day that cannot be read."""

    def fill(
        self, cells: Sequence[int], read: Callable[[Sequence[int]], Iterable[tuple[int, str]]], share: float = 1.0
    ) -> None:
        """Read cells in order, some at a time, until ``share`` of the budget is used."""
        size, most = self.size * share, int(MOST_DAYS * share)
        for start in range(0, len(cells), DAYS_AT_A_TIME):
            if self.used >= size or len(self.packed) >= most:
                return
            some = cells[start : start + DAYS_AT_A_TIME]
            if unread := [cell for cell in some if cell not in self._left]:
                self._left.update({**dict.fromkeys(unread, ""), **dict(read(unread))})
            for cell in filter(self._left.get, some):
                text = self._left[cell]
                if self.used + len(text) > size or len(self.packed) >= most:
                    return
                self.packed[cell] = self._left.pop(cell)
                self.used += len(text) + 1
