"""Files of official days compared with their records: for ``verify``, and for ``recover``, which has no records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from marketpipe.shared_kernel.domain.errors import StateError, StorageError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, OfficialYearRegister, RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import DaysOfYear, TradingDate
from marketpipe.shared_kernel.events import StoredOfficialYear
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, SCHEMA_VERSION
from marketpipe.shared_kernel.infrastructure.new_york_days import day_numbers, trading_date
from marketpipe.storage.domain.data_partition import has_rotted
from marketpipe.storage.domain.integrity import Damage, IntegrityProblem, StoreArea
from marketpipe.storage.domain.storage_metadata import StorageMetadata
from marketpipe.storage.infrastructure.day_versions import find_stored
from marketpipe.storage.infrastructure.official.official_history import OfficialHistories, newest_of, same_rows
from marketpipe.storage.infrastructure.parquet_files import times_of
from marketpipe.storage.infrastructure.store_layout import StoreLayout


class OfficialYearCheck:
    """Finds years that are lost, altered or unrecorded. Whether a file can be read is checked with all others."""

    def __init__(
        self, layout: StoreLayout, register: OfficialYearRegister, lock: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """``lock`` excludes processes that store official days: they publish a file before they record it."""
        self._layout, self._register, self._lock = layout, register, lock

    def problems(self, symbols: Iterable[Symbol], first: TradingDate, last: TradingDate) -> list[IntegrityProblem]:
        """Return the problems of the years that have dates between these, by symbol, then year.

        The days of a symbol with an altered file are requested again. What was recorded of one that has rotted stays
        on record: so it is known to be damaged, also if it names another dataset now.
        """
        found = list[IntegrityProblem]()
        for symbol in symbols:
            try:
                found += self._confirmed(symbol, first.day.year, last.day.year)
            except StorageError as error:  # of one symbol: the others are checked all the same
                reason = f"{error}. Other years of {symbol} may not have been checked"
                found.append(IntegrityProblem(f"{StoreArea.OFFICIAL}/symbol={symbol}", Damage.UNREADABLE, reason))
        return found

    def _confirmed(self, symbol: Symbol, first: int, last: int) -> list[IntegrityProblem]:
        problems = self._problems(symbol, first, last)
        with suppress(StateError):  # of a store that may only be read: nothing is stored there meanwhile
            if problems:
                with self._lock():
                    problems = self._problems(symbol, first, last)
            if any(problem.damage is Damage.ALTERED for problem in problems):
                self._reopen(symbol, first, last)
        return problems

    def stored(self, symbol: Symbol, identity: DatasetIdentity) -> Iterator[StoredOfficialYear]:
        """Yield the years whose files are of the dataset and whose days are all the newest of their history.

        Nothing is on record of the histories.
        """
        histories = OfficialHistories(self._layout, identity=lambda: identity)
        for year in self._layout.official_years(symbol):
            metadata = StorageMetadata(identity, symbol, f"{year:04d}", Timeframe.DAY_1, SCHEMA_VERSION).as_mapping()
            path, disk = self._layout.official_days(symbol, year), self._layout.disk
            stored = find_stored(path, lambda of=metadata: of, disk)  # type: ignore[misc]
            if stored is None or stored.damage or not len(stored.bars):
                continue
            rows = stored.bars.select(BAR_SCHEMA.names)
            if same_rows(rows, newest_of(histories.found(symbol, year).versions)).all():
                dates = map(trading_date, day_numbers(times_of(rows)).tolist())
                version = RecordedVersion(stored.mark, stored.modified, stored.digest)
                yield StoredOfficialYear(symbol, year, DaysOfYear.of(year, dates), version=version)

    def history_digests(self, symbol: Symbol, identity: DatasetIdentity) -> Mapping[str, str]:
        """Return the digests of the histories of a symbol that are whole and its own, by path with the area."""
        return OfficialHistories(self._layout, identity=lambda: identity).digests(symbol)

    def _reopen(self, symbol: Symbol, first: int, last: int) -> None:
        """Request the days again: nothing else notices bytes that rotted under an unchanged time."""
        known = self._register.years(symbol, first, last)
        if any(self._has_rotted(symbol, year, each.version) for year, each in known.items()):
            self._register.reopen(symbol, [date for each in known.values() for date in each.answered.dates])
        else:
            self._register.forget(symbol)

    def _has_rotted(self, symbol: Symbol, year: int, version: RecordedVersion | None) -> bool:
        stored = find_stored(self._layout.official_days(symbol, year), dict, self._layout.disk)
        return stored is not None and has_rotted(len(stored.content), stored.digest, version)

    def _problems(self, symbol: Symbol, first: int, last: int) -> list[IntegrityProblem]:
        recorded = self._register.years(symbol, first, last)
        stored = {year for year in self._layout.official_years(symbol) if first <= year <= last}
        found = list[IntegrityProblem]()
        for year in sorted({*stored, *(year for year, known in recorded.items() if known.version is not None)}):
            version = recorded[year].version if year in recorded else None
            if reason := self._difference(self._layout.official_days(symbol, year), version):
                path = f"{StoreArea.OFFICIAL}/symbol={symbol}/year={year:04d}.parquet"
                found.append(IntegrityProblem(path, *reason))
        return found

    def _difference(self, path: Path, version: RecordedVersion | None) -> tuple[Damage, str] | None:
        stored = find_stored(path, dict, self._layout.disk)
        if stored is None:
            return None if version is None else (Damage.GONE, "was recorded, and does not exist")
        if version is None:
            return Damage.UNRECORDED, "exists, and the state does not know it"
        if stored.digest == version.sha256:
            return None
        return Damage.ALTERED, "its bytes are not those that were recorded"
