from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from marketpipe.ingestion.domain.ingestion_checkpoint import DayRecord, LeasedDays
from marketpipe.ingestion.infrastructure.sqlite_checkpoints import SELECT_CHANGED_DAYS, day_records
from marketpipe.ingestion.infrastructure.sqlite_file import SQLiteFile
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay, dates_by_symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradingDate

SELECT_HELD: Final = (
    "SELECT trading_date FROM claims INDEXED BY claims_by_day JOIN leases USING (lease_id) "
    "WHERE claims.store_id = ? AND symbol = ? AND trading_date BETWEEN ? AND ? AND holder <> ?"
)
DELETE_CLAIMS: Final = "DELETE FROM claims WHERE lease_id IN (SELECT lease_id FROM leases WHERE {which})"
PROLONG: Final = "UPDATE leases SET until = max(until, ?) WHERE holder = (SELECT holder FROM leases WHERE lease_id = ?)"
SET_UNTIL: Final = "UPDATE leases SET until = ? WHERE lease_id = ?"
NEVER: Final = (1 << 63) - 1
DELETE_LEASES: Final = "DELETE FROM leases WHERE {which}"


class SQLiteLeases:
    """``SymbolDayLeases`` in the tables leases and claims. A holder is whoever has the state file open: see there."""

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file

    def position(self) -> int:
        ((changes,),) = self._file.query("SELECT changes FROM stores WHERE store_id = ?", (self._file.store_id,))
        return int(changes)

    def take(
        self, wanted: Mapping[SymbolDay, SessionHours], since: int | None, now: Timestamp, until: Timestamp
    ) -> LeasedDays:
        ours, dead = self._file.our_name(), self._dead()
        with self._file.transaction() as connection:
            for holder in dead:
                _forget(connection, "holder = ?", holder)
            _forget(connection, "holder <> ? AND until <= ?", ours, now.epoch_micros)
            settled = {} if since is None else self._settled(connection, wanted, since)
            held = self._held(connection, [day for day in wanted if day not in settled], ours)
            free = frozenset(wanted) - settled.keys() - held
            return LeasedDays(self._lease(connection, free, ours, until), free, settled, held)

    def pin(self, lease: int, until: Timestamp) -> bool:
        with self._file.transaction() as connection:
            connection.execute(PROLONG, (until.epoch_micros, lease))
            return connection.execute(SET_UNTIL, (NEVER, lease)).rowcount == 1

    def unpin(self, lease: int, until: Timestamp) -> None:
        with self._file.transaction() as connection:
            connection.execute(SET_UNTIL, (until.epoch_micros, lease))

    def release(self, lease: int) -> None:
        with self._file.transaction() as connection:
            _forget(connection, "lease_id = ?", lease)

    def _dead(self) -> list[str]:
        rows = self._file.query("SELECT DISTINCT holder FROM leases", ())
        return self._file.dead([holder for (holder,) in rows])

    def _settled(
        self, connection: sqlite3.Connection, wanted: Mapping[SymbolDay, SessionHours], since: int
    ) -> dict[SymbolDay, DayRecord]:
        return {
            SymbolDay(symbol, date): record
            for symbol, first, last in _spans(wanted)
            for date, record in day_records(
                connection.execute(
                    SELECT_CHANGED_DAYS, (self._file.store_id, str(symbol), str(first), str(last), since)
                )
            ).items()
            if (hours := wanted.get(SymbolDay(symbol, date))) and record.settled_hours.covers(hours)
        }

    def _held(self, connection: sqlite3.Connection, days: Iterable[SymbolDay], ours: str) -> frozenset[SymbolDay]:
        wanted = frozenset(days)
        found = (
            SymbolDay(symbol, TradingDate.parse(date))
            for symbol, first, last in _spans(wanted)
            for (date,) in connection.execute(
                SELECT_HELD, (self._file.store_id, str(symbol), str(first), str(last), ours)
            )
        )
        return wanted & frozenset(found)

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


def _forget(connection: sqlite3.Connection, which: str, *values: object) -> None:
    connection.execute(DELETE_CLAIMS.format(which=which), values)
    connection.execute(DELETE_LEASES.format(which=which), values)


def _spans(days: Iterable[SymbolDay]) -> Iterator[tuple[Symbol, TradingDate, TradingDate]]:
    """For each symbol the first and the last of its dates."""
    for symbol, some in dates_by_symbol(days).items():
        yield symbol, min(some), max(some)
