"""Where SQL finds minute bars: in day files, and in the month files of compacted months, each bar once.

A folder may have both: a copy of one store over another one, or what a crash left of undoing a compaction on a file
system that cannot exchange folders. A day file then counts, and not the same day in the month file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.compacted.day_access import DAY_NAME, listed
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.store_layout import DAY_FILE, MONTH_FOLDER, StoreLayout, date_of

COLUMNS: Final = "timestamp, open, high, low, close, volume, trade_count, vwap"
# DuckDB's time zones cost five times as much as all else of a query of a year. New York is five hours behind UTC, or
# less, but at least four: so the date five hours before is its date, but perhaps between 4 and 5 in UTC.
NEW_YORK: Final = """
CASE WHEN epoch_us(timestamp) >= 0 AND epoch_us(timestamp) % 86400000000 NOT BETWEEN 14400000000 AND 17999999999
THEN CAST(make_timestamp(epoch_us(timestamp) - 18000000000) AS DATE)
ELSE CAST(timestamp AT TIME ZONE 'America/New_York' AS DATE) END"""
BARS: Final = f"SELECT symbol, {NEW_YORK} AS trading_date, {{columns}} FROM {{source}}"
FILES: Final = "read_parquet([{files}], hive_partitioning = true, hive_types = {types})"
# DuckDB takes the first folder of a path that names a symbol: below such a root it would be the root's.
FILES_BELOW_SUCH_A_ROOT: Final = """(
SELECT *, regexp_extract(filename, '.*/symbol=([^/]*)/', 1) AS symbol
FROM read_parquet([{files}], hive_partitioning = false, filename = true))"""
TYPES: Final = "{'symbol': VARCHAR, 'year': INT, 'month': INT}"
_SYMBOL: Final = re.compile(r"/symbol=", re.IGNORECASE)
_PLACE: Final = re.compile(r".*/symbol=[^/]+/year=(\d{4})/month=(\d\d)", re.ASCII)


class MinuteSources:
    """The minute bars of a store, or of some of its months, as SQL. Which files there are is found by ``survey``."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout
        self._has_day_files, self._month_files = False, list[str]()
        self._days_beside = dict[str, list[str]]()

    def survey(self, paths: Collection[str]) -> None:
        """Take note of the files of the store: these paths, and others."""
        root, end = f"{self._layout.data}/", f"/{MONTH_FILE}"
        self._has_day_files = any(path.startswith(root) and _is_of_a_day(path) for path in paths)
        compacted = (path.removesuffix(end) for path in paths if path.endswith(end) and path.startswith(root))
        beside: dict[str, list[str]] = {folder: [] for folder in compacted if _PLACE.fullmatch(folder)}
        self._month_files = [f"{folder}{end}" for folder in beside]
        for path in paths if beside and self._has_day_files else ():
            if (names := beside.get(path.rpartition("/")[0])) is not None and _is_of_a_day(path):
                names.append(path.rpartition("/")[2])
        self._days_beside = {folder: names for folder, names in beside.items() if names}

    def of_all(self) -> list[str]:
        """Return SELECTs whose rows are all minute bars; none if there are none."""
        pattern, root = f"symbol=*/{MONTH_FOLDER}", literal(self._layout.data.resolve())
        files = [quoted(root / pattern / DAY_FILE)] if self._has_day_files else []
        if not self._days_beside:
            files += [quoted(root / pattern / MONTH_FILE)] if self._month_files else []
            return [bars_in(files, TYPES)] if files else []
        alone = (path for path in self._month_files if path.rpartition("/")[0] not in self._days_beside)
        files += [quoted(literal(Path(path).resolve())) for path in alone]
        mixed = (self._without(folder, names) for folder, names in self._days_beside.items())
        return [bars_in(files, TYPES), *mixed] if files else [*mixed]

    def of_months(self, months: Iterable[MonthPartition]) -> list[str]:
        """Return SELECTs whose rows are the bars of these months; none if there are none."""
        files, mixed = list[str](), list[str]()
        for folder, names in ((str(self._layout.month(month)), self._names(month)) for month in months):
            place = literal(Path(folder).resolve())
            has_days, has_month_file = any(map(DAY_NAME.fullmatch, names)), MONTH_FILE in names
            # none of a month without one, for DuckDB refuses such a pattern
            files += [quoted(place / DAY_FILE)] if has_days else []
            files += [quoted(place / MONTH_FILE)] if has_month_file and not has_days else []
            mixed += [self._without(folder, names)] if has_month_file and has_days else []
        return [bars_in(files, TYPES), *mixed] if files else mixed

    def _names(self, month: MonthPartition) -> list[str]:
        return listed(str(self._layout.month(month)))

    @staticmethod
    def _without(folder: str, names: Iterable[str]) -> str:
        """Return the SELECT of a month file without the days that are files too."""
        bars = bars_in([quoted(literal(Path(folder, MONTH_FILE).resolve()))], TYPES)
        dates = ", ".join(f"DATE '{date}'" for date in _dates(folder, names)) or "DATE '0001-01-01'"
        return f"SELECT * FROM ({bars}) WHERE trading_date NOT IN ({dates})"


def _is_of_a_day(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return DAY_NAME.fullmatch(name) is not None and _PLACE.fullmatch(folder) is not None


def _dates(folder: str, names: Iterable[str]) -> Iterator[object]:
    match = _PLACE.fullmatch(folder)
    year, month = (int(match[1]), int(match[2])) if match else (1, 1)
    found = (date_of(year, month, name) for name in names if DAY_NAME.fullmatch(name))
    return (date for date in found if date is not None)


def bars_in(files: Sequence[str], types: str) -> str:
    """Return the SELECT of the bars in these files, which may be patterns."""
    names = ", ".join(f"'{file}'" for file in files)
    source = (FILES if len(_SYMBOL.findall(files[0])) == 1 else FILES_BELOW_SUCH_A_ROOT).format(
        files=names, types=types
    )
    return BARS.format(columns=COLUMNS, source=source)


def literal(path: Path) -> Path:
    """Escape the characters of a path that a glob would interpret."""
    return Path("".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path)))


def quoted(path: Path) -> str:
    return str(path).replace("'", "''")
