"""Check bars against a JSON Schema, on columns if the schema allows it, else row by row.

jsonschema takes one Python object a record, which is far too slow for every bar. So each keyword is compiled to a
predicate if one with exactly the same meaning exists, and only the rows that fail are given to jsonschema, which
decides and words the error. It is imported then: most processes never see such a row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import numpy as np
import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.predicate import AllOf, Field, IsNull, Predicate
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, FILE_SCHEMA, SCHEMA_VERSION
from marketpipe.validation.infrastructure.column_masks import BarColumns, Int64s, failing

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

ANNOTATIONS: Final = {"title", "description", "$comment", "examples", "default", "deprecated"}
"""Keywords that allow and forbid nothing."""
DECLARATIONS: Final = {"$schema", "$id", "type", "properties", "required", "additionalProperties", *ANNOTATIONS}
"""Top-level keywords that can be compiled."""
SCHEMA_FILE: Final = "schema_v1.json"
LARGEST_INTEGER, LARGEST_EXACT_DOUBLE = 2**63 - 1, 2**53
_ARROW_TYPES: Final = {
    "number": (pa.types.is_floating, pa.types.is_integer),
    "integer": (pa.types.is_integer,),
    "string": (pa.types.is_timestamp,),
}
"""The Arrow types whose values, written as JSON, have that JSON type."""


class SchemaValidator:
    """Check bars against a JSON Schema (2020-12) of one canonical record, such as schema/schema_v1.json.

    Any valid schema is enforced in full: one with keywords that cannot be compiled is checked row by row, slowly.
    """

    def __init__(self, schema: Mapping[str, Any], *, is_ours: bool = False) -> None:
        """``is_ours`` is a schema that ships with the package, as ``bar_schema`` returns it: it was checked by a test.

        Raises ``ConfigurationError`` for another that is not a valid JSON Schema.
        """
        if not is_ours:
            _check(schema)
        self._schema, self._predicates = schema, _compile(schema)
        self._is_good_symbol = compile_symbol(schema.get("properties", {}).get("symbol", True))

    def complaints(self, columns: BarColumns) -> Mapping[int, str]:
        """Return the rows that do not satisfy the schema, ascending, each with what is wrong with it."""
        candidates = np.arange(columns.num_rows) if self._predicates is None else self._failing(columns)
        complaints = ((int(row), self._complaint(columns, int(row))) for row in candidates)
        return {row: text for row, text in complaints if text}

    def _failing(self, columns: BarColumns) -> Int64s:
        versions = pa.repeat(pa.scalar(SCHEMA_VERSION, pa.int32()), columns.num_rows)
        fields = {"schema_version": versions, **columns.fields}
        bad = np.zeros(columns.num_rows, np.bool_)
        for predicate in self._predicates or ():
            if (found := failing(predicate, fields)) is not None:
                bad |= found
        refused = {symbol for symbol in columns.symbols if not self._allows(symbol)}
        for part in columns.slices if refused else ():
            if part.symbol_day.symbol in refused:
                bad[part.offset : part.offset + part.length] = True
        return np.flatnonzero(bad)

    @cached_property
    def _validator(self) -> Draft202012Validator:
        from jsonschema import Draft202012Validator

        return Draft202012Validator(self._schema)

    def _allows(self, symbol: Symbol) -> bool:
        if self._is_good_symbol is not None:
            return self._is_good_symbol(str(symbol))
        wanted = self._schema.get("properties", {}).get("symbol", True)
        return bool(self._validator.evolve(schema=wanted).is_valid(str(symbol)))

    def _complaint(self, columns: BarColumns, row: int) -> str:
        errors = self._validator.iter_errors(_record(columns, row))
        try:
            return "; ".join(f"{'.'.join(map(str, error.path)) or 'bar'}: {error.message}" for error in errors)
        except (ArithmeticError, ValueError) as error:  # multipleOf cannot divide NaN or infinity
            return f"bar: cannot be checked against the schema: {error}"


def _check(schema: Mapping[str, Any]) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ConfigurationError(f"the bar schema is not a JSON Schema: {error.message}") from error


def compile_symbol(keywords: Mapping[str, Any] | bool) -> Callable[[str], bool] | None:
    """Return a test with the meaning of the symbol's schema, for texts; None if a keyword cannot be compiled."""
    rules = {} if keywords is True else keywords
    if isinstance(rules, bool) or not set(rules) <= {"type", "minLength", "maxLength", "pattern", *ANNOTATIONS}:
        return None
    if rules.get("type", "string") != "string":
        return None
    shortest, longest = rules.get("minLength", 0), rules.get("maxLength", LARGEST_INTEGER)
    pattern = re.compile(rules.get("pattern", ""))
    return lambda text: shortest <= len(text) <= longest and pattern.search(text) is not None


def _compile(schema: Mapping[str, Any]) -> tuple[Predicate, ...] | None:
    """Return predicates that hold for a bar exactly if it satisfies the schema; None if some part has no predicate."""
    properties = schema.get("properties", {})
    compiled = [
        compile_property(name, keywords, FILE_SCHEMA.field(name).type) if name in FILE_SCHEMA.names else None
        for name, keywords in properties.items()
        if name != "symbol"
    ]
    only_declarations = set(schema) <= DECLARATIONS and schema.get("type", "object") == "object"
    present = set(schema.get("required", ())) <= {"symbol", *FILE_SCHEMA.names}
    closed = schema.get("additionalProperties", True) is True or {"symbol", *FILE_SCHEMA.names} <= set(properties)
    predicates = tuple(part for part in compiled if part is not None)
    return predicates if only_declarations and present and closed and len(predicates) == len(compiled) else None


def compile_property(name: str, keywords: Mapping[str, Any] | bool, column_type: pa.DataType) -> Predicate | None:
    """Return a predicate with the meaning of one property's schema; None if a keyword cannot be compiled."""
    if isinstance(keywords, bool):
        return AllOf(()) if keywords else None
    compiled = [
        _compile_keyword(Field(name), key, value, column_type)
        for key, value in keywords.items()
        if key not in ANNOTATIONS
    ]
    predicates = [part for part in compiled if part is not None]
    return AllOf(tuple(predicates)) if len(predicates) == len(compiled) else None


def _compile_keyword(field: Field, keyword: str, value: Any, column_type: pa.DataType) -> Predicate | None:
    match keyword:
        case "type":
            return _compile_type(field, [value] if isinstance(value, str) else value, column_type)
        case "const" if pa.types.is_integer(column_type) and _is_comparable(value, column_type):
            return field.equals(value)
        case "format" if value == "date-time" and pa.types.is_timestamp(column_type):
            return IsNull(field) | ~IsNull(field)  # every value of a timestamp column can be written as a date-time
    return _compile_bound(field, keyword, value, column_type)


def _compile_bound(field: Field, keyword: str, value: Any, column_type: pa.DataType) -> Predicate | None:
    """JSON Schema bounds numbers only and lets null pass, so each bound is the negation of its opposite.

    With two-valued logic ``~(field < value)`` holds for null and NaN, while ``field >= value`` does not.
    """
    if not _is_comparable(value, column_type):
        return None
    match keyword:
        case "minimum":
            return ~(field < value)
        case "exclusiveMinimum":
            return ~(field <= value)
        case "maximum":
            return ~(field > value)
        case "exclusiveMaximum":
            return ~(field >= value)
    return None


def _is_comparable(value: Any, column_type: pa.DataType) -> TypeGuard[float]:
    """Return whether Arrow compares the column with ``value`` as jsonschema does: as numbers, and exactly."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if pa.types.is_integer(column_type):
        return isinstance(value, int) and abs(value) <= LARGEST_INTEGER
    return pa.types.is_floating(column_type) and (isinstance(value, float) or abs(value) <= LARGEST_EXACT_DOUBLE)


def _compile_type(field: Field, allowed: list[str], column_type: pa.DataType) -> Predicate | None:
    named = [kind for kind in allowed if kind != "null"]
    if not any(test(column_type) for kind in named for test in _ARROW_TYPES.get(kind, ())):
        return None
    return IsNull(field) | ~IsNull(field) if "null" in allowed else ~IsNull(field)


def _record(columns: BarColumns, row: int) -> dict[str, object]:
    """Return one bar as the JSON object that the schema describes."""
    values = columns.record(row)
    micros = values["timestamp"]
    record: dict[str, object] = {name: values.get(name) for name in BAR_SCHEMA.names}
    record["symbol"] = str(columns.slice_of(row).symbol_day.symbol)
    record["timestamp"] = None if micros is None else str(Timestamp.from_epoch_micros(int(micros)))
    record["schema_version"] = values.get("schema_version", SCHEMA_VERSION)
    return record


@cache
def bar_schema_validator() -> SchemaValidator:
    """Return the one validator of the schema of ``bar_schema``: to make it takes longer than to check a day."""
    return SchemaValidator(bar_schema(), is_ours=True)


def bar_schema() -> dict[str, Any]:
    """Read the JSON schema of a bar from the wheel, or from the source tree, whose only copy is in schema/.

    Raises ``ConfigurationError`` if it is in neither.
    """
    package = Path(__file__).parents[2]
    for path in (package / SCHEMA_FILE, package.parents[1] / "schema" / SCHEMA_FILE):
        if path.is_file():
            schema: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return schema
    raise ConfigurationError(f"{SCHEMA_FILE} is missing: MarketPipe is not installed properly; install it again")
