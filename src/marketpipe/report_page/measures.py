"""What the minutes of each symbol-day add up to, beside its official day: filled while coverage is assessed."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from marketpipe.ingestion.domain.coverage.baseline import GridSession, SessionGrid
from marketpipe.ingestion.domain.coverage.market import SymbolDays
from marketpipe.ingestion.domain.coverage.reconciliation import Comparison
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.ohlcv_bar import LOT, DayFigures, OfficialDay
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import MINUTES_A_DAY

Floats = npt.NDArray[np.floating]
UNKNOWN: Final = math.nan
PRICES: Final = ("open", "high", "low", "close")
NAMES: Final = ("volume", "official_volume", "difference", *PRICES)
"""By session: shares in the minutes, official shares, the largest relative difference of a price between both, and the
official prices. ``UNKNOWN`` if there is none."""
VOLUMES: Final = ("volume", "official_volume")
"""They are shown to the last share, which a number of four bytes has only up to 16.7 million."""
NO_OFFICIAL_DAY: Final = (UNKNOWN,) * (len(NAMES) - 1)


class DayMeasures:
    """Seven columns of each symbol, with an entry for each session. ``add`` is a ``Watch`` of an assessment."""

    def __init__(self) -> None:
        self._of: dict[Symbol, array[float]] = {}
        """Of each session one number for each of ``NAMES``."""

    def add(self, days: SymbolDays, grid: SessionGrid) -> None:
        """Take the measures of one symbol, in the place of earlier ones."""
        measured, official = array("d"), days.official
        for record, item, date in zip(days.records, grid.sessions, grid.dates, strict=True):
            measured.extend(_measured(record, item, official.get(date)))
        self._of[days.symbol] = measured

    def columns(self, symbols: Iterable[Symbol], sessions: int) -> dict[str, Floats]:
        """Return each column with a row for each of the symbols; unknown rows have no number."""
        nothing = array("d", [UNKNOWN]) * (sessions * len(NAMES))
        rows = [np.asarray(self._of.get(symbol, nothing)) for symbol in symbols]
        found = np.array(rows, np.float64).reshape(len(rows), sessions, len(NAMES))
        kinds = {name: np.float64 if name in VOLUMES else np.float32 for name in NAMES}
        return {name: found[..., number].astype(kinds[name]) for number, name in enumerate(NAMES)}


def _measured(record: IngestionCheckpoint | None, item: GridSession, day: OfficialDay | None) -> Sequence[float]:
    figures = record.figures if record is not None else None
    volume = figures.early_volume + figures.volume + figures.late_volume if figures is not None else UNKNOWN
    if day is None:
        return volume, *NO_OFFICIAL_DAY
    return volume, day.volume, _difference(figures, item, day), day.open, day.high, day.low, day.close


def _difference(figures: DayFigures | None, item: GridSession, day: OfficialDay) -> float:
    """Return the largest relative difference of a price; figures of other hours are not compared."""
    if figures is None or day.volume < LOT or not 0 <= item.opens < MINUTES_A_DAY:
        return UNKNOWN
    if figures.opens != item.opens or figures.closes - figures.opens != item.length:
        return UNKNOWN
    return max(map(abs, Comparison.of(figures, day).prices))
