"""JSON Schema keywords as predicates, where a keyword can be said that way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeGuard

import numpy as np
import pyarrow as pa
from attrs import frozen
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.predicate import AllOf, Field, IsNull, Predicate
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, SCHEMA_VERSION
from marketpipe.validation.infrastructure.column_masks import BarColumns, mask

ANNOTATIONS: Final = {"title", "description", "$comment", "examples", "default", "deprecated"}
LARGEST_INTEGER, LARGEST_EXACT_DOUBLE = 2**63 - 1, 2**53
_ARROW_KINDS: Final = {
    "number": (pa.types.is_floating, pa.types.is_integer),
    "integer": (pa.types.is_integer,),
    "string": (pa.types.is_timestamp,),
}


def compile_property(name: str, keywords: Mapping[str, Any] | bool, column_type: pa.DataType) -> Predicate | None:
    """None where a keyword cannot be compiled: then the rows go to jsonschema one by one."""
    if isinstance(keywords, bool):
        return AllOf(()) if keywords else None
    parts = [
        _compile_keyword(Field(name), key, value, column_type)
        for key, value in keywords.items()
        if key not in ANNOTATIONS
    ]
    known = [part for part in parts if part is not None]
    return AllOf(tuple(known)) if len(known) == len(parts) else None


def _compile_keyword(field: Field, keyword: str, value: Any, column_type: pa.DataType) -> Predicate | None:
    match keyword:
        case "type":
            return _compile_type(field, [value] if isinstance(value, str) else value, column_type)
        case "const" if pa.types.is_integer(column_type) and _is_comparable(value, column_type):
            return field.equals(value)
        case "format" if value == "date-time" and pa.types.is_timestamp(column_type):
            return IsNull(field) | ~IsNull(field)  # every value of such a column can be written as one
    return _compile_bound(field, keyword, value, column_type)


def _compile_bound(field: Field, keyword: str, value: Any, column_type: pa.DataType) -> Predicate | None:
    """JSON Schema bounds what is a number, and passes what is not one: null is the type's business."""
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
    """Whether Arrow compares the column with ``value`` as jsonschema does: as numbers, and exactly."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if pa.types.is_integer(column_type):
        return isinstance(value, int) and abs(value) <= LARGEST_INTEGER
    return pa.types.is_floating(column_type) and (isinstance(value, float) or abs(value) <= LARGEST_EXACT_DOUBLE)


def _compile_type(field: Field, allowed: list[str], column_type: pa.DataType) -> Predicate | None:
    named = [kind for kind in allowed if kind != "null"]
    if not any(test(column_type) for kind in named for test in _ARROW_KINDS.get(kind, ())):
        return None
    return IsNull(field) | ~IsNull(field) if "null" in allowed else ~IsNull(field)


COLUMNS = BAR_SCHEMA.append(pa.field("schema_version", pa.int32()))
_DECLARATIONS = {"$schema", "$id", "type", "properties", "required", "additionalProperties", *ANNOTATIONS}


@frozen
class _Compiled:
    predicates: tuple[Predicate, ...]
    everything: bool
    """False: some keyword could not be compiled, so every row must be put to jsonschema as well."""


class SchemaValidator:
    """Holds bars against a JSON Schema (2020-12) of the canonical record.

    Keywords that can be compiled are checked on columns, and only the rows that fail are put to jsonschema for the
    words of the error. A schema that says more than can be compiled is checked row by row: slow, never skipped.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises ``ConfigurationError`` for a schema that is none."""
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            raise ConfigurationError(f"the bar schema is not a JSON Schema: {error.message}") from error
        self._validator = Draft202012Validator(schema)
        self._compiled = _compile(schema)

    def complaints(self, columns: BarColumns) -> Mapping[int, str]:
        """The rows that do not satisfy the schema, each with what is wrong with it."""
        suspects = np.arange(columns.num_rows) if not self._compiled.everything else self._suspects(columns)
        words = ((int(row), self._words(columns, int(row))) for row in suspects)
        return {row: text for row, text in words if text}

    def _suspects(self, columns: BarColumns) -> Any:
        fields = {"schema_version": _versions(columns), **columns.fields}
        bad = np.zeros(columns.num_rows, np.bool_)
        for predicate in self._compiled.predicates:
            bad |= ~mask(predicate, fields).to_numpy(zero_copy_only=False)
        unfit = {symbol for symbol in columns.symbols if not self._symbol_fits(symbol)}
        for part in columns.slices if unfit else ():
            if part.symbol_day.symbol in unfit:
                bad[part.offset : part.offset + part.length] = True
        return np.flatnonzero(bad)

    def _symbol_fits(self, symbol: Symbol) -> bool:
        schema = self._validator.schema
        wanted = schema.get("properties", {}).get("symbol", True) if isinstance(schema, Mapping) else True
        return bool(self._validator.evolve(schema=wanted).is_valid(str(symbol)))

    def _words(self, columns: BarColumns, row: int) -> str:
        errors = self._validator.iter_errors(_record(columns, row))
        try:
            return "; ".join(f"{'.'.join(map(str, error.path)) or 'bar'}: {error.message}" for error in errors)
        except (ArithmeticError, ValueError) as error:  # multipleOf cannot divide NaN or infinity
            return f"bar: cannot be held against the schema: {error}"


def _compile(schema: Mapping[str, Any]) -> _Compiled:
    properties = schema.get("properties", {})
    compiled = [
        compile_property(name, keywords, COLUMNS.field(name).type) if name in COLUMNS.names else None
        for name, keywords in properties.items()
        if name != "symbol"
    ]
    plain = set(schema) <= _DECLARATIONS and schema.get("type", "object") == "object"
    present = set(schema.get("required", ())) <= {"symbol", *COLUMNS.names}
    closed = schema.get("additionalProperties", True) is True or {"symbol", *COLUMNS.names} <= set(properties)
    known = tuple(part for part in compiled if part is not None)
    return _Compiled(known, plain and present and closed and len(known) == len(compiled))


def _versions(columns: BarColumns) -> pa.Array:
    return pa.repeat(pa.scalar(SCHEMA_VERSION, pa.int32()), columns.num_rows)


def _record(columns: BarColumns, row: int) -> dict[str, object]:
    values = columns.record(row)
    stamp = values["timestamp"]
    record: dict[str, object] = {name: values.get(name) for name in BAR_SCHEMA.names}
    record["symbol"] = str(columns.slice_of(row).symbol_day.symbol)
    record["timestamp"] = None if stamp is None else str(Timestamp.from_epoch_micros(int(stamp)))
    record["schema_version"] = values.get("schema_version", SCHEMA_VERSION)
    return record
