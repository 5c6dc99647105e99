"""The official days of one store that are answered: the table official_years."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from marketpipe.ingestion.infrastructure.sql.database import Database
from marketpipe.shared_kernel.domain.store_inventory import NO_MARK, RecordedOfficialYear, RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import DaysOfYear, TradingDate
from marketpipe.shared_kernel.events import StoredOfficialYear

SELECT_YEARS: Final = (
    "SELECT year, answered, mark, sha256, known_since FROM official_years "
    "WHERE store_id = ? AND symbol = ? AND year BETWEEN ? AND ? ORDER BY year"
)
PUT_YEAR: Final = (
    "INSERT INTO official_years "
    "(store_id, symbol, year, answered, mark, sha256, known_since, checked_at) VALUES (?,?,?,?,?,?,?,?) "
    "ON CONFLICT (store_id, symbol, year) DO UPDATE SET answered = excluded.answered, mark = excluded.mark, "
    "sha256 = excluded.sha256, known_since = excluded.known_since, checked_at = excluded.checked_at"
)
PUT_ANSWERED: Final = "UPDATE official_years SET answered = ? WHERE store_id = ? AND symbol = ? AND year = ?"
SELECT_SYMBOLS: Final = "SELECT DISTINCT symbol FROM official_years WHERE store_id = ?"
FORGET: Final = "DELETE FROM official_years WHERE store_id = ? AND symbol = ?"


class SqlOfficialYears:
    """``OfficialYears`` of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def years(self, symbol: Symbol, first: int, last: int) -> Mapping[int, RecordedOfficialYear]:
        with self._database.rows(SELECT_YEARS, str(symbol), first, last) as rows:
            return {
                year: RecordedOfficialYear(
                    DaysOfYear(year, int.from_bytes(answered, "little")), _version(mark, sha256, since)
                )
                for year, answered, mark, sha256, since in rows
            }

    def symbols(self) -> frozenset[Symbol]:
        with self._database.rows(SELECT_SYMBOLS) as rows:
            return frozenset(Symbol(name) for (name,) in rows)

    def record(self, checked_at: Timestamp, years: Sequence[StoredOfficialYear]) -> None:
        with self._database.transaction() as connection:
            self._database.one_at_a_time(connection)
            for stored in years:
                if stored.error is not None:
                    continue
                key = self._database.store_id, str(stored.symbol), stored.year
                known = connection.execute(SELECT_YEARS, (*key, stored.year)).fetchone()
                former = known[1] if known is not None and not stored.replaces else b""
                bits = stored.answered.bits | int.from_bytes(former, "little")
                connection.execute(PUT_YEAR, (*key, _packed(bits), *_columns(stored.version), str(checked_at)))

    def reopen(self, symbol: Symbol, dates: Collection[TradingDate]) -> None:
        with self._database.transaction() as connection:
            self._database.one_at_a_time(connection)
            for year in {date.day.year for date in dates}:
                key = self._database.store_id, str(symbol), year
                known = connection.execute(SELECT_YEARS, (*key, year)).fetchone()
                if known is not None:
                    reopened = DaysOfYear.of(year, (date for date in dates if date.day.year == year))
                    left = int.from_bytes(known[1], "little") & ~reopened.bits
                    connection.execute(PUT_ANSWERED, (_packed(left), *key))

    def forget(self, symbol: Symbol) -> None:
        with self._database.transaction() as connection:
            connection.execute(FORGET, (self._database.store_id, str(symbol)))


def _packed(bits: int) -> bytes:
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _columns(version: RecordedVersion | None) -> tuple[str, str | None, int | None]:
    if version is None:
        return NO_MARK, None, None
    return version.mark, version.sha256, None if version.known_since is None else version.known_since.epoch_micros


def _version(mark: str, sha256: str | None, known_since: int | None) -> RecordedVersion | None:
    if sha256 is None:
        return None
    return RecordedVersion(mark, None if known_since is None else Timestamp.from_epoch_micros(known_since), sha256)
