from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.testing import bar
from marketpipe.validation.infrastructure.schema_validator import SchemaValidator, bar_schema, compile_symbol
from tests.support.bar_strategies import Part, parts
from tests.support.builders import day
from tests.support.examples import examples
from tests.support.validating import SCHEMA, with_property
from tests.support.watched_columns import nonconforming, watched_columns

Schema = Mapping[str, Any]
AAPL = day("AAPL", "2024-01-02")
ROWS = [
    bar("2024-01-02T15:00:00Z"),
    bar("2024-01-02T15:01:00Z", low=-1.0, volume=-0.5),
    bar("2024-01-02T15:02:00Z", trade_count=None, vwap=None),
    bar("2024-01-02T15:03:00Z", trade_count=11, vwap=100.5),
    bar("2024-01-02T15:04:00Z", open=None),
]


@examples(80)
@given(parts())
def test_schema_v1_finds_the_rows_that_jsonschema_finds(given: list[Part]) -> None:
    assert SchemaValidator(SCHEMA).complaints(watched_columns(*given)).keys() == nonconforming(SCHEMA, given)


def test_only_rows_that_fail_are_given_to_jsonschema() -> None:
    columns = watched_columns((AAPL, ROWS), (day("MSFT", "2024-01-02"), ROWS[:2]))
    complaints = SchemaValidator(SCHEMA).complaints(columns)
    assert list(complaints) == [1, 4, 6]
    assert columns.read == [1, 4, 6]


def test_good_bars_are_never_converted_one_by_one() -> None:
    columns = watched_columns((AAPL, [ROWS[0], ROWS[2]] * 50))
    assert SchemaValidator(SCHEMA).complaints(columns) == {}
    assert columns.read == []


def test_a_complaint_names_every_column_that_is_wrong_and_why() -> None:
    complaints = SchemaValidator(SCHEMA).complaints(watched_columns((AAPL, ROWS)))
    assert complaints == {
        1: "low: -1.0 is less than or equal to the minimum of 0; volume: -0.5 is less than the minimum of 0",
        4: "open: None is not of type 'number'",
    }


def test_nan_and_infinity_are_left_to_the_business_rules() -> None:
    odd = [bar("2024-01-02T15:00:00Z", open=math.nan, high=math.inf, volume=math.nan, vwap=math.inf)]
    assert SchemaValidator(SCHEMA).complaints(watched_columns((AAPL, odd))) == {}


def test_a_symbol_that_does_not_fit_fails_all_its_bars() -> None:
    short = with_property("symbol", {"type": "string", "maxLength": 4})
    columns = watched_columns(
        (AAPL, ROWS[:1]), (day("GOOGL", "2024-01-02"), ROWS[:1]), (day("BRK.B", "2024-01-02"), [])
    )
    assert SchemaValidator(short).complaints(columns) == {1: "symbol: 'GOOGL' is too long"}
    assert columns.read == [1]


def test_no_bars_no_complaints() -> None:
    assert SchemaValidator(SCHEMA).complaints(watched_columns()) == {}
    assert SchemaValidator({"if": {}, "then": False}).complaints(watched_columns((AAPL, []))) == {}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "candle"},
        {"properties": {"open": {"minimum": "0"}}},
        {"properties": {"open": {"exclusiveMinimum": True}}},
        {"properties": {"symbol": {"pattern": "["}}},
        {"required": "open"},
        {"properties": []},
    ],
)
def test_what_is_no_json_schema_is_refused(schema: Schema) -> None:
    with pytest.raises(ConfigurationError, match="the bar schema is not a JSON Schema: "):
        SchemaValidator(schema)


def test_a_number_that_cannot_be_divided_costs_its_own_bar_alone() -> None:
    """jsonschema itself cannot check NaN and infinity against a fractional multipleOf."""
    cents = with_property("high", {"multipleOf": 0.25})
    moments = [f"2024-01-02T15:0{i}:00Z" for i in range(4)]
    rows = [bar(at, high=high) for at, high in zip(moments, (101.0, math.nan, 101.1, math.inf), strict=True)]
    complaints = SchemaValidator(cents).complaints(watched_columns((AAPL, rows)))
    assert list(complaints) == [1, 2, 3]
    assert complaints[1] == "bar: cannot be checked against the schema: cannot convert float NaN to integer"
    assert complaints[2] == "high: 101.1 is not a multiple of 0.25"


def test_the_schema_of_the_package_is_a_json_schema() -> None:
    columns = watched_columns((AAPL, ROWS))
    assert SchemaValidator(bar_schema()).complaints(columns) == SchemaValidator(bar_schema(), is_ours=True).complaints(
        watched_columns((AAPL, ROWS))
    )


@given(st.text(alphabet="AZaz09.-/é\n ", max_size=22))
def test_symbols_are_judged_as_jsonschema_judges_them(text: str) -> None:
    for keywords in (
        SCHEMA["properties"]["symbol"],
        {"type": "string", "maxLength": 3, "minLength": 2},
        {"pattern": "A$", "description": "ends with A"},
        {},
        True,
    ):
        is_good = compile_symbol(keywords)
        assert is_good is not None
        assert is_good(text) == Draft202012Validator(keywords).is_valid(text)


@pytest.mark.parametrize("keywords", [False, {"enum": ["AAPL"]}, {"type": ["string", "null"]}, {"type": "number"}])
def test_other_rules_of_symbols_are_left_to_jsonschema(keywords: Any) -> None:
    assert compile_symbol(keywords) is None
    complaints = SchemaValidator(with_property("symbol", keywords)).complaints(watched_columns((AAPL, ROWS[:1])))
    assert bool(complaints) != Draft202012Validator(keywords).is_valid("AAPL")
