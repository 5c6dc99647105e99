"""Reading the quarantine: which rules rejected how many bars, and a few of these bars with their raw values."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, exists
from marketpipe.storage.domain.store_survey import QualitySurvey, RuleCount, RuleKey
from marketpipe.storage.infrastructure.parquet_files import map_in_threads, read_rows
from marketpipe.storage.infrastructure.store_layout import StoreLayout, translating

OF_MINUTES, OF_OFFICIAL_DAYS = "rejected", "official day"
EXAMPLES_OF_A_RULE: Final = 20
FILES_AT_A_TIME: Final = 512
"""So many files are in memory together."""
EXAMPLE_SCHEMA: Final = pa.schema(
    [
        ("symbol", pa.string()),
        ("trading_date", pa.date32()),
        *BAR_SCHEMA,
        *((name, pa.string()) for name in ("rule", "severity", "kind", "reason", "raw")),
    ]
)
NAMES_SHOWN: Final = 20
_File = tuple[str, Symbol, TradingDate | None, Path]


class Quarantine:
    """The rejected bars of a store. A file that cannot be read is reported, and does not stop the survey."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout

    def survey(self, days: Sequence[SymbolDay], symbols: Iterable[Symbol], years: range, most: int) -> QualitySurvey:
        """Read the quarantine of at most the first ``most`` of these days, and of all official days of ``years``."""
        files = [(OF_MINUTES, day.symbol, day.trading_date, self._layout.rejected(day)) for day in days[:most]]
        found, unreadable = RuleExamples(), list[str]()
        for some in _batches([*files, *self._of_official_days(symbols, years)]):
            tables = map_in_threads(partial(_rows_of, disk=self._layout.disk), some, self._layout.machine)
            for (kind, symbol, date, _), rows in zip(some, tables, strict=True):
                if isinstance(rows, str):
                    unreadable.append(rows)
                elif rows is not None:
                    for key, of_rule in _by_rule(rows, kind):
                        found.add(key, symbol, date, of_rule)
        return found.survey(min(most, len(days)), len(days), unreadable)

    def _of_official_days(self, symbols: Iterable[Symbol], years: range) -> Iterator[_File]:
        disk = self._layout.disk
        for symbol in symbols if _exists(self._layout.quarantine, disk) else ():
            for year in years:
                path = self._layout.rejected_official_days(symbol, year)
                if _exists(path, disk):
                    yield OF_OFFICIAL_DAYS, symbol, None, path


def _batches(files: Sequence[_File]) -> Iterator[Sequence[_File]]:
    return (files[start : start + FILES_AT_A_TIME] for start in range(0, len(files), FILES_AT_A_TIME))


def _rows_of(file: _File, disk: Disk) -> pa.Table | str | None:
    path = file[3]
    try:
        # without a file its bars were good at a later request
        return read_rows(path, disk) if _exists(path, disk) else None
    except StorageError as error:
        return str(error)


def _exists(path: Path, disk: Disk) -> bool:
    with translating(path):
        return exists(disk, path)


class RuleExamples:
    """Counts the bars that broke each rule, and keeps a few of them."""

    def __init__(self) -> None:
        self._bars, self._days = Counter[RuleKey](), Counter[RuleKey]()
        self._kept = defaultdict[RuleKey, list[pa.Table]](list)

    def add(self, key: RuleKey, symbol: Symbol, date: TradingDate | None, rows: pa.Table) -> None:
        """Take the bars of one symbol-day that broke one rule; ``rows`` may have the columns reason and raw.

        Without a ``date`` each of the bars is a symbol-day of its own.
        """
        shown = sum(map(len, self._kept[key]))
        self._bars[key] += len(rows)
        self._days[key] += 1 if date is not None else len(rows)
        if shown < EXAMPLES_OF_A_RULE:
            self._kept[key].append(_as_examples(key, symbol, date, rows.slice(0, EXAMPLES_OF_A_RULE - shown)))

    def survey(self, read: int, all_days: int, unreadable: Sequence[str]) -> QualitySurvey:
        counts = tuple(RuleCount(key, bars, self._days[key]) for key, bars in self._bars.most_common())
        tables = [table for key in self._bars for table in self._kept[key]]
        joined = pa.concat_tables([EXAMPLE_SCHEMA.empty_table(), *tables])
        return QualitySurvey(counts, joined, read, all_days, tuple(unreadable[:NAMES_SHOWN]))


def _by_rule(rows: pa.Table, kind: str) -> Iterator[tuple[RuleKey, pa.Table]]:
    """Yield the rejected bars of each rule. One bar may break several: it counts for the first."""
    keys = list(zip(rows["rule"].to_pylist(), rows["severity"].to_pylist(), strict=True))
    for rule, severity in dict.fromkeys(keys):
        mask = pa.array([key == (rule, severity) for key in keys], pa.bool_())
        yield RuleKey(str(rule), str(severity), kind), rows.filter(mask)


def _as_examples(key: RuleKey, symbol: Symbol, date: TradingDate | None, rows: pa.Table) -> pa.Table:
    """Return bars that broke a rule in the columns of ``EXAMPLE_SCHEMA``."""
    count = len(rows)
    same = {"rule": key.rule, "severity": key.severity, "kind": key.kind, "symbol": str(symbol)}
    columns = {name: pa.repeat(pa.scalar(text), count) for name, text in same.items()}
    columns["trading_date"] = pa.repeat(pa.scalar(None if date is None else date.day, pa.date32()), count)
    for name in ("reason", "raw"):
        columns[name] = rows[name] if name in rows.column_names else pa.nulls(count, pa.string())
    columns |= {name: rows[name] for name in BAR_SCHEMA.names}
    return pa.table({name: columns[name] for name in EXAMPLE_SCHEMA.names}, schema=EXAMPLE_SCHEMA)
