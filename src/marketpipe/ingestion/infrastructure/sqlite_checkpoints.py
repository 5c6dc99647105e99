"""What is known of symbol-days, to and from the rows of the tables checkpoints and partitions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from marketpipe.ingestion.domain.ingestion_checkpoint import DayOutlines, DayRecord, IngestionCheckpoint
from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.store_inventory import NOBODY_KNOWS_WHEN, FileAppearance, RecordedFile
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradedMinutes, TradingDate
from marketpipe.shared_kernel.events import StoredSymbolDay

_OF_DAYS: Final = (
    "FROM checkpoints LEFT JOIN partitions USING (store_id, symbol, trading_date) "
    "WHERE store_id = ? AND symbol = ? AND trading_date BETWEEN ? AND ?"
)
_DAYS: Final = (
    "SELECT trading_date, outcome, hours, answers, rejected, error, rows, bytes, known_since, sha256, minutes "
    f"{_OF_DAYS}"
)
SELECT_DAYS: Final = f"{_DAYS} ORDER BY trading_date"
SELECT_OUTLINES: Final = f"SELECT trading_date, outcome, hours, bytes, known_since {_OF_DAYS} ORDER BY trading_date"
SELECT_CHANGED_DAYS: Final = f"{_DAYS} AND change > ?"
PUT_CHECKPOINT: Final = (
    "INSERT OR REPLACE INTO checkpoints "
    "(store_id, symbol, trading_date, outcome, hours, answers, rejected, job_id, checked_at, error, change) "
    "VALUES (?,?,?,?,?,?,?,?,?,?,?)"
)
PUT_PARTITION: Final = """
INSERT INTO partitions (store_id, symbol, trading_date, rows, first, last, bytes, sha256, known_since, minutes)
VALUES (?,?,?,?,?,?,?,?,?,?)
ON CONFLICT DO UPDATE SET
    rows = excluded.rows, first = excluded.first, last = excluded.last, bytes = excluded.bytes,
    sha256 = excluded.sha256,
    known_since = iif(
        sha256 = excluded.sha256,
        min(coalesce(known_since, excluded.known_since), coalesce(excluded.known_since, known_since)),
        excluded.known_since
    ),
    minutes = iif(sha256 = excluded.sha256, coalesce(excluded.minutes, minutes), excluded.minutes)
"""
"""A file with the bytes that it had before has been known since before: a damaged one that was healed, for instance."""

DELETE_PARTITION: Final = "DELETE FROM partitions WHERE store_id = ? AND symbol = ? AND trading_date = ?"

_OUTCOMES: Final = {str(outcome): outcome for outcome in Outcome}
_SETTLED: Final = {str(outcome): outcome.is_settled for outcome in Outcome}
_HOURS: Final = tuple(SessionHours(value) for value in range(SessionHours.EXTENDED.value + 1))
_trading_date: Final = lru_cache(maxsize=1 << 14)(TradingDate.parse)


def day_records(rows: Iterable[tuple[Any, ...]]) -> dict[TradingDate, DayRecord]:
    """Of the rows of ``SELECT_DAYS``. Raises ``ValidationError`` for values that nobody wrote."""
    try:
        return _read(rows)
    except LookupError as error:
        raise ValidationError(f"there is no outcome, or there are no hours, {error}") from error


def _read(rows: Iterable[tuple[Any, ...]]) -> dict[TradingDate, DayRecord]:
    """One loop without calls of its own: hundreds of thousands pass through it."""
    found: dict[TradingDate, DayRecord] = {}
    since, minutes_of = Timestamp.from_epoch_micros, TradedMinutes
    for date, outcome, hours, answers, rejected, error, bars, size, known_since, sha256, packed in rows:
        file = None if sha256 is None else RecordedFile(size, since(known_since or 0), sha256)
        minutes = None if packed is None else minutes_of(packed)
        found[_trading_date(date)] = DayRecord(
            _OUTCOMES[outcome], _HOURS[hours], answers, rejected, error, bars or 0, file, minutes
        )
    return found


def day_outlines(rows: Iterable[tuple[Any, ...]]) -> DayOutlines:
    """Of the rows of ``SELECT_OUTLINES``. Raises ``ValidationError`` for values that nobody wrote."""
    settled, files = dict[TradingDate, SessionHours](), dict[dt.date, FileAppearance]()
    try:
        for text, outcome, hours, size, known_since in rows:
            day = _trading_date(text)
            if hours and _SETTLED[outcome]:
                settled[day] = _HOURS[hours]
            if size is not None:
                files[day.day] = size, known_since or NOBODY_KNOWS_WHEN
    except LookupError as error:
        raise ValidationError(f"there is no outcome, or there are no hours, {error}") from error
    return DayOutlines(settled, files)


def checkpoint_row(store_id: int, checkpoint: IngestionCheckpoint, known: DayRecord, change: int) -> tuple[object, ...]:
    """``known`` is what the checkpoint came to, with what was known before it."""
    return (
        *key_of(store_id, checkpoint),
        str(known.outcome),
        known.hours.value,
        known.answers,
        known.rejected,
        checkpoint.job_id,
        str(checkpoint.checked_at),
        known.error,
        change,
    )


def partition_row(store_id: int, checkpoint: IngestionCheckpoint, stored: StoredSymbolDay) -> tuple[object, ...]:
    return (
        *key_of(store_id, checkpoint),
        stored.rows,
        str(stored.first),
        str(stored.last),
        stored.size_bytes,
        stored.sha256,
        None if stored.known_since is None else stored.known_since.epoch_micros,
        None if stored.minutes is None else stored.minutes.packed,
    )


def key_of(store_id: int, checkpoint: IngestionCheckpoint) -> tuple[int, str, str]:
    day = checkpoint.result.symbol_day
    return store_id, str(day.symbol), str(day.trading_date)
