"""Official days on disk: one file a symbol and year, every version of its days, and what was rejected.

    official/symbol=AAPL/year=2024.parquet            the exchange's daily bars, one row a day, in the columns of bars
    revisions/symbol=AAPL/year=2024/known_since.csv   every version of these rows, and since when it is known
    quarantine/symbol=AAPL/year=2024.parquet          rejected official days, with rule, severity, reason and raw values

The history is replaced before the year. So a year whose rows are all the newest of its history was written by
MarketPipe, even if a crash came before its record in the state; any other file without a record is not believed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from attrs import define, evolve, field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars, OfficialDay
from marketpipe.shared_kernel.domain.store_inventory import (
    DatasetIdentity,
    FileDigests,
    OfficialYearRegister,
    RecordedOfficialYear,
    RecordedVersion,
)
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp
from marketpipe.shared_kernel.domain.trading_date import DaysOfYear, TradingDate
from marketpipe.shared_kernel.events import OfficialDayChange, OfficialDaysValidated, StoredOfficialYear
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, SCHEMA_VERSION, TIMESTAMP, VALUES
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, exists
from marketpipe.shared_kernel.infrastructure.new_york_days import day_numbers, trading_date
from marketpipe.storage.domain.data_partition import has_rotted
from marketpipe.storage.domain.storage_metadata import StorageMetadata, identity_in
from marketpipe.storage.infrastructure.day_versions import (
    MICROSECOND,
    StoredVersion,
    file_mark,
    find_stored,
    in_order,
)
from marketpipe.storage.infrastructure.official.official_history import (
    HISTORY_SCHEMA,
    OfficialHistories,
    OfficialHistory,
    encode_history,
    newest_of,
    same_rows,
    with_prices,
    withdrawn_rows,
)
from marketpipe.storage.infrastructure.parquet_files import (
    Int64s,
    ParquetWriter,
    read_metadata,
    read_rows,
    sha256,
    times_of,
)
from marketpipe.storage.infrastructure.publishing.durable_files import NOT_ALLOWED
from marketpipe.storage.infrastructure.publishing.published_files import FileGroup, PublishedFiles
from marketpipe.storage.infrastructure.store_layout import StoreLayout, translating

logger = logging.getLogger("marketpipe.storage")

Announce = Callable[[tuple[OfficialDayChange, ...]], None]
"""Called with the stored days that an answer changes, before a file is replaced."""


class OfficialFiles:
    """``OfficialDayStore`` on local disks."""

    def __init__(
        self,
        layout: StoreLayout,
        identity: DatasetIdentity,
        writer: ParquetWriter,
        files: PublishedFiles,
        clock: Clock,
        register: OfficialYearRegister,
        digests: FileDigests,
    ) -> None:
        """``register`` has what was recorded of the stored years, ``digests`` those of their histories."""
        self._layout, self._identity, self._writer, self._files = layout, identity, writer, files
        self._clock, self._register, self._disk = clock, register, layout.disk
        self._histories = OfficialHistories(layout, lambda: digests, lambda: identity)

    def store(self, answer: OfficialDaysValidated, announce: Announce) -> tuple[StoredOfficialYear, ...]:
        """See ``OfficialDayStore.store``. Years are published together; if that fails, they are stored one by one."""
        answers = list(_by_year(answer))
        stored, attempts = dict[tuple[Symbol, int], StoredOfficialYear](), [answers]
        for some in attempts:
            try:
                for result in self._store(some, announce):
                    stored[result.symbol, result.year] = result
            except StorageError as error:
                failed = (StoredOfficialYear(it.symbol, it.year, DaysOfYear(it.year), error=str(error)) for it in some)
                stored.update({(result.symbol, result.year): result for result in failed})
                attempts += [[one] for one in some if len(some) > 1]
        return tuple(stored[each.symbol, each.year] for each in answers)

    def withdraw(self, symbol: Symbol) -> None:
        """Remove the official days of a symbol durably. As of any moment before, they are still there.

        The caller holds the lock of ``OfficialDayStorer``. Raises ``StorageError``.
        """
        years = self._layout.official_years(symbol)
        recorded = self._register.years(symbol, years[0], years[-1]) if years else {}
        with self._files.collected():
            with self._files.group() as group:
                for year in years:
                    path = self._layout.official_days(symbol, year)
                    stated = StorageMetadata(self._identity, symbol, f"{year:04d}", Timeframe.DAY_1, SCHEMA_VERSION)
                    stored = find_stored(path, stated.as_mapping, self._disk)
                    known = recorded.get(year)
                    begun = completed(self._histories.found(symbol, year), stored, known, self._clock.now())
                    closed = evolve(begun, versions=closed_history(begun.versions, self._clock))
                    self._add_history(symbol, year, closed, group)
            for year in years:
                self._files.remove(self._layout.official_days(symbol, year))
        self._files.confirm([self._layout.official_days(symbol, year) for year in years])

    def _store(self, answers: Sequence[_Answer], announce: Announce) -> list[StoredOfficialYear]:
        now = self._clock.now()
        years = [self._year(each, now) for each in answers]
        if changes := tuple(change for year in years for change in year.changes()):
            announce(changes)
        with self._files.collected():
            self._keep_histories(years)
            with self._files.group() as group:
                self._add(years, group)
                group.publish()
            for year in years:
                for path in year.emptied:
                    self._files.remove(path)
        return [_result(year, group) for year in years]

    def _keep_histories(self, years: Sequence[_Year]) -> None:
        """Replace the histories, before the years. Days are stored also if a history may not be written."""
        try:
            with self._files.group() as group:
                for year in years:
                    if len(more := year.new_versions()) or year.begins_anew:
                        newer = evolve(year.history, versions=pa.concat_tables([year.history.versions, more]))
                        self._add_history(year.answer.symbol, year.answer.year, newer, group)
        except StorageError as error:
            if getattr(error.__cause__, "errno", None) not in NOT_ALLOWED:
                raise
            logger.warning(
                "%s The official days are stored, but as_of will not know their former versions; allow writing there",
                error,
            )

    def _add_history(self, symbol: Symbol, year: int, history: OfficialHistory, group: FileGroup) -> None:
        content = encode_history(history.versions, self._identity, symbol, year, history.lost_before)
        group.add(self._layout.official_history(symbol, year), content)

    def _add(self, years: Sequence[_Year], group: FileGroup) -> None:
        for year in years:
            path = self._layout.rejected_official_days(year.answer.symbol, year.answer.year)
            if (rows := _rejected_after(path, year.answer, self._disk)) is not None:
                group.add(path, self._writer.encode(rows, self._metadata(year.answer)))
            elif _exists(path, self._disk):
                year.emptied.append(path)
            if year.content and not year.is_stored:
                group.add(year.path, year.content, year.now.epoch_micros * 1000)
            elif not year.content and _exists(year.path, self._disk):
                year.emptied.append(year.path)

    def _year(self, answer: _Answer, now: Timestamp) -> _Year:
        """Read what is stored of a year, and merge the answer with it."""
        symbol, number = answer.symbol, answer.year
        path, metadata = self._layout.official_days(symbol, number), self._metadata(answer)
        stored = find_stored(path, lambda: metadata, self._disk)
        recorded = self._register.years(symbol, number, number).get(number)
        version = recorded.version if recorded else None
        if stored and stored.damage and not has_rotted(len(stored.content), stored.digest, version):
            self._refuse_another_dataset(path)
        history = self._histories.found(symbol, number)
        believed = _is_recorded(stored, recorded) or _is_newest_of(history.versions, stored)
        begun = completed(history, stored if believed else None, recorded, now) if history.is_lost else history
        base = stored.bars.select(BAR_SCHEMA.names) if stored and believed else BAR_SCHEMA.empty_table()
        others = base.filter(pa.array(~np.isin(times_of(base), answer.answered)))
        merged = in_order(pa.concat_tables([others, answer.bars]))
        content = self._writer.encode_bars(merged, metadata) if len(merged) else b""
        return _Year(answer, path, stored, recorded, begun, history.is_lost, base, merged, content, now, believed)

    def _refuse_another_dataset(self, path: Path) -> None:
        with suppress(PartitionUnreadableError):  # then it is of no dataset, and is replaced
            found = identity_in(read_metadata(path, self._disk))
            if found not in (None, self._identity):
                raise StorageError(f"{path} is of {found}, not of {self._identity}: give another official_path")

    def _metadata(self, answer: _Answer) -> Mapping[str, str]:
        year = f"{answer.year:04d}"
        return StorageMetadata(self._identity, answer.symbol, year, Timeframe.DAY_1, SCHEMA_VERSION).as_mapping()


@frozen
class _Answer:
    """What the provider answered of one symbol and year.

    ``answered`` are the midnights of the requested days, those with a rejected bar excepted, in microseconds since
    1970; ``bars`` are those among them that have a bar. ``failed`` has the reason for each day with a rejected bar.
    """

    symbol: Symbol
    year: int
    dates: Mapping[int, TradingDate] = field(repr=False)
    answered: Int64s = field(repr=False)
    bars: pa.Table = field(repr=False)
    rejected: pa.Table | None = field(repr=False)
    failed: Mapping[TradingDate, str]

    @property
    def answered_days(self) -> DaysOfYear:
        return DaysOfYear.of(self.year, (self.dates[stamp] for stamp in self.answered.tolist()))


@define
class _Year:
    """A year with the answer merged into it. ``base`` are the stored rows that are believed, ``content`` the new file.

    ``content`` is empty if no day of the year has a bar. ``emptied`` files are removed after the others are published.
    """

    answer: _Answer
    path: Path
    stored: StoredVersion | None
    recorded: RecordedOfficialYear | None
    history: OfficialHistory = field(repr=False)
    begins_anew: bool
    base: pa.Table = field(repr=False)
    merged: pa.Table = field(repr=False)
    content: bytes = field(repr=False)
    now: Timestamp
    believed: bool
    emptied: list[Path] = field(factory=list)

    @property
    def is_stored(self) -> bool:
        return self.stored is not None and self.stored.content == self.content

    @property
    def replaces(self) -> bool:
        """Whether the recorded days are lost: their file is gone, or is not what was recorded."""
        known = self.recorded is not None and self.recorded.version is not None
        return not self.believed and (known or self.stored is not None)

    def changes(self) -> Iterator[OfficialDayChange]:
        """Yield the stored days that the answer changes or withdraws."""
        newest = self._newest()
        before = newest.filter(pa.array(np.isin(times_of(newest), self.answer.answered)))
        newer = _rows_by_time(self.answer.bars)
        same = same_rows(before, self.answer.bars)
        for row in np.flatnonzero(~same):
            stamp = int(times_of(before)[row])
            day = SymbolDay(self.answer.symbol, self.answer.dates[stamp])
            after = self.answer.bars.slice(newer[stamp], 1) if stamp in newer else None
            yield OfficialDayChange(day, _official_day(before.slice(row, 1)), after and _official_day(after))

    def new_versions(self) -> pa.Table:
        """Return the rows that the history lacks: new days, changed ones, and withdrawn ones, which have no prices."""
        newest = newest_of(self.history.versions)
        lacking = self.merged.filter(pa.array(~same_rows(self.merged, newest)))
        priced = with_prices(newest)
        times = times_of(priced)
        gone = np.isin(times, self.answer.answered) & ~np.isin(times, times_of(self.merged))
        rows = pa.concat_tables([lacking, withdrawn_rows(priced.filter(pa.array(gone)))])
        return _since(rows, self._since())

    def _newest(self) -> pa.Table:
        """Return the days as they were known before: the stored ones, or those of the history if the file is lost."""
        return self.base if self.believed else with_prices(newest_of(self.history.versions))

    def _since(self) -> Timestamp:
        """Return the moment of this write; moments of a history ascend, also if the clock is set back."""
        latest = _latest(self.history.versions)
        return self.now if latest is None else max(self.now, latest.plus(MICROSECOND))


def _result(year: _Year, group: FileGroup) -> StoredOfficialYear:
    answer, version = year.answer, None
    answered = answer.answered_days
    if year.believed and not _is_recorded(year.stored, year.recorded):  # a crash before the record, or a lost state
        stored = map(trading_date, day_numbers(times_of(year.base)).tolist())
        answered |= DaysOfYear.of(answer.year, stored)
    if year.content:
        digest, since, recorded = sha256(year.content), year.now, year.recorded
        mark = year.stored.mark if year.is_stored and year.stored else None
        if recorded and recorded.version and recorded.version.sha256 == digest and recorded.version.known_since:
            since = recorded.version.known_since
        version = RecordedVersion(mark or file_mark(len(year.content), group.modified_ns[year.path]), since, digest)
    return StoredOfficialYear(
        answer.symbol, answer.year, answered, answer.failed, replaces=year.replaces, version=version
    )


def completed(
    history: OfficialHistory, stored: StoredVersion | None, recorded: RecordedOfficialYear | None, now: Timestamp
) -> OfficialHistory:
    """Return the history with the stored days that it lacks: it was lost, or an earlier version of MarketPipe had none.

    They are known since the file was recorded. In the place of a lost one it tells nothing of moments before that.
    """
    versions, since = history.versions, now
    bars = stored.bars.select(BAR_SCHEMA.names) if stored is not None else BAR_SCHEMA.empty_table()
    lacking = bars.filter(pa.array(~same_rows(bars, newest_of(versions))))
    if stored is not None and len(lacking):
        known = recorded.version.known_since if recorded and recorded.version else None
        since = known or stored.modified
        versions = pa.concat_tables([versions, _since(lacking, since)])
        versions = versions.sort_by([("timestamp", "ascending"), ("known_since", "ascending")])
    return evolve(history, versions=versions, lost_before=since if history.is_lost else history.lost_before)


def closed_history(versions: pa.Table, clock: Clock) -> pa.Table:
    """Return the versions, and after them every day as withdrawn."""
    latest = _latest(versions) or clock.now()
    now = max(clock.now(), latest.plus(MICROSECOND))
    return pa.concat_tables([versions, _since(withdrawn_rows(with_prices(newest_of(versions))), now)])


def _latest(versions: pa.Table) -> Timestamp | None:
    """Return the latest moment of a history, None if it has no versions."""
    return Timestamp(pc.max(versions["known_since"]).as_py()) if len(versions) else None


def _since(rows: pa.Table, moment: Timestamp) -> pa.Table:
    since = pa.repeat(pa.scalar(moment.moment, TIMESTAMP), len(rows))
    return rows.append_column(HISTORY_SCHEMA.field("known_since"), since)


def _is_recorded(stored: StoredVersion | None, recorded: RecordedOfficialYear | None) -> bool:
    if stored is None or stored.damage or recorded is None or recorded.version is None:
        return False
    return stored.digest == recorded.version.sha256


def _is_newest_of(history: pa.Table, stored: StoredVersion | None) -> bool:
    """Whether all rows of the file are the newest of the history: then MarketPipe wrote it."""
    if stored is None or stored.damage or not len(stored.bars):
        return False
    return bool(same_rows(stored.bars.select(BAR_SCHEMA.names), newest_of(history)).all())


def _rows_by_time(bars: pa.Table) -> Mapping[int, int]:
    return {int(stamp): row for row, stamp in enumerate(times_of(bars))}


def _official_day(row: pa.Table) -> OfficialDay:
    return OfficialDay(*(row[name][0].as_py() for name in VALUES))


def _by_year(answer: OfficialDaysValidated) -> Iterator[_Answer]:
    """Yield the answer by symbol and year; nothing of a refused symbol, of which nothing is known."""
    request, good, bad = answer.request, pa.table(answer.accepted), pa.table(answer.rejected)
    refused = {item.symbol for item in answer.refused}
    dates_of = dict[int, dict[int, TradingDate]]()
    for asked in request.sessions:
        dates_of.setdefault(asked.trading_date.day.year, {})[asked.window.start.epoch_micros] = asked.trading_date
    good_of, bad_of = _slices(answer.accepted), _slices(answer.rejected)
    for symbol in request.symbols:
        for year, dates in dates_of.items() if symbol not in refused else ():
            rejected, failed = None, dict[TradingDate, str]()
            parts = bad_of.get((symbol, year), [])
            if parts:
                rejected = pa.concat_tables([bad.slice(offset, length) for _, offset, length in parts])
                failed = {date: _reason(bad, offset) for date, offset, _ in parts if date in dates.values()}
            rows = [good.slice(offset, length) for _, offset, length in _runs(good_of.get((symbol, year), []), failed)]
            bars = pa.concat_tables([BAR_SCHEMA.empty_table(), *rows]).combine_chunks()
            answered = np.array([stamp for stamp, date in dates.items() if date not in failed], np.int64)
            yield _Answer(symbol, year, dates, answered, bars, rejected, failed)


_Part = tuple[TradingDate, int, int]


def _slices(bars: ColumnarBars) -> Mapping[tuple[Symbol, int], list[_Part]]:
    """Return the slices with bars by symbol and year, each as its date, offset and length."""
    found = dict[tuple[Symbol, int], list[_Part]]()
    for part in bars.slices:
        day = part.symbol_day
        if part.length:
            key = day.symbol, day.trading_date.day.year
            found.setdefault(key, []).append((day.trading_date, part.offset, part.length))
    return found


def _runs(parts: Iterable[_Part], failed: Mapping[TradingDate, str]) -> list[_Part]:
    """Join what follows one another, so that a year of a symbol is one slice."""
    runs = list[_Part]()
    for date, offset, length in parts:
        if date in failed:
            continue
        if runs and runs[-1][1] + runs[-1][2] == offset:
            runs[-1] = runs[-1][0], runs[-1][1], runs[-1][2] + length
        else:
            runs.append((date, offset, length))
    return runs


def _reason(rejected: pa.Table, row: int) -> str:
    return f"its official day was rejected: {rejected['reason'][row].as_py()}"


def _exists(path: Path, disk: Disk) -> bool:
    with translating(path):
        return exists(disk, path)


def _rejected_after(path: Path, answer: _Answer, disk: Disk) -> pa.Table | None:
    """Return the rows in quarantine from now on; None for none. Those of days that were requested now go."""
    rows = [] if answer.rejected is None else [answer.rejected]
    with suppress(PartitionUnreadableError):  # a quarantine that cannot be read any more blocks nothing
        if _exists(path, disk):
            old = read_rows(path, disk)
            asked = day_numbers(np.array(list(answer.dates), np.int64))
            stamps = old["timestamp"].cast(pa.int64()).fill_null(next(iter(answer.dates)))
            kept = old.filter(pa.array(~np.isin(day_numbers(stamps.to_numpy()), asked)))
            rows += [kept.replace_schema_metadata()] if len(kept) else []
    return pa.concat_tables(rows) if rows else None
