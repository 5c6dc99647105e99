"""The checkpoints of one store and the files they came with: the tables checkpoints and partitions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from marketpipe.ingestion.domain.ingestion_checkpoint import Answer, IngestionCheckpoint, next_checkpoint
from marketpipe.ingestion.infrastructure.sql.database import Connection, Database
from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.ohlcv_bar import DayFigures
from marketpipe.shared_kernel.domain.store_inventory import NO_MARK, RecordedVersion, VersionMark
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay, dates_by_symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradedMinutes, TradingDate
from marketpipe.shared_kernel.events import StoredSymbolDay

DateSpan = tuple[TradingDate, TradingDate]
"""A first and a last date, both inclusive."""

SETTLED: Final = ", ".join(f"'{outcome}'" for outcome in Outcome if outcome.is_settled)
_OF_DAYS: Final = (
    "FROM checkpoints LEFT JOIN partitions USING (store_id, symbol, trading_date) "
    "WHERE store_id = ? AND symbol = ? AND trading_date BETWEEN ? AND ?"
)
_DAYS: Final = (
    "SELECT trading_date, outcome, hours, answers, rejected, error, rows, mark, known_since, sha256, minutes, figures, "
    "days "
    f"{_OF_DAYS}"
)
SELECT_DAYS: Final = f"{_DAYS} ORDER BY trading_date"
SELECT_HOURS_AND_MARKS: Final = f"SELECT trading_date, outcome, hours, mark {_OF_DAYS} ORDER BY trading_date"
SELECT_SETTLED_DATES: Final = (
    "SELECT trading_date FROM checkpoints WHERE store_id = ? AND symbol = ? AND trading_date BETWEEN ? AND ? "
    f"AND outcome IN ({SETTLED}) AND hours & ?5 = ?5"
)
SELECT_CHANGED_DAYS: Final = f"{_DAYS} AND change > ?"
SELECT_DATE_OF_ANSWER: Final = (
    "SELECT substr(checked_at, 1, 10) FROM checkpoints WHERE store_id = ? AND symbol = ? AND trading_date = ?"
)
# Moments are text of one form, so they compare as text.
SELECT_PREMATURE: Final = (
    f"SELECT symbol, trading_date, checked_at FROM checkpoints WHERE store_id = ? AND outcome IN ({SETTLED}) "
    "AND (checked_at > ? OR checked_at < trading_date || 'T21')"
)
COUNT_CHANGE: Final = "UPDATE stores SET changes = changes + 1 WHERE store_id = ?"
PUT_CHECKPOINT: Final = (
    "INSERT INTO checkpoints "
    "(store_id, symbol, trading_date, outcome, hours, answers, rejected, error, days, job_id, checked_at, change) "
    "VALUES (?,?,?,?,?,?,?,?,?,?,?,(SELECT changes FROM stores WHERE store_id = ?)) "
    "ON CONFLICT (store_id, symbol, trading_date) DO UPDATE SET outcome = excluded.outcome, hours = excluded.hours, "
    "answers = excluded.answers, rejected = excluded.rejected, error = excluded.error, days = excluded.days, "
    "job_id = excluded.job_id, checked_at = excluded.checked_at, change = excluded.change"
)
# Storage decides since when a version is known: the same bytes have a new moment if others were in between.
PUT_PARTITION: Final = """
INSERT INTO partitions
    (store_id, symbol, trading_date, rows, first, last, bytes, sha256, known_since, minutes, mark, figures)
VALUES (?,?,?,?,?,?,?,?,?,?,?,?)
ON CONFLICT (store_id, symbol, trading_date) DO UPDATE SET
    rows = excluded.rows, first = excluded.first, last = excluded.last, bytes = excluded.bytes,
    sha256 = excluded.sha256, mark = excluded.mark,
    known_since = coalesce(
        excluded.known_since, CASE WHEN partitions.sha256 = excluded.sha256 THEN partitions.known_since END
    ),
    minutes = coalesce(excluded.minutes, CASE WHEN partitions.sha256 = excluded.sha256 THEN partitions.minutes END),
    figures = coalesce(excluded.figures, CASE WHEN partitions.sha256 = excluded.sha256 THEN partitions.figures END)
"""
ADD_FIGURES: Final = (
    "UPDATE partitions SET figures = ? "
    "WHERE store_id = ? AND symbol = ? AND trading_date = ? AND sha256 = ? AND figures IS NULL"
)
DELETE_SYMBOL: Final = (
    "DELETE FROM partitions WHERE store_id = ? AND symbol = ?",
    "DELETE FROM checkpoints WHERE store_id = ? AND symbol = ?",
)
DELETE_PARTITION: Final = "DELETE FROM partitions WHERE store_id = ? AND symbol = ? AND trading_date = ?"

# SQLite has no skip scan for DISTINCT: the recursion jumps from one symbol to the next in the primary key, which takes
# a time that grows with the number of symbols and not with that of their days.
_WITH_SYMBOLS: Final = """
WITH RECURSIVE known (symbol) AS (
    SELECT min(symbol) FROM {table} WHERE store_id = ?1
    UNION ALL
    SELECT (SELECT min(symbol) FROM {table} WHERE store_id = ?1 AND symbol > known.symbol) FROM known
    WHERE known.symbol IS NOT NULL
)
"""
_SELECT_SPANS: Final = f"""{_WITH_SYMBOLS}
SELECT symbol,
    (SELECT min(trading_date) FROM {{table}} WHERE store_id = ?1 AND symbol = known.symbol),
    (SELECT max(trading_date) FROM {{table}} WHERE store_id = ?1 AND symbol = known.symbol)
FROM known WHERE symbol IS NOT NULL
"""
SELECT_FAILED_FOR: Final = "SELECT DISTINCT symbol FROM checkpoints WHERE store_id = ? AND outcome = ? AND error = ?"
_STORED, _REQUESTED = "partitions", "checkpoints"
_WITH_STORED: Final = _WITH_SYMBOLS.format(table=_STORED)
_WITH_REQUESTED: Final = _WITH_SYMBOLS.format(table=_REQUESTED)
SELECT_STORED_SYMBOLS: Final = f"{_WITH_STORED} SELECT symbol FROM known WHERE symbol IS NOT NULL"
SELECT_STORED_SPANS: Final = _SELECT_SPANS.format(table=_STORED)
SELECT_REQUESTED_SPANS: Final = _SELECT_SPANS.format(table=_REQUESTED)
SELECT_LATEST_SETTLED: Final = f"""{_WITH_REQUESTED}
SELECT symbol,
    (SELECT trading_date FROM checkpoints WHERE store_id = ?1 AND symbol = known.symbol AND outcome IN ({SETTLED})
     ORDER BY trading_date DESC LIMIT 1)
FROM known WHERE symbol IS NOT NULL
"""


class SqlCheckpoints:
    """``Checkpoints`` of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, job_id: int, checked_at: Timestamp, answers: Sequence[Answer]) -> None:
        failed = sum(result.outcome is Outcome.FAILED for result, _, _ in answers)
        with self._database.transaction(durable=True) as connection:  # as durable as the files that they are of
            connection.execute(COUNT_CHANGE, (self._database.store_id,))
            for some in _turns(answers):
                self._record(connection, some, (job_id, str(checked_at)))
            # So a killed job has recorded its progress; closing a job counts again, exactly.
            connection.execute(
                "UPDATE jobs SET done = done + ?, failed = failed + ? WHERE job_id = ?",
                (len(answers) - failed, failed, job_id),
            )

    def mark_suspect(self, symbol: Symbol, reasons: Mapping[TradingDate, str]) -> None:
        with self._database.transaction() as connection:
            failed, store_id = str(Outcome.FAILED), self._database.store_id
            connection.executemany(
                "UPDATE checkpoints SET outcome = ?, error = ?, answers = 1, days = 1 "
                f"WHERE store_id = ? AND symbol = ? AND trading_date = ? AND outcome IN ({SETTLED})",
                [(failed, reason, store_id, str(symbol), str(date)) for date, reason in reasons.items()],
            )

    def add_figures(self, days: Iterable[StoredSymbolDay]) -> None:
        values = [
            (day.figures.packed, self._database.store_id, *_names(day.symbol_day), day.sha256)
            for day in days
            if day.figures
        ]
        with self._database.transaction() as connection:
            connection.executemany(ADD_FIGURES, values)

    def forget(self, symbol: Symbol) -> None:
        with self._database.transaction(durable=True) as connection:
            connection.execute(COUNT_CHANGE, (self._database.store_id,))
            for delete in DELETE_SYMBOL:
                connection.execute(delete, (self._database.store_id, str(symbol)))

    def premature(self, latest: Timestamp) -> Mapping[SymbolDay, Timestamp]:
        with self._database.rows(SELECT_PREMATURE, str(latest)) as rows:
            return {
                SymbolDay(Symbol(name), TradingDate.parse(date)): Timestamp.parse(moment) for name, date, moment in rows
            }

    def between(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> Mapping[TradingDate, IngestionCheckpoint]:
        with self._database.rows(SELECT_DAYS, str(symbol), str(first), str(last)) as rows:
            return parsed_checkpoints(rows)

    def settled_dates(
        self, symbol: Symbol, first: TradingDate, last: TradingDate, hours: SessionHours
    ) -> frozenset[dt.date]:
        with self._database.rows(SELECT_SETTLED_DATES, str(symbol), str(first), str(last), hours.value) as rows:
            return frozenset(dt.date.fromisoformat(text) for (text,) in rows)

    def settled_hours_and_marks(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> tuple[Mapping[TradingDate, SessionHours], Mapping[dt.date, VersionMark]]:
        with self._database.rows(SELECT_HOURS_AND_MARKS, str(symbol), str(first), str(last)) as rows:
            return _hours_and_marks(rows)

    def stored_spans(self) -> Mapping[Symbol, DateSpan]:
        return self._spans(SELECT_STORED_SPANS)

    def requested_spans(self) -> Mapping[Symbol, DateSpan]:
        return self._spans(SELECT_REQUESTED_SPANS)

    def failed_for(self, reason: str) -> frozenset[Symbol]:
        with self._database.rows(SELECT_FAILED_FOR, str(Outcome.FAILED), reason) as rows:
            return frozenset(Symbol(symbol) for (symbol,) in rows)

    def latest_settled(self) -> Mapping[Symbol, TradingDate]:
        with self._database.rows(SELECT_LATEST_SETTLED) as rows:
            return {Symbol(symbol): TradingDate.parse(date) for symbol, date in rows if date is not None}

    def _spans(self, sql: str) -> Mapping[Symbol, DateSpan]:
        with self._database.rows(sql) as rows:
            return {Symbol(name): (TradingDate.parse(first), TradingDate.parse(last)) for name, first, last in rows}

    def _record(self, connection: Connection, answers: Mapping[SymbolDay, Answer], occasion: tuple[int, str]) -> None:
        """``occasion``: the job and the moment."""
        known = self._known(connection, answers)
        dates = self._dates_of_answers(connection, answers, known)
        outcomes = (self._outcome(each, known, dates, occasion[1]) for each in answers.values())
        versions = (self._version(each) for each in answers.values())
        store_id = self._database.store_id
        connection.executemany(PUT_CHECKPOINT, [(*row, *occasion, store_id) for row in outcomes if row])
        connection.executemany(PUT_PARTITION, [row for row in versions if row])
        connection.executemany(DELETE_PARTITION, [self._key_of(each) for each in answers.values() if _is_empty(each)])

    def _known(self, connection: Connection, days: Iterable[SymbolDay]) -> dict[SymbolDay, IngestionCheckpoint]:
        """Query by symbol: one query for each, and not one for each day."""
        wanted, store_id = dates_by_symbol(days), self._database.store_id
        spans = [(store_id, str(symbol), str(min(dates)), str(max(dates))) for symbol, dates in wanted.items()]
        found: dict[SymbolDay, IngestionCheckpoint] = {}
        for symbol, rows in zip(wanted, self._database.each(connection, SELECT_DAYS, spans), strict=True):
            found |= {SymbolDay(symbol, date): record for date, record in parsed_checkpoints(rows).items()}
        return found

    def _dates_of_answers(
        self, connection: Connection, answers: Mapping[SymbolDay, Answer], known: Mapping[SymbolDay, object]
    ) -> Mapping[SymbolDay, str]:
        """Return on which date each of the answers that are on record came."""
        days = [day for day in answers if day in known]
        keys = [(self._database.store_id, *_names(day)) for day in days]
        found = self._database.each(connection, SELECT_DATE_OF_ANSWER, keys)
        return {day: date for day, rows in zip(days, found, strict=True) for (date,) in rows}

    def _outcome(
        self,
        answer: Answer,
        known: Mapping[SymbolDay, IngestionCheckpoint],
        dates: Mapping[SymbolDay, str],
        checked_at: str,
    ) -> tuple[Any, ...] | None:
        """Return the values of ``PUT_CHECKPOINT`` up to those of the occasion; None if the known record stays."""
        key, record = self._key_of(answer), known.get(answer[0].symbol_day)
        another_date = dates.get(answer[0].symbol_day) != checked_at[: len("2024-01-02")]
        found = next_checkpoint(record, answer, another_date)
        if found is None:
            return None
        return *key, str(found.outcome), found.hours.value, found.answers, found.rejected, found.error, found.days

    def _version(self, answer: Answer) -> tuple[Any, ...] | None:
        """Return the values of ``PUT_PARTITION``; None if no version was stored."""
        stored = answer[2]
        if _is_empty(answer) or not stored or not stored.sha256:
            return None
        since = None if stored.known_since is None else stored.known_since.epoch_micros
        minutes = None if stored.minutes is None else stored.minutes.packed
        about = stored.rows, str(stored.first), str(stored.last), stored.size_bytes, stored.sha256
        figures = None if stored.figures is None else stored.figures.packed
        return *self._key_of(answer), *about, since, minutes, stored.mark or NO_MARK, figures

    def _key_of(self, answer: Answer) -> tuple[int, str, str]:
        day = answer[0].symbol_day
        return self._database.store_id, str(day.symbol), str(day.trading_date)


def _turns(answers: Iterable[Answer]) -> Iterator[dict[SymbolDay, Answer]]:
    """Yield the answers by symbol-day, in as few parts as possible: one that comes twice is recorded twice in turn."""
    turn: dict[SymbolDay, Answer] = {}
    for answer in answers:
        if answer[0].symbol_day in turn:
            yield turn
            turn = {}
        turn[answer[0].symbol_day] = answer
    yield turn


def _is_empty(answer: Answer) -> bool:
    result, hours, _ = answer
    return result.outcome is Outcome.EMPTY and hours.covers(SessionHours.REGULAR)


def _names(day: SymbolDay) -> tuple[str, str]:
    return str(day.symbol), str(day.trading_date)


_OUTCOMES: Final = {str(outcome): outcome for outcome in Outcome}
_SETTLED: Final = {str(outcome): outcome.is_settled for outcome in Outcome}
_HOURS: Final = tuple(SessionHours(value) for value in range(SessionHours.EXTENDED.value + 1))
_trading_date: Final = lru_cache(maxsize=1 << 14)(TradingDate.parse)
_moment: Final = lru_cache(maxsize=1 << 12)(Timestamp.from_epoch_micros)
"""Files that were stored together share it."""


def parsed_checkpoints(rows: Iterable[tuple[Any, ...]]) -> dict[TradingDate, IngestionCheckpoint]:
    """Parse rows of ``SELECT_DAYS``. Raises ``ValidationError`` for values that MarketPipe never wrote."""
    # One loop without calls of our own: a report on coverage reads hundreds of thousands of rows here.
    found: dict[TradingDate, IngestionCheckpoint] = {}
    since, minutes_of, figures_of = _moment, TradedMinutes, DayFigures.unpack
    try:
        for (
            date,
            outcome,
            hours,
            answers,
            rejected,
            reason,
            bars,
            mark,
            known_since,
            sha256,
            packed,
            sums,
            days,
        ) in rows:
            version = None if sha256 is None else RecordedVersion(mark, known_since and since(known_since), sha256)
            minutes = None if packed is None else minutes_of(packed)
            figures = None if sums is None else figures_of(sums)
            found[_trading_date(date)] = IngestionCheckpoint(
                _OUTCOMES[outcome], _HOURS[hours], answers, rejected, reason, bars or 0, version, minutes, figures, days
            )
    except LookupError as error:
        raise ValidationError(f"unknown outcome or hours {error}") from error
    return found


def _hours_and_marks(
    rows: Iterable[tuple[Any, ...]],
) -> tuple[dict[TradingDate, SessionHours], dict[dt.date, VersionMark]]:
    """Parse rows of ``SELECT_HOURS_AND_MARKS``. Raises ``ValidationError`` for values that MarketPipe never wrote."""
    settled, marks = dict[TradingDate, SessionHours](), dict[dt.date, VersionMark]()
    try:
        for text, outcome, hours, mark in rows:
            day = _trading_date(text)
            if hours and _SETTLED[outcome]:
                settled[day] = _HOURS[hours]
            if mark is not None:
                marks[day.day] = mark
    except LookupError as error:
        raise ValidationError(f"unknown outcome or hours {error}") from error
    return settled, marks
