"""Statements of the roles as PostgreSQL takes them: ``$1`` in the place of ``?``, and many rows in one statement."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

PLACE: Final = re.compile(r"\?(\d*)")
MANY: Final = re.compile(r"\s*INSERT INTO [^?]*?\bVALUES\s*\(")
LEFT_JOIN: Final = re.compile(r"FROM (\w+) LEFT JOIN (\w+) USING \(([^)]*)\)")
TYPES: Final = {int: "bigint", float: "double precision", str: "text", bytes: "bytea"}
NULL: Final = "NULL"


@lru_cache(maxsize=512)
def native(statement: str) -> str:
    """Return the statement with numbered places: a ``?`` has the number after the largest so far, as in SQLite."""
    return _placed(_by_key(statement), "${}".format)


def is_one_for_many(statement: str) -> bool:
    """Return whether ``for_many`` can take all rows of the statement at once."""
    return MANY.match(statement) is not None


def for_many(statement: str, rows: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
    """Return one statement that inserts all rows, and its values: an array for each column."""
    match = MANY.match(statement)
    assert match is not None
    end = _closing(statement, match.end())
    head, body, tail = statement[: match.end()], statement[match.end() : end], statement[end + 1 :]
    head = head[: head.rindex("VALUES")]
    names, given, columns = _columns_of(rows)
    body = _placed(body, lambda n: names[n - 1])
    return f"{head} SELECT {body} FROM {given} {tail}", columns


def for_each(statement: str, values: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
    """Return one query for all of the values, and its own. In front of each row is the number of its values, from 1."""
    names, given, columns = _columns_of(values)
    query = _placed(_by_key(statement), lambda n: names[n - 1])
    return f"SELECT given.number, found.* FROM {given}, LATERAL ({query}) AS found", columns


def _by_key(statement: str) -> str:
    """Let each row of a left join be found by its key.

    As long as there are no statistics of a table, the planner takes all rows of a symbol for one: it would read all of
    them for each of its days. It does not look into a query with an offset.
    """
    return LEFT_JOIN.sub(
        lambda match: (
            f"FROM {match[1]} LEFT JOIN LATERAL (SELECT * FROM {match[2]} AS keyed WHERE "
            + " AND ".join(f"keyed.{column} = {match[1]}.{column}" for column in match[3].split(", "))
            + f" OFFSET 0) AS {match[2]} USING ({match[3]})"
        ),
        statement,
    )


def _placed(statement: str, name: Any) -> str:
    largest = 0

    def number(match: re.Match[str]) -> str:
        nonlocal largest
        which = int(match[1]) if match[1] else largest + 1
        largest = max(largest, which)
        return str(name(which))

    return PLACE.sub(number, statement)


def _columns_of(rows: Sequence[Sequence[Any]]) -> tuple[list[str], str, list[Any]]:
    """Return what stands for each column, the table of all rows, and its values.

    A column is an array. It is one value if all rows have the same: to write an array takes a time for each row.
    """
    arrays, values = list[str](), list[Any]()
    columns = [(column, _type_of(column)) for column in zip(*rows, strict=True)]
    for column, kind in columns:
        if kind is not None and column.count(column[0]) < len(rows):
            values.append([None if value is None else kind(value) for value in column])
            arrays.append(f"${len(values)}::{TYPES[kind]}[]")
    names, many = list[str](), iter(range(1, len(arrays) + 1))
    for column, kind in columns:
        if kind is None:
            names.append(NULL)
        elif column.count(column[0]) < len(rows):
            names.append(f"given.c{next(many)}")
        else:
            values.append(column[0])
            names.append(f"${len(values)}::{TYPES[kind]}")
    if not arrays:
        values.append(len(rows))
        return names, f"generate_series(1, ${len(values)}::bigint) AS given (number)", values
    heads = ", ".join([*(f"c{n}" for n in range(1, len(arrays) + 1)), "number"])
    return names, f"unnest({', '.join(arrays)}) WITH ORDINALITY AS given ({heads})", values


def _type_of(column: Iterable[Any]) -> type | None:
    kinds = {type(value) for value in column if value is not None}
    return float if kinds == {int, float} else next(iter(kinds), None)


def _closing(statement: str, begin: int) -> int:
    """Return where the bracket ends that was opened before ``begin``."""
    depth = 1
    for place, letter in enumerate(statement[begin:], begin):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return place
    raise AssertionError(statement)
