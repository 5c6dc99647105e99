"""Which stored bars break a rule, with the bars themselves: for people who want to see what a warning is about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingCalendar
from marketpipe.validation.infrastructure.business_rule_validator import BusinessRuleValidator
from marketpipe.validation.infrastructure.column_masks import bar_columns


class BrokenRule(NamedTuple):
    """The ``bars`` of one symbol-day that break a rule, in the canonical columns, and a column ``reason``."""

    day: SymbolDaySlice
    rule: str
    severity: str
    bars: pa.Table


class BrokenRules:
    """Checks bars of the extended session against the business rules; the schema was checked when they were stored."""

    def __init__(self, rules: BusinessRuleValidator, calendar: TradingCalendar, clock: Clock) -> None:
        self._rules, self._calendar, self._clock = rules, calendar, clock

    def of(self, bars: ColumnarBars) -> Iterator[BrokenRule]:
        """Yield an entry for each symbol-day and rule that its bars break."""
        columns = bar_columns(bars, self._calendar, SessionKind.EXTENDED, self._clock.now())
        if not columns.num_rows:
            return
        for violation in self._rules.violations(columns, np.zeros(columns.num_rows, np.bool_)):
            rule = violation.rule
            for day in columns.slices:
                broken = np.flatnonzero(violation.rows[day.offset : day.offset + day.length]) + day.offset
                if len(broken):
                    rows = columns.table.take(pa.array(broken))
                    reason = pa.repeat(pa.scalar(f"the bar {rule.complaint}"), len(rows))
                    yield BrokenRule(day, rule.name, str(rule.severity), rows.append_column("reason", reason))
