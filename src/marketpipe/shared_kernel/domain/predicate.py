"""A rule's condition as data: a small expression tree over the fields of one bar.

One meaning, two evaluators: ``holds`` here judges one record; validation compiles the same tree to Arrow masks.
The logic has two values. A comparison with null or NaN does not hold, so ``~(a < b)`` is not ``a >= b``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import Enum
from operator import eq, ge, gt, le, lt
from typing import Any, Final

from attrs import frozen

Value = float | int | str | None
Record = Mapping[str, Value]

COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {"<": lt, "<=": le, ">": gt, ">=": ge, "==": eq}


class Predicate:
    def __bool__(self) -> bool:
        raise TypeError("a predicate is data: join two with & and |, not with and, or or a chained comparison")

    def __and__(self, other: Predicate) -> Predicate:
        return AllOf((self, other))

    def __or__(self, other: Predicate) -> Predicate:
        return AnyOf((self, other))

    def __invert__(self) -> Predicate:
        return Not(self)


class Term:
    def __lt__(self, other: Term | float) -> Predicate:
        return Compare("<", self, as_term(other))

    def __le__(self, other: Term | float) -> Predicate:
        return Compare("<=", self, as_term(other))

    def __gt__(self, other: Term | float) -> Predicate:
        return Compare(">", self, as_term(other))

    def __ge__(self, other: Term | float) -> Predicate:
        return Compare(">=", self, as_term(other))

    def equals(self, other: Term | float | str) -> Predicate:
        return Compare("==", self, as_term(other))


@frozen(order=False)
class Field(Term):
    name: str


@frozen(order=False)
class Literal(Term):
    value: float | int | str


@frozen(order=False)
class Remainder(Term):
    """Of an integer field; never negative, as the divisor is positive."""

    field: Field
    divisor: int


@frozen
class Compare(Predicate):
    operator: str
    left: Term
    right: Term


@frozen
class AllOf(Predicate):
    parts: tuple[Predicate, ...]


@frozen
class AnyOf(Predicate):
    parts: tuple[Predicate, ...]


@frozen
class Not(Predicate):
    part: Predicate


@frozen
class IsNull(Predicate):
    field: Field


@frozen
class IsFinite(Predicate):
    """Neither null, NaN nor infinite."""

    field: Field


def as_term(value: Term | float | str) -> Term:
    return value if isinstance(value, Term) else Literal(value)


def holds(predicate: Predicate, record: Record) -> bool:
    """The plain interpreter."""
    match predicate:
        case Compare(operator, left, right):
            return _compare(operator, _value(left, record), _value(right, record))
        case AllOf(parts):
            return all(holds(part, record) for part in parts)
        case AnyOf(parts):
            return any(holds(part, record) for part in parts)
        case Not(part):
            return not holds(part, record)
        case IsNull(field):
            return record[field.name] is None
        case IsFinite(field):
            return _is_finite(record[field.name])
    raise TypeError(f"unknown predicate {predicate!r}")


def _value(term: Term, record: Record) -> Value:
    match term:
        case Field(name):
            return record[name]
        case Literal(value):
            return value
        case Remainder(field, divisor):
            whole = record[field.name]
            return None if whole is None else whole % divisor
    raise TypeError(f"unknown term {term!r}")


def _compare(operator: str, left: Value, right: Value) -> bool:
    return left is not None and right is not None and COMPARISONS[operator](left, right)


def _is_finite(value: Value) -> bool:
    return value is not None and not isinstance(value, str) and math.isfinite(value)


class Severity(Enum):
    """An error keeps a bar out of the store; a warning is counted, and the bar stays; off is not looked for."""

    ERROR = "error"
    WARNING = "warning"
    OFF = "off"

    def __str__(self) -> str:
        return self.value
