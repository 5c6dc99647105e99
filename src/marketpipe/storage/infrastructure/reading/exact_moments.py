"""Finds out between which moments the bars of a query begin, where its conditions on ``timestamp`` say it exactly."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import frozen

from marketpipe.storage.infrastructure.reading.needed_bars import MIRRORED, TIMESTAMP, Conditions, dated_text
from marketpipe.storage.infrastructure.reading.syntax_tree import Tree

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
BEFORE, AFTER = -(2**63), 2**63 - 1
"""All moments, in microseconds."""
EXACT_MOMENT: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?P<time>[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?P<zone>Z|[+-]\d\d(?::\d\d)?)?)?", re.ASCII
)
REFUSED: Final = {
    "": None,
    "timestamptz": None,
    "timestamp with time zone": None,
    "timestamp": "zone",
    "datetime": "zone",
    "date": "time",
}
"""For each type of a constant, also of a mere text, what DuckDB would leave out of it."""


@frozen
class Moments:
    """Moments between two, in microseconds since 1970: ``first`` inclusive, ``end`` exclusive."""

    first: int = BEFORE
    end: int = AFTER

    def __and__(self, other: Moments) -> Moments:
        """Return the moments of both."""
        return Moments(max(self.first, other.first), min(self.end, other.end))


ALWAYS: Final = Moments()


def moments_of(condition: Tree, conditions: Conditions) -> Moments | None:
    """Return exactly the moments for which it is true of the column; None if it is any other condition.

    A constant without a time zone is in UTC, as it is for the connection of a query.
    """
    kind = str(condition.get("type"))
    if kind == "COMPARE_BETWEEN" and conditions.column(condition["input"]) == TIMESTAMP:
        lower, upper = _moment(condition["lower"]), _moment(condition["upper"])
        return None if lower is None or upper is None else Moments(lower, upper + 1)
    if kind not in MIRRORED:
        return None
    column, constant = condition["left"], condition["right"]
    if conditions.column(column) != TIMESTAMP:
        kind, column, constant = MIRRORED[kind], constant, column
    moment = _moment(constant) if conditions.column(column) == TIMESTAMP else None
    return None if moment is None else _compared(kind, moment)


def _compared(kind: str, moment: int) -> Moments:
    later = moment + 1
    return {
        "COMPARE_EQUAL": Moments(moment, later),
        "COMPARE_LESSTHAN": Moments(end=moment),
        "COMPARE_LESSTHANOREQUALTO": Moments(end=later),
        "COMPARE_GREATERTHAN": Moments(later),
        "COMPARE_GREATERTHANOREQUALTO": Moments(moment),
    }[kind]


def _moment(expression: Tree) -> int | None:
    """Return a constant moment; None if it is anything else, or a text of which DuckDB would leave a part out."""
    kind, text = dated_text(expression)
    match = EXACT_MOMENT.fullmatch(text)
    if match is None or (REFUSED[kind] and match[str(REFUSED[kind])]):
        return None
    try:
        found = datetime.fromisoformat(match[0])
    except ValueError:  # DuckDB will refuse it
        return None
    return ((found if found.tzinfo else found.replace(tzinfo=UTC)) - EPOCH) // timedelta(microseconds=1)
