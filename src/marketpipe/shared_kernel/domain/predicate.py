"""The condition of a rule as data: a small expression tree over the fields of one bar.

A tree has one meaning and two evaluators: ``holds`` evaluates it for one record, and validation compiles the same tree
to Arrow masks for whole columns. The logic has two values: a comparison with null or NaN does not hold. So ``~(a < b)``
is not the same as ``a >= b``, and a rule must state which of the two it means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import Enum
from operator import eq, ge, gt, le, lt
from typing import Any, Final

from attrs import frozen

Value = float | int | str | None
"""Timestamps are epoch microseconds, UTC."""
Record = Mapping[str, Value]

COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {"<": lt, "<=": le, ">": gt, ">=": ge, "==": eq}


class Predicate:
    """A condition; combine conditions with &, | and ~."""

    def __bool__(self) -> bool:
        raise TypeError("a predicate is data: join two with & and |, not with and, or or a chained comparison")

    def __and__(self, other: Predicate) -> Predicate:
        return AllOf((self, other))

    def __or__(self, other: Predicate) -> Predicate:
        return AnyOf((self, other))

    def __invert__(self) -> Predicate:
        return Not(self)


class Term:
    """A value of one bar, or a constant. Comparing two terms makes a predicate."""

    def __lt__(self, other: Term | float) -> Predicate:
        return Compare("<", self, _as_term(other))

    def __le__(self, other: Term | float) -> Predicate:
        return Compare("<=", self, _as_term(other))

    def __gt__(self, other: Term | float) -> Predicate:
        return Compare(">", self, _as_term(other))

    def __ge__(self, other: Term | float) -> Predicate:
        return Compare(">=", self, _as_term(other))

    # Not __eq__: terms and predicates are values that attrs compares.
    def equals(self, other: Term | float | str) -> Predicate:
        return Compare("==", self, _as_term(other))


@frozen(order=False)
class Field(Term):
    """The value of the field with that name."""

    name: str


@frozen(order=False)
class Literal(Term):
    """A constant."""

    value: float | int | str


@frozen(order=False)
class Remainder(Term):
    """The remainder of an integer field; ``divisor`` is positive, so the remainder is never negative."""

    field: Field
    divisor: int


@frozen
class Compare(Predicate):
    """``operator`` is a key of ``COMPARISONS``. Does not hold if either side is null or NaN."""

    operator: str
    left: Term
    right: Term


@frozen
class AllOf(Predicate):
    """Holds if all parts hold, and if there are none."""

    parts: tuple[Predicate, ...]


@frozen
class AnyOf(Predicate):
    """Holds if at least one part holds."""

    parts: tuple[Predicate, ...]


@frozen
class Not(Predicate):
    """Holds if ``part`` does not."""

    part: Predicate


@frozen
class IsNull(Predicate):
    """Holds for null; NaN is not null."""

    field: Field


@frozen
class IsFinite(Predicate):
    """Neither null, NaN nor infinite."""

    field: Field


def _as_term(value: Term | float | str) -> Term:
    return value if isinstance(value, Term) else Literal(value)


def holds(predicate: Predicate, record: Record) -> bool:
    """Evaluate ``predicate`` for one record: the definition of its meaning."""
    match predicate:
        case Compare(operator, left, right):
            a, b = _value(left, record), _value(right, record)
            return a is not None and b is not None and COMPARISONS[operator](a, b)
        case AllOf(parts):
            return all(holds(part, record) for part in parts)
        case AnyOf(parts):
            return any(holds(part, record) for part in parts)
        case Not(part):
            return not holds(part, record)
        case IsNull(field):
            return record[field.name] is None
        case IsFinite(field):
            value = record[field.name]
            return isinstance(value, float | int) and math.isfinite(value)
    raise TypeError(f"unknown predicate {predicate!r}")


def _value(term: Term, record: Record) -> Value:
    match term:
        case Field(name):
            return record[name]
        case Literal(value):
            return value
        case Remainder(field, divisor):
            number = record[field.name]
            return None if number is None else number % divisor
    raise TypeError(f"unknown term {term!r}")


class Severity(Enum):
    """What happens to a bar that breaks a rule: an error rejects it, a warning is counted, off does not check."""

    ERROR = "error"
    WARNING = "warning"
    OFF = "off"

    def __str__(self) -> str:
        return self.value
