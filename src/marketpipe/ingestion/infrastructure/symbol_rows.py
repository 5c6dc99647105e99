"""What is asked of whole symbols: a few looks into the index for each of them, however many days it has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from marketpipe.ingestion.domain.typical_volume import TypicalVolume
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome

SETTLED: Final = ", ".join(f"'{outcome}'" for outcome in Outcome if outcome.is_settled)
WITH_STORED: Final = """
WITH RECURSIVE known (symbol) AS (
    SELECT min(symbol) FROM partitions WHERE store_id = ?1
    UNION ALL
    SELECT (SELECT min(symbol) FROM partitions WHERE store_id = ?1 AND symbol > known.symbol) FROM known
    WHERE known.symbol IS NOT NULL
)
"""
WITH_ASKED_FOR: Final = """
WITH RECURSIVE known (symbol) AS (
    SELECT min(symbol) FROM checkpoints WHERE store_id = ?1
    UNION ALL
    SELECT (SELECT min(symbol) FROM checkpoints WHERE store_id = ?1 AND symbol > known.symbol) FROM known
    WHERE known.symbol IS NOT NULL
)
"""
STORED_SYMBOLS: Final = f"{WITH_STORED} SELECT symbol FROM known WHERE symbol IS NOT NULL"
LIVES: Final = f"""{WITH_STORED}
SELECT symbol,
    (SELECT min(trading_date) FROM partitions WHERE store_id = ?1 AND symbol = known.symbol),
    (SELECT max(trading_date) FROM partitions WHERE store_id = ?1 AND symbol = known.symbol)
FROM known WHERE symbol IS NOT NULL
"""
SPANS: Final = f"""{WITH_ASKED_FOR}
SELECT symbol,
    (SELECT min(trading_date) FROM checkpoints WHERE store_id = ?1 AND symbol = known.symbol),
    (SELECT max(trading_date) FROM checkpoints WHERE store_id = ?1 AND symbol = known.symbol)
FROM known WHERE symbol IS NOT NULL
"""
LATEST_SETTLED: Final = f"""{WITH_ASKED_FOR}
SELECT symbol,
    (SELECT trading_date FROM checkpoints WHERE store_id = ?1 AND symbol = known.symbol AND outcome IN ({SETTLED})
     ORDER BY trading_date DESC LIMIT 1)
FROM known WHERE symbol IS NOT NULL
"""

DAYS_OF_A_VOLUME: Final = 250
SYMBOLS_OF_A_VOLUME: Final = 100
VOLUME: Final = f"""
SELECT sum(rows), sum(bytes), count(*) FROM (
    SELECT rows, bytes FROM partitions WHERE store_id = ? AND symbol = ? ORDER BY trading_date DESC
    LIMIT {DAYS_OF_A_VOLUME}
)
"""
"""Of a symbol's latest days: they say better than old ones what to expect."""


def volume_of(rows: Iterable[tuple[int | None, int | None, int]]) -> TypicalVolume | None:
    """Of rows of ``VOLUME``, one a symbol; None where nothing is stored."""
    found = [(bars, size, days) for bars, size, days in rows if bars and size]
    bars, size, days = (sum(each) for each in zip(*found, strict=True)) if found else (0, 0, 0)
    return TypicalVolume(bars / days, size / bars, days) if bars else None
