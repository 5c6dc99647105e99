from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from jsonschema import Draft202012Validator

from marketpipe.shared_kernel.domain.predicate import Record
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.validation.infrastructure.column_masks import BarColumns, bar_columns
from tests.support.bar_strategies import Part
from tests.support.builders import CALENDAR, columnar
from tests.support.validating import LONG_AFTER, json_record


@frozen
class WatchedColumns(BarColumns):
    """Columns that note in ``read`` the rows that were read one by one."""

    read: list[int] = field(factory=list)

    def record(self, row: int) -> Record:
        self.read.append(row)
        return BarColumns.record(self, row)


def watched_columns(*given: Part) -> WatchedColumns:
    columns = bar_columns(columnar(*given), CALENDAR, SessionKind.EXTENDED, LONG_AFTER)
    return WatchedColumns(columns.table, columns.slices, columns.fields)


def nonconforming(schema: Mapping[str, Any], given: list[Part]) -> set[int]:
    """Return the rows that jsonschema itself rejects, each checked as a record."""
    validator = Draft202012Validator(schema)
    records = [json_record(symbol_day, row) for symbol_day, rows in given for row in rows]
    return {i for i, record in enumerate(records) if not validator.is_valid(record)}
