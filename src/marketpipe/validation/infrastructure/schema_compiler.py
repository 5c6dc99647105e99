"""JSON Schema keywords as predicates, where a keyword can be said that way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeGuard

import pyarrow as pa

from marketpipe.shared_kernel.domain.predicate import AllOf, Field, IsNull, Predicate

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
        _compile(Field(name), key, value, column_type) for key, value in keywords.items() if key not in ANNOTATIONS
    ]
    known = [part for part in parts if part is not None]
    return AllOf(tuple(known)) if len(known) == len(parts) else None


def _compile(field: Field, keyword: str, value: Any, column_type: pa.DataType) -> Predicate | None:
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
