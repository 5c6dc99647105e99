"""Schemas with keywords that cannot be compiled: they are checked slowly and never skipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.testing import bar
from marketpipe.validation.infrastructure.schema_validator import SchemaValidator
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

NOT_COMPILED: dict[str, tuple[Schema, set[int]]] = {
    "multipleOf": (with_property("open", {"multipleOf": 3}), {0, 1, 2, 3}),
    "enum": (with_property("trade_count", {"enum": [10, 11]}), {1, 2, 4}),
    "pattern on a moment": (with_property("timestamp", {"pattern": ":0[0-3]:"}), {1, 4}),
    "minLength on a moment": (with_property("timestamp", {"minLength": 21}), {0, 1, 2, 3, 4}),
    "const of a price": (with_property("vwap", {"const": 100}), {1, 2, 3, 4}),
    "const true": (with_property("schema_version", {"const": True}), {0, 1, 2, 3, 4}),
    "const beyond 64 bits": (with_property("trade_count", {"const": 2**70}), {0, 1, 2, 3, 4}),
    "integer price": (with_property("vwap", {"type": "integer"}), {1, 2, 3, 4}),
    "only null": (with_property("trade_count", {"type": "null"}), {0, 1, 3, 4}),
    "never": (with_property("vwap", False), {0, 1, 2, 3, 4}),
    "not": (with_property("trade_count", {"not": {"const": 11}}), {1, 3, 4}),
    "anyOf": (with_property("trade_count", {"anyOf": [{"type": "null"}, {"minimum": 11}]}), {0, 1, 4}),
    "reference": (with_property("vwap", {"$ref": "#/properties/open"}), {1, 2, 4}),
    "fractional bound of a count": (with_property("trade_count", {"minimum": 10.5}), {0, 1, 4}),
    "bound beyond 64 bits": (with_property("trade_count", {"minimum": 2**64}), {0, 1, 3, 4}),
    "bound beyond all doubles": (with_property("open", {"maximum": -(10**400)}), {0, 1, 2, 3}),
    "if, then": ({**SCHEMA, "if": {"properties": {"trade_count": {"const": 11}}}, "then": False}, {1, 3, 4}),
    "new required column": ({**SCHEMA, "required": [*SCHEMA["required"], "exchange"]}, {0, 1, 2, 3, 4}),
    "new described column": (with_property("exchange", {"type": "string"}), {1, 4}),
    "new forbidden column": (with_property("exchange", False), {1, 4}),
    "additionalProperties": ({"properties": {"open": {}}, "additionalProperties": False}, {0, 1, 2, 3, 4}),
    "additionalProperties, typed": (
        {
            "properties": {"symbol": {}, "timestamp": {}, "trade_count": {}},
            "additionalProperties": {"type": "number"},
        },
        {2, 4},
    ),
    "maxProperties": ({**SCHEMA, "maxProperties": 9}, {0, 1, 2, 3, 4}),
    "patternProperties": ({"patternProperties": {"^(open|low)$": {"exclusiveMinimum": 0, "type": "number"}}}, {1, 4}),
    "not an object": ({**SCHEMA, "type": "array"}, {0, 1, 2, 3, 4}),
    "a reference and no more": ({"$ref": "#/$defs/bar", "$defs": {"bar": {"type": "string"}}}, {0, 1, 2, 3, 4}),
}  # fmt: skip
COMPILED: dict[str, tuple[Schema, set[int]]] = {
    "nothing": ({}, set()),
    "no properties": ({"type": "object"}, set()),
    "anything": (with_property("open", True), {1}),
    "anything, described": (with_property("open", {"description": "Of any kind.", "examples": [1]}), {1}),
    "a count without a limit": (with_property("trade_count", {}), {1, 4}),
    "bounds": (with_property("vwap", {"minimum": 100.25, "exclusiveMaximum": 101}), {0, 1, 4}),
    "a minimum is allowed": (with_property("vwap", {"minimum": 100.5}), {0, 1, 4}),
    "an exclusive minimum is not": (with_property("vwap", {"exclusiveMinimum": 100}), {0, 1, 4}),
    "a maximum is allowed": (with_property("vwap", {"maximum": 100}), {1, 3, 4}),
    "an exclusive maximum is not": (with_property("vwap", {"exclusiveMaximum": 100.5}), {1, 3, 4}),
    "bounds of nulls": ({"properties": {"trade_count": {"exclusiveMinimum": 10, "maximum": 11}}}, {0, 1, 4}),
    "const of a count": ({"properties": {"trade_count": {"const": 10}}}, {2, 3}),
    "const of another version": (with_property("schema_version", {"const": 2}), {0, 1, 2, 3, 4}),
    "const beyond 32 bits": (with_property("schema_version", {"const": 2**40}), {0, 1, 2, 3, 4}),
    "type": ({"properties": {"open": {"type": ["number", "string"]}, "timestamp": {"type": "string"}}}, {4}),
    "required": ({"required": ["open", "symbol", "schema_version"]}, set()),
    "symbol": ({"properties": {"symbol": {"enum": ["MSFT"]}}}, {0, 1, 2, 3, 4}),
}


@pytest.mark.parametrize("name", NOT_COMPILED)
def test_a_keyword_that_cannot_be_compiled_gives_every_row_to_jsonschema(name: str) -> None:
    schema, expected = NOT_COMPILED[name]
    columns = watched_columns((AAPL, ROWS))
    assert SchemaValidator(schema).complaints(columns).keys() == expected
    assert nonconforming(schema, [(AAPL, ROWS)]) == expected
    assert columns.read == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", COMPILED)
def test_what_can_be_compiled_gives_only_failing_rows_to_jsonschema(name: str) -> None:
    schema, expected = COMPILED[name]
    columns = watched_columns((AAPL, ROWS))
    assert SchemaValidator(schema).complaints(columns).keys() == expected
    assert nonconforming(schema, [(AAPL, ROWS)]) == expected
    assert columns.read == sorted(expected)


BOUNDS = st.sampled_from((0, 1, 99, 100, 101, 2**53 + 1, 2**63, 2**64, -(10**400), 0.5, 100.0, 1e20, -0.0))
KINDS = st.sampled_from(("number", "integer", "string", "null", "boolean", "object"))
KEYWORDS: dict[str, st.SearchStrategy[Any]] = {
    "type": KINDS | st.lists(KINDS, min_size=1, max_size=3, unique=True),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), BOUNDS),
    "const": BOUNDS | st.sampled_from((None, True, False, 10, "2024-01-02T09:00:00Z")),
    "enum": st.lists(BOUNDS | st.sampled_from((None, 10, 11)), min_size=1, max_size=3),
    "multipleOf": st.sampled_from((1, 2, 3, 7)),
    "pattern": st.sampled_from(("Z$", "^2023", "A")),
    "maxLength": st.integers(0, 30),
    "format": st.sampled_from(("date-time", "date", "email")),
    "not": st.sampled_from(({}, {"type": "null"}, {"minimum": 100})),
    "default": st.just(0),
}
PROPERTY = st.fixed_dictionaries({}, optional=KEYWORDS) | st.booleans()
NAMES = ("symbol", *BAR_SCHEMA.names, "schema_version", "exchange")
SCHEMAS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(("object", "array", ["object", "null"])),
        "properties": st.dictionaries(st.sampled_from(NAMES), PROPERTY, max_size=4),
        "required": st.lists(st.sampled_from(NAMES), max_size=3, unique=True),
        "additionalProperties": st.booleans() | PROPERTY,
        "if": st.just({"properties": {"volume": {"minimum": 1}}}),
        "then": PROPERTY.map(lambda keywords: {"properties": {"open": keywords}}),
        "title": st.just("a schema"),
    },
)


@examples(250)
@given(SCHEMAS, parts())
def test_any_schema_finds_the_rows_that_jsonschema_finds(schema: Schema, given: list[Part]) -> None:
    assert SchemaValidator(schema).complaints(watched_columns(*given)).keys() == nonconforming(schema, given)


@examples(80)
@given(st.sampled_from(sorted(SCHEMA["properties"])), PROPERTY, parts())
def test_schema_v1_with_one_property_rewritten_finds_the_rows_that_jsonschema_finds(
    name: str, keywords: object, given: list[Part]
) -> None:
    schema = with_property(name, keywords)
    assert SchemaValidator(schema).complaints(watched_columns(*given)).keys() == nonconforming(schema, given)
