"""The other evaluator of predicates: one Arrow mask for a whole column instead of one truth value for a bar."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
    Remainder,
    Term,
)

_COMPARISONS = {"<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal, "==": pc.equal}


def mask(predicate: Predicate, fields: Mapping[str, pa.Array]) -> pa.BooleanArray:
    """True where the predicate holds; never null. All fields have the same length."""
    found = _mask(predicate, fields)
    if isinstance(found, pa.BooleanScalar):  # of a predicate that reads no field
        return pa.repeat(found, len(next(iter(fields.values()))))
    return found


def _mask(predicate: Predicate, fields: Mapping[str, pa.Array]) -> Any:
    match predicate:
        case Compare(operator, left, right):
            return _known(_COMPARISONS[operator](_values(left, fields), _values(right, fields)))
        case AllOf(parts):
            return reduce(pc.and_, (_mask(part, fields) for part in parts), pa.scalar(True))
        case AnyOf(parts):
            return reduce(pc.or_, (_mask(part, fields) for part in parts), pa.scalar(False))
        case Not(part):
            return pc.invert(_mask(part, fields))
        case IsNull(field):
            return pc.is_null(fields[field.name])
        case IsFinite(field):
            return _known(pc.is_finite(fields[field.name]))
    raise TypeError(f"unknown predicate {predicate!r}")


def _known(found: Any) -> Any:
    """What cannot be told does not hold."""
    return pc.fill_null(found, False) if isinstance(found, pa.Scalar) or found.null_count else found


def _values(term: Term, fields: Mapping[str, pa.Array]) -> Any:
    match term:
        case Field(name):
            return fields[name]
        case Literal(value):
            return pa.scalar(value)
        case Remainder(field, divisor):
            return _remainder(fields[field.name], divisor)
    raise TypeError(f"unknown term {term!r}")


def _remainder(array: pa.Array, divisor: int) -> pa.Array:
    if not array.null_count:
        return pa.array(np.mod(array.to_numpy(), divisor), pa.int64())
    missing = pc.is_null(array).to_numpy(zero_copy_only=False)
    whole = pc.fill_null(array, 0).to_numpy()
    return pa.array(np.mod(whole, divisor), pa.int64(), mask=missing)
