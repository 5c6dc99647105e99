"""Leases of symbol-days in the tables leases and claims; a holder is a process that has the state file open."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint, LeasedDays
from marketpipe.ingestion.infrastructure.locks import process_of
from marketpipe.ingestion.infrastructure.sql.checkpoints import SELECT_CHANGED_DAYS, parsed_checkpoints
from marketpipe.ingestion.infrastructure.sqlite_file import SQLiteFile
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay, dates_by_symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradingDate

SELECT_LEASED: Final = (
    "SELECT trading_date, holder FROM claims INDEXED BY claims_by_day JOIN leases USING (lease_id) "
    "WHERE claims.store_id = ? AND symbol = ? AND trading_date BETWEEN ? AND ? "
)
SELECT_BUSY: Final = f"{SELECT_LEASED} AND holder <> ?"
SELECT_PINNED: Final = f"{SELECT_LEASED} AND until = ?"
COUNT_LEASED: Final = (
    "SELECT holder, count(*) FROM claims JOIN leases USING (lease_id) "
    "WHERE claims.store_id = ? AND until > ? GROUP BY holder"
)
DELETE_LEASED_DAYS: Final = "DELETE FROM claims WHERE lease_id IN (SELECT lease_id FROM leases WHERE {which})"
EXTEND_LEASES: Final = (
    "UPDATE leases SET until = max(until, ?) WHERE holder = (SELECT holder FROM leases WHERE lease_id = ?)"
)
SET_LEASE_END: Final = "UPDATE leases SET until = ? WHERE lease_id = ?"
NEVER: Final = (1 << 63) - 1
"""The end of a pinned lease, in microseconds since 1970: the largest number that SQLite stores."""
DELETE_LEASES: Final = "DELETE FROM leases WHERE {which}"


class SQLiteLeases:
    """``SymbolDayLeases`` of one store."""

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file

    def position(self) -> int:
        ((changes,),) = self._file.query("SELECT changes FROM stores WHERE store_id = ?", (self._file.store_id,))
        return int(changes)

    def take(
        self, wanted: Mapping[SymbolDay, SessionHours], since: int | None, now: Timestamp, until: Timestamp
    ) -> LeasedDays:
        ours, holders = self._file.holder_name(), self._file.query("SELECT DISTINCT holder FROM leases", ())
        dead = self._file.dead([holder for (holder,) in holders])
        with self._file.transaction() as connection:
            for holder in dead:
                _delete(connection, "holder = ?", holder)
            _delete(connection, "holder <> ? AND until <= ?", ours, now.epoch_micros)
            settled = {} if since is None else self._settled(connection, wanted, since)
            busy = self._busy(connection, [day for day in wanted if day not in settled], ours)
            free = frozenset(wanted) - settled.keys() - busy.keys()
            others = frozenset(process_of(holder) for holder in busy.values())
            return LeasedDays(self._lease(connection, free, ours, until), free, settled, frozenset(busy), others)

    def pin(self, lease: int, until: Timestamp) -> bool:
        with self._file.transaction() as connection:
            connection.execute(EXTEND_LEASES, (until.epoch_micros, lease))
            return connection.execute(SET_LEASE_END, (NEVER, lease)).rowcount == 1

    def unpin(self, lease: int, until: Timestamp) -> None:
        with self._file.transaction() as connection:
            connection.execute(SET_LEASE_END, (until.epoch_micros, lease))

    def release(self, lease: int) -> None:
        with self._file.transaction() as connection:
            _delete(connection, "lease_id = ?", lease)

    def count(self, now: Timestamp) -> int:
        found = self._file.query(COUNT_LEASED, (self._file.store_id, now.epoch_micros))
        dead = frozenset(self._file.dead([holder for holder, _ in found]))
        return sum(days for holder, days in found if holder not in dead)

    def being_written(self, days: Collection[SymbolDay]) -> frozenset[SymbolDay]:
        pinned = [
            (SymbolDay(symbol, TradingDate.parse(date)), holder)
            for symbol, span in self._spans(days)
            for date, holder in self._file.query(SELECT_PINNED, (*span, NEVER))
        ]
        dead = frozenset(self._file.dead(sorted({holder for _, holder in pinned})))
        return frozenset(days) & frozenset(day for day, holder in pinned if holder not in dead)

    def _settled(
        self, connection: sqlite3.Connection, wanted: Mapping[SymbolDay, SessionHours], since: int
    ) -> dict[SymbolDay, IngestionCheckpoint]:
        return {
            SymbolDay(symbol, date): record
            for symbol, span in self._spans(wanted)
            for date, record in parsed_checkpoints(connection.execute(SELECT_CHANGED_DAYS, (*span, since))).items()
            if (hours := wanted.get(SymbolDay(symbol, date))) and record.settled_hours.covers(hours)
        }

    def _busy(self, connection: sqlite3.Connection, days: Iterable[SymbolDay], ours: str) -> dict[SymbolDay, str]:
        """Return those of the days that others have leased, each with its holder."""
        wanted = frozenset(days)
        found = (
            (SymbolDay(symbol, TradingDate.parse(date)), holder)
            for symbol, span in self._spans(wanted)
            for date, holder in connection.execute(SELECT_BUSY, (*span, ours))
        )
        return {day: holder for day, holder in found if day in wanted}

    def _lease(self, connection: sqlite3.Connection, days: Iterable[SymbolDay], ours: str, until: Timestamp) -> int:
        cursor = connection.execute(
            "INSERT INTO leases (store_id, holder, until) VALUES (?,?,?)",
            (self._file.store_id, ours, until.epoch_micros),
        )
        lease = int(cursor.lastrowid or 0)
        connection.executemany(
            "INSERT INTO claims (lease_id, store_id, symbol, trading_date) VALUES (?,?,?,?)",
            [(lease, self._file.store_id, str(day.symbol), str(day.trading_date)) for day in days],
        )
        return lease

    def _spans(self, days: Iterable[SymbolDay]) -> Iterator[tuple[Symbol, tuple[int, str, str, str]]]:
        """Yield each symbol with the parameters of one query for all its days: store, symbol, first and last date."""
        for symbol, dates in dates_by_symbol(days).items():
            yield symbol, (self._file.store_id, str(symbol), str(min(dates)), str(max(dates)))


def _delete(connection: sqlite3.Connection, which: str, *values: object) -> None:
    connection.execute(DELETE_LEASED_DAYS.format(which=which), values)
    connection.execute(DELETE_LEASES.format(which=which), values)
