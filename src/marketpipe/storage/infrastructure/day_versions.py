"""The stored versions of a symbol-day: how each is identified, since when it is known, and how bars are merged."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from attrs import evolve, field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError, ValidationError
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.store_inventory import NO_MARK, DayComparison, RecordedVersion, VersionMark
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp, TimeWindow
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, FILE_SCHEMA
from marketpipe.storage.domain.data_partition import Revision, size_and_time_in
from marketpipe.storage.domain.storage_metadata import identity_in, label_in
from marketpipe.storage.infrastructure.parquet_files import (
    Int64s,
    checked_bars,
    file_in,
    read_bars,
    sha256,
    times_of,
    versioned,
)
from marketpipe.storage.infrastructure.store_layout import StoreLayout

BEGINNING: Final = Timestamp.from_epoch_micros(0)
MICROSECOND: Final = timedelta(microseconds=1)


def file_mark(size_bytes: int, modified_ns: int) -> VersionMark:
    """Return the mark of a day file: its size, and its modification time in microseconds since 1970."""
    return f"{size_bytes}-{modified_ns // 1000}"


def have_same_time(mark: VersionMark, other: VersionMark) -> bool:
    return size_and_time_in(mark)[1] == size_and_time_in(other)[1]


def moment_of(found: os.stat_result) -> Timestamp:
    """Return the modification time to the microsecond."""
    return Timestamp.from_epoch_micros(found.st_mtime_ns // 1000)


INDEX_TITLE: Final = b"trading_date,known_since,sha256\n"
INDEX_LINE: Final = re.compile(
    r"^(\d{4}-\d\d-\d\d),(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z),([0-9a-f]{64})$", re.M | re.A
)

TORN_LINE: Final = re.compile(r"\0*[\d:.,TZa-f-]{0,102}\0*", re.A)
"""What a crash or a full disk can leave of a line, and zeros in the place of what was never written."""


@frozen
class KnownMoments:
    """Since when the versions of one symbol's days are known, by trading date, then SHA-256, as its index has it.

    ``newest_revision`` returns the moment of a day's newest revision as it is when called; None if it has none.
    """

    _of: Mapping[str, Mapping[str, Timestamp]] = field(repr=False)
    _newest_revision: Callable[[TradingDate], Timestamp | None] = field(repr=False)

    def has(self, date: TradingDate, digest: str, since: Timestamp) -> bool:
        return self._of.get(str(date), {}).get(digest) == since

    def since(self, date: TradingDate, modified: Timestamp, digest: Callable[[], str]) -> Timestamp:
        """Return since when the day file with this modification time and ``digest`` is known.

        A file whose time is a moment of the index has kept it, and need not be read. A file that the index does not
        know was written by an earlier version of MarketPipe or by another program: its time is all there is.
        Raises ``StorageError``.
        """
        moments = self._of.get(str(date))
        if not moments or modified in moments.values():
            return modified
        moment = moments.get(digest())
        if moment is None:
            return modified
        # The moments of a day ascend. An earlier moment than that of a revision is the one of a former version with
        # the same bytes: the line of this one, which returned, was lost. An equal one is a revision of this version.
        newest = self._newest_revision(date)
        return moment if newest is None or newest <= moment else modified


class VersionIndex:
    """The moments since which day files are known, beside the files: a copy of the store without times keeps them.

    One append-only text file per symbol, with one line per published version. A version that returns has several
    lines, of which the last counts: its earlier time is that of a revision. See docs/adr/0018.
    """

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout

    def of(self, symbol: Symbol) -> KnownMoments:
        """Read the lines of one symbol; torn and foreign ones are ignored. Raises ``StorageError``."""

        def newest_revision(date: TradingDate) -> Timestamp | None:
            return self._layout.newest_revision(SymbolDay(symbol, date))

        try:
            text = self._text(symbol)
        except OSError as error:
            raise StorageError(f"cannot read {self._layout.version_index(symbol)}: {error.strerror}") from error
        found = defaultdict[str, dict[str, Timestamp]](dict)
        for date, moment, digest in INDEX_LINE.findall(text):
            with suppress(ValidationError):  # no moment of the calendar
                found[date][digest] = Timestamp.parse(moment)
        return KnownMoments(found, newest_revision)

    def problem(self, symbol: Symbol) -> str | None:
        """Return what is wrong with the index of one symbol, as the end of a sentence that begins with its path.

        None if nothing is, or if it has no index. A torn line is no problem: the next append begins a new one.
        """
        try:
            lines = self._text(symbol).split("\n")
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        count = sum(not _belongs_in_an_index(line) for line in lines)
        return f"has {count:,} lines that are not of a version index" if count else None

    def _text(self, symbol: Symbol) -> str:
        """Return what an index contains, '' if it does not exist. Raises ``OSError``."""
        try:
            return self._layout.version_index(symbol).read_text("ascii", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return ""


def _belongs_in_an_index(line: str) -> bool:
    if TORN_LINE.fullmatch(line) or INDEX_TITLE.decode().startswith(line):
        return True
    if not (match := INDEX_LINE.fullmatch(line)):
        return False
    try:
        TradingDate.parse(match[1]), Timestamp.parse(match[2])
    except ValidationError:  # not of the calendar
        return False
    return True


def index_lines(versions: Iterable[tuple[TradingDate, Timestamp, str]]) -> bytes:
    """Return the lines of an index; each version is a trading date, a moment and a SHA-256."""
    return "".join([f"{date},{_text(moment)},{digest}\n" for date, moment, digest in versions]).encode()


def first_index_lines(recorded: Mapping[TradingDate, RecordedVersion]) -> bytes:
    """Return what a new index begins with: in a store of an earlier version of MarketPipe the state has moments."""
    known = ((date, version.known_since, version.sha256) for date, version in recorded.items())
    return INDEX_TITLE + index_lines((date, since, digest) for date, since, digest in known if since is not None)


def _text(moment: Timestamp) -> str:
    return moment.moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


@frozen
class StoredVersion:
    """A day file as it was found. ``bars`` has the columns of a file.

    If the file is not what belongs there, ``bars`` is empty and ``damage`` is the reason.
    """

    mark: VersionMark
    modified: Timestamp
    content: bytes = field(repr=False)
    bars: pa.Table = field(factory=FILE_SCHEMA.empty_table, repr=False)
    damage: str | None = None

    @property
    def digest(self) -> str:
        return sha256(self.content)


def find_stored(path: Path, expected: Callable[[], Mapping[str, str]]) -> StoredVersion | None:
    """Read a day file; None if there is none. A file whose metadata is not as ``expected`` is damaged."""
    try:
        with path.open("rb") as file:  # opened once, or time and bytes could be those of two versions
            found, content = os.fstat(file.fileno()), file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return StoredVersion(NO_MARK, BEGINNING, b"", damage=f"{path} cannot be read: {error.strerror}")
    stored = StoredVersion(file_mark(found.st_size, found.st_mtime_ns), moment_of(found), content)
    try:
        rows, metadata = file_in(content, str(path), columns=True)
        bars, actual, wanted = checked_bars(rows, path), _description(metadata), _description(expected())
        if actual != wanted:
            raise PartitionUnreadableError(f"the metadata of {path} names {actual}, its path {wanted}")
        return evolve(stored, bars=versioned(bars.select(BAR_SCHEMA.names)))
    except PartitionUnreadableError as error:
        return evolve(stored, damage=str(error))


def _description(metadata: Mapping[str, str]) -> str:
    return f"{label_in(metadata)} of {identity_in(metadata)}"


@frozen(slots=False)
class NewVersion:
    """The bytes of a symbol-day from now on, with all that decides since when they are known.

    ``stored`` is the file that exists now, ``recorded`` what the state has of the day, ``moments`` what the symbol's
    index has; it is read only if the state does not know the stored file.
    """

    symbol_day: SymbolDay
    path: Path
    content: bytes = field(repr=False)
    digest: str
    now: Timestamp
    stored: StoredVersion | None
    recorded: RecordedVersion | None
    moments: Callable[[Symbol], KnownMoments] = field(repr=False)

    @property
    def is_stored(self) -> bool:
        """Whether the file is exactly what it should be, in bytes and time.

        If only its time differs from the record, as in a tree copied without times, it is published again.
        """
        if self.stored is None or self.stored.content != self.content:
            return False
        return self.recorded is None or not self.is_recorded or self.recorded.mark in (NO_MARK, self.stored.mark)

    @cached_property
    def known_since(self) -> Timestamp:
        """The moments of a symbol-day ascend, also if the clock stands still or is set back."""
        if self.is_recorded and self.recorded is not None and self.recorded.known_since is not None:
            return self.recorded.known_since  # the bytes on record: a lost or damaged file that is healed
        if self.stored is not None and self.stored.content == self.content:
            return self._stored_since(self.stored)
        former = self.revision
        return self.now if former is None else max(self.now, former.known_since.plus(MICROSECOND))

    @cached_property
    def revision(self) -> Revision | None:
        """What the stored file becomes; None for a damaged file and for one that is not the recorded version.

        Such a file was put there by a fault or by another program, and was never a version of the day.
        """
        stored, recorded = self.stored, self.recorded
        if stored is None or stored.damage or stored.content == self.content:
            return None
        if recorded is not None and recorded.sha256 != stored.digest:
            return None
        known = recorded.known_since if recorded is not None else None
        return Revision(self.symbol_day, known or self._stored_since(stored))

    @property
    def is_recorded(self) -> bool:
        """Whether the state has these very bytes: of a file that did not change, or that is healed."""
        return self.recorded is not None and self.recorded.sha256 == self.digest

    def _stored_since(self, stored: StoredVersion) -> Timestamp:
        day = self.symbol_day
        return self.moments(day.symbol).since(day.trading_date, stored.modified, lambda: stored.digest)


def merge_bars(stored: pa.Table, newer: pa.Table, rejected: Int64s, final: TimeWindow | None) -> pa.Table:
    """Return the bars of a symbol-day after a new answer of the provider, ascending by time.

    Per timestamp the newer bar wins. A stored bar that is missing in the answer stays, unless it is in the window for
    which the answer is ``final``. A bar whose newer version was rejected (``rejected``: their times) stays as it was.
    """
    times, known = times_of(stored), times_of(newer)
    keep = ~np.isin(times, known)
    if final is not None and len(known):
        withdrawn = (times >= final.start.epoch_micros) & (times < final.end.epoch_micros) & ~np.isin(times, rejected)
        keep &= ~withdrawn
    return in_order(pa.concat_tables([stored.filter(pa.array(keep)), newer]))


def joined_rejections(stored: pa.Table, newer: pa.Table) -> pa.Table:
    """Return every rejected bar once, in the order in which they came."""
    rows = [*stored.to_pylist(), *newer.to_pylist()]
    distinct = {repr(row): row for row in rows}  # as text, in which NaN equals NaN
    return pa.Table.from_pylist(list(distinct.values()), schema=newer.schema)


def in_order(bars: pa.Table) -> pa.Table:
    times = times_of(bars)
    (rises,) = are_in_order(times, [len(times)])
    return bars if rises else bars.take(pa.array(np.argsort(times, kind="stable")))


def are_in_order(times: Int64s, lengths: Sequence[int]) -> list[bool]:
    """Return for each of many days whether its times ascend; the days are contiguous, ``lengths`` of times each."""
    falls = np.zeros(len(times) + 1, np.int64)
    np.cumsum(times[1:] <= times[:-1], out=falls[2:])
    ends = np.cumsum(lengths, dtype=np.int64)
    starts = ends - np.asarray(lengths, np.int64)
    rises: list[bool] = (falls[ends] == falls[np.minimum(starts + 1, ends)]).tolist()
    return rises


Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

PRICES = ("open", "high", "low", "close")
VALUES = [name for name in BAR_SCHEMA.names if name != "timestamp"]
SAME_RATIO = 2e-3
HALF_A_CENT = 0.005
VOLUME_ROUNDING = 0.5
FEWEST_BARS_OF_A_RATIO = 5


class ParquetBarComparer:
    """Compares what the provider returns now with the day files, bar by bar: what would storing it change?"""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout

    def compare(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[DayComparison, ...]:
        good, bad = pa.table(accepted), pa.table(rejected)
        rejected_times = {part.symbol_day: times_of(bad.slice(part.offset, part.length)) for part in rejected.slices}
        nothing = np.empty(0, np.int64)
        return tuple(
            self._compare(part, good.slice(part.offset, part.length), rejected_times.get(part.symbol_day, nothing))
            for part in accepted.slices
        )

    def _compare(self, part: SymbolDaySlice, newer: pa.Table, rejected: Int64s) -> DayComparison:
        path = self._layout.bars(part.symbol_day)
        try:
            stored = read_bars(path).select(BAR_SCHEMA.names) if path.exists() else BAR_SCHEMA.empty_table()
        except PartitionUnreadableError as error:
            return DayComparison(part.symbol_day, error=f"{error}; run 'marketpipe ingest' to repair it")
        merged = merge_bars(stored, newer, rejected, part.final_window)
        return compare_bars(DayComparison(part.symbol_day), stored, merged)


def compare_bars(blank: DayComparison, old: pa.Table, new: pa.Table) -> DayComparison:
    """Return ``blank`` filled in. Both tables ascend by time, and have no time twice."""
    old_times, new_times = times_of(old), times_of(new)
    kept, still = np.isin(old_times, new_times), np.isin(new_times, old_times)
    before, after = old.filter(pa.array(kept)), new.filter(pa.array(still))
    changed = _changed(before, after)
    counted = evolve(
        blank,
        unchanged=int((~changed).sum()),
        changed=int(changed.sum()),
        added=int((~still).sum()),
        removed=int((~kept).sum()),
    )
    return _measured(counted, before, after) if changed.any() else counted


def _measured(counted: DayComparison, before: pa.Table, after: pa.Table) -> DayComparison:
    moves = [np.abs(_floats(after, name) / _floats(before, name) - 1) for name in PRICES]
    ratio = _constant(_floats(before, "close"), _floats(after, "close"), HALF_A_CENT)
    volumes = _constant(_floats(before, "volume"), _floats(after, "volume"), VOLUME_ROUNDING)
    return evolve(
        counted, largest_move=float(np.max(moves)), price_ratio=ratio, volume_ratio=volumes if ratio else None
    )


def _changed(before: pa.Table, after: pa.Table) -> Bools:
    import pyarrow.compute as pc  # here: it takes 40 ms, and commands that only examine files do without it

    changed = np.zeros(len(before), np.bool_)
    for name in VALUES:
        differs = pc.fill_null(pc.not_equal(before[name], after[name]), False)
        one_is_null = pc.xor(pc.is_null(before[name]), pc.is_null(after[name]))
        changed |= pc.or_(differs, one_is_null).to_numpy()
    return changed


def _constant(before: Floats, after: Floats, rounding: float) -> float | None:
    """Return after over before if it is the same for all bars, but for the rounding of both; else None."""
    traded = before > 0
    if traded.sum() < FEWEST_BARS_OF_A_RATIO:
        return None
    ratios = after[traded] / before[traded]
    typical = float(np.median(ratios))
    # both sides may have been rounded: to cents, or to whole units traded
    allowed = SAME_RATIO * typical + rounding * (1 + typical) / before[traded]
    return typical if bool((np.abs(ratios - typical) <= allowed).all()) else None


def _floats(bars: pa.Table, name: str) -> Floats:
    values: Floats = bars[name].to_numpy()
    return values
