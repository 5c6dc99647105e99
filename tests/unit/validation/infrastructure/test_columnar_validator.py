"""The evaluators on columns against the plain ones: the same result for every bar, for any bars and any rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.shared_kernel.events import RuleFinding
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, ArrowBars
from marketpipe.testing import bar
from marketpipe.validation.domain.business_rules import ALWAYS_ERRORS
from tests.support.bar_strategies import Part, Row, parts
from tests.support.builders import columnar, day
from tests.support.examples import examples
from tests.support.validating import (
    LAX_SCHEMA,
    RULES,
    SCHEMA,
    Setting,
    broken_rules,
    column,
    is_error,
    rows_of,
    validated,
)

CHANGEABLE = [rule.name for rule in RULES if rule.name not in ALWAYS_ERRORS]
SETTINGS = st.builds(
    Setting,
    severities=st.just({}) | st.dictionaries(st.sampled_from(CHANGEABLE), st.sampled_from(Severity)),
    schema=st.sampled_from((SCHEMA, LAX_SCHEMA)),
    kind=st.sampled_from(SessionKind),
    now=st.sampled_from(("2025-06-02T12:00:00Z", "2024-07-03T17:00:00Z")).map(Timestamp.parse),
)


def _texts(rows: Sequence[Row]) -> list[str]:
    """As text, where NaN equals NaN."""
    return [repr(row) for row in pa.Table.from_pylist(list(rows), schema=BAR_SCHEMA).to_pylist()]


def _laid_end_to_end(bars: ColumnarBars) -> bool:
    ends = [0, *(part.offset + part.length for part in bars.slices)]
    return [part.offset for part in bars.slices] == ends[:-1] and ends[-1] == bars.num_rows


@examples(150)
@given(parts(), SETTINGS)
def test_columns_are_split_as_the_plain_evaluators_split_them(given: list[Part], setting: Setting) -> None:
    result = validated(columnar(*given), setting)
    quarantined = {part.symbol_day for part in result.rejected.slices}
    for symbol_day, rows in given:
        broken = broken_rules(symbol_day, rows, setting)
        kept = [row for row, names in zip(rows, broken, strict=True) if not is_error(names, setting)]
        out = [row for row, names in zip(rows, broken, strict=True) if is_error(names, setting)]
        assert _texts(rows_of(result.accepted, symbol_day)) == _texts(kept)
        assert (symbol_day in quarantined) == bool(out)
        assert not out or _texts(rows_of(result.rejected, symbol_day)) == _texts(out)


@examples(100)
@given(parts(), SETTINGS)
def test_columns_break_the_rules_that_the_plain_evaluators_find(given: list[Part], setting: Setting) -> None:
    result = validated(columnar(*given), setting)
    counted: Counter[RuleFinding] = Counter()
    first_errors = []
    for symbol_day, rows in given:
        broken = broken_rules(symbol_day, rows, setting)
        for name, count in Counter(name for names in broken for name in names).items():
            counted[RuleFinding(symbol_day, name, setting.severity_of[name], count)] += 1
        errors = [[name for name in names if is_error([name], setting)] for names in broken]
        first_errors += [names[0] for names in errors if names]
    assert Counter(result.findings) == counted
    assert column(result.rejected, "rule") == first_errors


@examples(80)
@given(parts(), SETTINGS)
def test_every_bar_is_in_exactly_one_part_and_the_slices_cover_both(given: list[Part], setting: Setting) -> None:
    bars = columnar(*given)
    result = validated(bars, setting)
    assert _laid_end_to_end(result.accepted)
    assert _laid_end_to_end(result.rejected)
    assert [(part.symbol_day, part.final_window) for part in result.accepted.slices] == [
        (part.symbol_day, part.final_window) for part in bars.slices
    ]
    assert all(part.length for part in result.rejected.slices)
    assert result.accepted.num_rows + result.rejected.num_rows == bars.num_rows
    both = _texts(column_rows(result.accepted)) + _texts(column_rows(result.rejected))
    assert Counter(both) == Counter(_texts(column_rows(bars)))


def column_rows(bars: ColumnarBars) -> list[Row]:
    rows: list[Row] = pa.table(bars).select(BAR_SCHEMA.names).to_pylist()
    return rows


GOOD = [bar("2024-01-02T15:00:00Z"), bar("2024-01-02T15:01:00Z")]
BAD = [bar("2024-01-02T15:00:00Z", open=None), bar("2024-01-02T15:01:00Z", volume=-1.0)]
AAPL, MSFT = day("AAPL", "2024-01-02"), day("MSFT", "2024-01-02")


def test_if_nothing_is_rejected_the_bars_are_passed_on_unchanged() -> None:
    bars = columnar((AAPL, GOOD), (MSFT, []))
    result = validated(bars)
    assert pa.table(result.accepted).equals(bars.table)
    assert result.accepted.slices == bars.slices
    assert result.rejected.num_rows == 0
    assert result.rejected.slices == ()
    assert result.findings == ()
    assert pa.table(result.rejected).column_names == [*BAR_SCHEMA.names, "rule", "severity", "reason", "raw"]


def test_a_symbol_day_whose_bars_are_all_rejected_keeps_an_empty_slice() -> None:
    result = validated(columnar((AAPL, BAD), (MSFT, GOOD)))
    assert [(str(part.symbol_day), part.offset, part.length) for part in result.accepted.slices] == [
        ("AAPL 2024-01-02", 0, 0),
        ("MSFT 2024-01-02", 0, 2),
    ]
    assert [(str(part.symbol_day), part.offset, part.length) for part in result.rejected.slices] == [
        ("AAPL 2024-01-02", 0, 2)
    ]


@pytest.mark.parametrize("given", [[], [(AAPL, [])], [(AAPL, []), (MSFT, [])]])
def test_no_bars_are_accepted(given: list[Part]) -> None:
    bars = columnar(*given)
    result = validated(bars)
    assert result.accepted.slices == bars.slices
    assert (result.accepted.num_rows, result.rejected.num_rows, result.findings) == (0, 0, ())


def test_bars_may_have_several_chunks() -> None:
    first, second = columnar((AAPL, [GOOD[0], BAD[1]])), columnar((MSFT, GOOD))
    slices = columnar((AAPL, GOOD), (MSFT, GOOD)).slices
    result = validated(ArrowBars(pa.concat_tables([first.table, second.table]), slices))
    assert [part.length for part in result.accepted.slices] == [1, 2]
    assert column(result.rejected, "reason") == ["volume: -1.0 is less than the minimum of 0"]


def test_the_providers_own_text_of_a_bar_goes_with_it_into_quarantine() -> None:
    table = columnar((AAPL, [GOOD[0], BAD[1]])).table.append_column("raw", pa.array([None, '{"v":"-1"}']))
    result = validated(ArrowBars(table, columnar((AAPL, GOOD)).slices))
    assert column(result.rejected, "raw") == ['{"v":"-1"}']
    assert pa.table(result.accepted).column_names == BAR_SCHEMA.names


def test_a_bar_with_an_unreadable_value_is_rejected_even_if_the_value_is_optional() -> None:
    table = columnar((AAPL, [{**GOOD[0], "vwap": None}, {**GOOD[1], "vwap": None}])).table
    table = table.append_column("raw", pa.array(['{"vw":"NaN"}', None]))
    result = validated(ArrowBars(table, columnar((AAPL, GOOD)).slices))
    assert column(result.rejected, "reason") == ["bar: the provider's record has a value that cannot be read"]
    assert result.accepted.num_rows == 1


def test_bars_read_from_disk_are_checked_with_their_own_schema_version() -> None:
    table = columnar((AAPL, GOOD)).table.append_column("schema_version", pa.array([1, 2], pa.int32()))
    result = validated(ArrowBars(table, columnar((AAPL, GOOD)).slices))
    assert column(result.rejected, "reason") == ["schema_version: 1 was expected"]
    assert result.accepted.num_rows == 1
