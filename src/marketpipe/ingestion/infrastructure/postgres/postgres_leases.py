"""Leases of symbol-days in PostgreSQL, which end by the clock of the database: one row a lease and symbol."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint, LeasedDays
from marketpipe.ingestion.infrastructure.postgres.holders import process_of
from marketpipe.ingestion.infrastructure.postgres.postgres_database import ONE_AT_A_TIME, PostgresDatabase
from marketpipe.ingestion.infrastructure.postgres.transactions import Transaction
from marketpipe.ingestion.infrastructure.sql.checkpoints import SELECT_CHANGED_DAYS, parsed_checkpoints
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradingDate

# One at a time takes leases of a store, so that what was settled can be told from what is leased.
TAKING: Final = 1_296_061_776
# One that a transaction has in hand is not waited for: it stays until that ends, or is ended by the database.
DELETE_ENDED: Final = (
    "DELETE FROM leases WHERE lease_id IN (SELECT lease_id FROM leases WHERE store_id = ? AND holder <> ? "
    "AND (until <= moment() OR NOT is_alive(holder)) FOR UPDATE SKIP LOCKED)"
)
GIVEN: Final = "unnest(CAST(? AS TEXT[]), CAST(? AS DATE[])) AS given (symbol, day)"
SELECT_BUSY: Final = (
    f"SELECT given.symbol, CAST(given.day AS TEXT), holder FROM {GIVEN} "
    "JOIN leased_days ON leased_days.symbol = given.symbol AND days @> given.day WHERE store_id = ? AND holder <> ?"
)
SELECT_PINNED: Final = (
    f"SELECT given.symbol, CAST(given.day AS TEXT) FROM {GIVEN} "
    "JOIN leased_days ON leased_days.symbol = given.symbol AND days @> given.day JOIN leases USING (lease_id) "
    "WHERE leases.store_id = ? AND until = ? AND is_alive(leases.holder)"
)
LEASE: Final = "INSERT INTO leases (store_id, holder, until) VALUES (?, ?, moment() + ?) RETURNING lease_id"
LEASE_DAYS: Final = (
    "INSERT INTO leased_days (lease_id, store_id, symbol, holder, days) "
    "SELECT ?, ?, given.symbol, ?, range_agg(daterange(given.day, given.day, '[]')) "
    f"FROM {GIVEN} GROUP BY given.symbol"
)
COUNT_LEASED: Final = (
    "SELECT CAST(coalesce(sum(upper(span) - lower(span)), 0) AS BIGINT) "
    "FROM leased_days JOIN leases USING (lease_id), unnest(days) AS span "
    "WHERE leases.store_id = ? AND until > moment() AND is_alive(leases.holder)"
)
# Only those that gain a minute are renewed, so that most calls write nothing.
EXTEND: Final = (
    "UPDATE leases SET until = moment() + ?1 WHERE lease_id IN (SELECT lease_id FROM leases "
    "WHERE holder = (SELECT holder FROM leases WHERE lease_id = ?2) AND until < moment() + ?1 - 60000000 "
    "FOR UPDATE SKIP LOCKED)"
)
PIN: Final = "UPDATE leases SET until = ? WHERE lease_id = ?"
UNPIN: Final = "UPDATE leases SET until = moment() + ? WHERE lease_id = ?"
RELEASE: Final = "DELETE FROM leases WHERE lease_id = ?"
NEVER: Final = (1 << 63) - 1
"""The end of a pinned lease."""


class PostgresLeases:
    """``SymbolDayLeases`` of one store. What a caller gives as moments is used as the time from its own now on."""

    def __init__(self, database: PostgresDatabase, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def position(self) -> int:
        ((changes,),) = self._database.query(
            "SELECT changes FROM stores WHERE store_id = ?", (self._database.store_id,)
        )
        return int(changes)

    def take(
        self, wanted: Mapping[SymbolDay, SessionHours], since: int | None, now: Timestamp, until: Timestamp
    ) -> LeasedDays:
        ours, lasting = self._database.holder_name(), until.epoch_micros - now.epoch_micros
        store_id = self._database.store_id

        def take(connection: Transaction) -> LeasedDays:
            connection.execute(ONE_AT_A_TIME, (TAKING, store_id))
            connection.execute(DELETE_ENDED, (store_id, ours))
            busy = self._busy(connection, wanted, ours)
            # Only now: whose lease has ended before has recorded before what it has stored.
            settled = {} if since is None else self._settled(connection, wanted, since)
            free = frozenset(wanted) - settled.keys() - busy.keys()
            lease = self._lease(connection, free, ours, lasting)
            others = {day: holder for day, holder in busy.items() if day not in settled}
            holders = frozenset(map(process_of, others.values()))
            return LeasedDays(lease, free, settled, frozenset(others), holders)

        return self._database.carry_out(take)

    def pin(self, lease: int, until: Timestamp) -> bool:
        # Apart: in one transaction with what is written, threads of this process would wait for one another.
        self._database.alone(EXTEND, (self._from_now(until), lease))
        with self._database.transaction() as connection:
            return connection.execute(PIN, (NEVER, lease)).rowcount == 1

    def unpin(self, lease: int, until: Timestamp) -> None:
        with self._database.transaction() as connection:
            connection.execute(UNPIN, (self._from_now(until), lease))

    def release(self, lease: int) -> None:
        with self._database.transaction() as connection:
            connection.execute(RELEASE, (lease,))

    def count(self, now: Timestamp) -> int:  # noqa: ARG002 - the clock of the database tells
        ((days,),) = self._database.query(COUNT_LEASED, (self._database.store_id,))
        return int(days)

    def being_written(self, days: Collection[SymbolDay]) -> frozenset[SymbolDay]:
        if not days:
            return frozenset()
        rows = self._database.query(SELECT_PINNED, (*_given(days), self._database.store_id, NEVER))
        return frozenset(SymbolDay(Symbol(symbol), TradingDate.parse(date)) for symbol, date in rows)

    def _busy(self, connection: Transaction, days: Collection[SymbolDay], ours: str) -> dict[SymbolDay, str]:
        rows = connection.execute(SELECT_BUSY, (*_given(days), self._database.store_id, ours)).fetchall()
        return {SymbolDay(Symbol(symbol), TradingDate.parse(date)): holder for symbol, date, holder in rows}

    def _settled(
        self, connection: Transaction, wanted: Mapping[SymbolDay, SessionHours], since: int
    ) -> dict[SymbolDay, IngestionCheckpoint]:
        spans = {
            symbol: (dates[0], dates[-1])
            for symbol, found in groupby(sorted(wanted), key=attrgetter("symbol"))
            if (dates := [str(day.trading_date) for day in found])
        }
        values = [(self._database.store_id, str(symbol), *span, since) for symbol, span in spans.items()]
        found = zip(spans, connection.each(SELECT_CHANGED_DAYS, values), strict=True)
        return {
            SymbolDay(symbol, date): record
            for symbol, rows in found
            for date, record in parsed_checkpoints(rows).items()
            if (hours := wanted.get(SymbolDay(symbol, date))) and record.settled_hours.covers(hours)
        }

    def _lease(self, connection: Transaction, days: Collection[SymbolDay], ours: str, lasting: int) -> int:
        store_id = self._database.store_id
        ((lease,),) = connection.execute(LEASE, (store_id, ours, lasting)).fetchall()
        if days:
            connection.execute(LEASE_DAYS, (lease, store_id, ours, *_given(days)))
        return int(lease)

    def _from_now(self, until: Timestamp) -> int:
        return until.epoch_micros - self._clock.now().epoch_micros


def _given(days: Iterable[SymbolDay]) -> tuple[Any, Any]:
    """Return the values of ``GIVEN``."""
    ordered = sorted(days)
    return [str(day.symbol) for day in ordered], [str(day.trading_date) for day in ordered]
