"""Hypothesis strategies for bars: valid ones, nearly valid ones, and any values that a column can hold."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.predicate import (
    AllOf,
    AnyOf,
    Compare,
    Field,
    IsFinite,
    IsNull,
    Literal,
    Not,
    Predicate,
    Record,
    Remainder,
    Term,
)
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.testing import bar
from tests.support.builders import day

Row = dict[str, Any]
Part = tuple[SymbolDay, Sequence[Row]]

DOUBLE_FIELDS = ("open", "high", "low", "close", "volume", "vwap")
INTEGER_FIELDS = ("timestamp", "trade_count", "session_start", "session_end", "now")
EXACT_IN_A_DOUBLE = 2**53
DOUBLES_TO_FEAR = (
    math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.0, 2.0**53
)  # fmt: skip
INTEGERS_TO_FEAR = (0, 1, -1, 59_999_999, 60_000_000, EXACT_IN_A_DOUBLE, -EXACT_IN_A_DOUBLE, EXACT_IN_A_DOUBLE - 1)


def doubles() -> st.SearchStrategy[float]:
    return st.sampled_from(DOUBLES_TO_FEAR) | st.sampled_from((1.0, 2.0, 3.0)) | st.floats()


def integers() -> st.SearchStrategy[int]:
    return st.sampled_from(INTEGERS_TO_FEAR) | st.integers(0, 9) | st.integers(-EXACT_IN_A_DOUBLE, EXACT_IN_A_DOUBLE)


def records() -> st.SearchStrategy[Record]:
    """Generate records with every field that a rule may read; each field is sometimes null."""
    values = {name: st.none() | doubles() for name in DOUBLE_FIELDS}
    return st.fixed_dictionaries({**values, **{name: st.none() | integers() for name in INTEGER_FIELDS}})


def plausible_records() -> st.SearchStrategy[Record]:
    """Generate records whose fields are close enough to one another that each rule sometimes holds."""
    prices = st.sampled_from((1.0, 1.0, 2.0, 2.0, 3.0, *DOUBLES_TO_FEAR))
    times = st.sampled_from((0, 60_000_000, 120_000_000, 60_000_001, -60_000_000))
    values = dict.fromkeys(("open", "high", "low", "close", "volume"), prices)
    windows = {name: st.none() | times for name in ("session_start", "session_end")}
    counts = {"vwap": st.none() | prices, "trade_count": st.none() | st.integers(-1, 2)}
    return st.fixed_dictionaries({**values, **counts, **windows, "timestamp": times, "now": times})


def good_records() -> st.SearchStrategy[Record]:
    """Generate records that satisfy every invariant of a bar."""
    prices = st.floats(min_value=0, exclude_min=True, allow_infinity=False) | st.sampled_from((1.0, 1.01, 139.882513))
    amounts = st.just(-0.0) | st.floats(min_value=0, allow_infinity=False)

    def record(four: list[float], rising: bool, **values: Any) -> Record:
        low, first, last, high = sorted(four)
        opens, closes = (first, last) if rising else (last, first)
        return {"open": opens, "high": high, "low": low, "close": closes, **values}

    return st.builds(
        record,
        st.lists(prices, min_size=4, max_size=4),
        st.booleans(),
        volume=amounts,
        trade_count=st.none() | st.integers(0, 2**63 - 1),
        vwap=st.none() | amounts,
    )


def arrays(rows: Sequence[Record]) -> Mapping[str, pa.Array]:
    """Convert records to the columns that masks are computed from."""
    kinds = {**dict.fromkeys(DOUBLE_FIELDS, pa.float64()), **dict.fromkeys(INTEGER_FIELDS, pa.int64())}
    return {name: pa.array([row[name] for row in rows], kind, from_pandas=False) for name, kind in kinds.items()}


def predicates() -> st.SearchStrategy[Predicate]:
    return st.recursive(
        _leaves(),
        lambda parts: (
            st.builds(AllOf, st.lists(parts, max_size=3).map(tuple))
            | st.builds(AnyOf, st.lists(parts, max_size=3).map(tuple))
            | st.builds(Not, parts)
        ),
        max_leaves=12,
    )


def _leaves() -> st.SearchStrategy[Predicate]:
    some_field = st.sampled_from((*DOUBLE_FIELDS, *INTEGER_FIELDS)).map(Field)
    compared = st.builds(Compare, st.sampled_from(("<", "<=", ">", ">=", "==")), _terms(some_field), _terms(some_field))
    return compared | st.builds(IsNull, some_field) | st.builds(IsFinite, some_field)


def _terms(some_field: st.SearchStrategy[Field]) -> st.SearchStrategy[Term]:
    integer_field = st.sampled_from(INTEGER_FIELDS).map(Field)
    remainders = st.builds(Remainder, integer_field, st.sampled_from((1, 7, 60_000_000, EXACT_IN_A_DOUBLE)))
    return some_field | st.builds(Literal, doubles() | integers()) | remainders


def sequences() -> st.SearchStrategy[list[list[Record]]]:
    """Generate bars of several symbol-days, with repeats, disorder, gaps, jumps and NaN prices."""
    prices = st.none() | st.sampled_from((100.0, 100.0, 101.0, 149.0, 151.0, 300.0)) | doubles()
    minutes = st.integers(0, 5) | st.sampled_from((30, 31, 36, 900))

    def record(minute: int, extra: int, **values: float | None) -> Record:
        return {"timestamp": minute * 60_000_000 + extra, **values}

    extras = st.sampled_from((0, 0, 0, 1))
    bars = st.builds(record, minutes, extras, high=prices, low=prices, close=prices)
    disordered = st.lists(bars, max_size=8)
    ordered = disordered.map(lambda rows: sorted(rows, key=operator.itemgetter("timestamp")))
    return st.lists(disordered | ordered, max_size=5)


TRADING_DATES = ("2024-01-02", "2024-03-11", "2024-07-03", "2024-07-04", "2024-07-05", "2024-07-06")
"""A winter day, the first after the clocks changed, a half day, a holiday, a day in summer, a Saturday."""
MINUTES_FROM_FOUR = (-1, *range(6), 329, 330, 331, 400, 539, 540, 719, 720, 959, 960)
"""Around 04:00, 09:30, 13:00, 16:00 and 20:00 in New York."""
FLAWS: tuple[Row, ...] = (
    {"open": math.nan},
    {"high": math.inf},
    {"close": None},
    {"timestamp": None},
    {"low": -1.0},
    {"high": 1.0},
    {"low": 101.0},
    {"volume": -1.0},
    {"volume": math.inf},
    {"trade_count": -1},
    {"trade_count": None},
    {"vwap": math.nan},
    {"vwap": 500.0},
    {"vwap": None},
)


_OWNERS = st.lists(
    st.tuples(st.sampled_from(("AAPL", "MSFT", "BRK.B")), st.sampled_from(TRADING_DATES)), max_size=4, unique=True
)
_SAYINGS = st.lists(
    st.tuples(
        st.sampled_from(MINUTES_FROM_FOUR),
        st.sampled_from((0, 0, 0, 0, 0, 1)),
        st.sampled_from((100.0, 100.0, 100.0, 200.0)),
        st.sampled_from(({}, {}, {}, *FLAWS)),
        st.sampled_from(({}, {}, {}, {}, {}, *FLAWS)),
    ),
    max_size=6,
)


@st.composite
def parts(draw: st.DrawFn) -> list[Part]:
    """Generate symbol-days as a provider may send them; some are empty, some bars have one error, some two."""
    return [(owner, _rows(owner, draw(_SAYINGS))) for owner in (day(*names) for names in draw(_OWNERS))]


def _rows(owner: SymbolDay, sayings: Sequence[tuple[int, int, float, Row, Row]]) -> list[Row]:
    four_in_the_morning = owner.trading_date.midnight.moment + timedelta(hours=4)
    return [
        {
            **bar(str(owner.trading_date.midnight), price),
            "timestamp": four_in_the_morning + timedelta(minutes=minute, seconds=second),
            **flaw,
            **another,
        }
        for minute, second, price, flaw, another in sayings
    ]
