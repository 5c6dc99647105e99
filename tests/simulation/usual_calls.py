"""How many calls of each name the commands of a story make: measured in worlds, for faults to be drawn that happen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple


class Usual(NamedTuple):
    """``sure`` calls are made by eleven of twelve such commands, ``deep`` ones by nearly half of them."""

    sure: int
    deep: int


Counted = Mapping[str, Usual]
FIRST: Final = frozenset(["update", "ingest", "ingest retry", "get"])
"""The first of these commands on an evening stores the day."""
SAME: Final[Mapping[str, str]] = {
    "ingest retry": "ingest",
    "audit adopt": "audit",
    "plan": "look",
    "status": "look",
    "load official": "load aggregate",
}


def usual_calls(command: str, *, is_first: bool, symbols: int) -> Counted:
    """Return the calls by name. ``is_first``: none was asked for the latest session before; ``symbols``: how many."""
    return _parsed(group_of(command, is_first=is_first, symbols=symbols))


def group_of(command: str, *, is_first: bool, symbols: int) -> str:
    """Return the name under which the calls of such commands were measured."""
    if is_first and command in FIRST:
        return "first of one symbol" if symbols == 1 else "first of several symbols"
    return SAME.get(command, command)


@lru_cache
def _parsed(name: str) -> Counted:
    found = dict[str, Usual]()
    for part in MEASURED[name].split(","):
        call, sure, deep = part.strip().rsplit(" ", 2)
        found[call] = Usual(int(sure), int(deep))
    return found


MEASURED: Final[Mapping[str, str]] = {
    "aggregate": (
        "flock 0 2, listdir 16 22, lstat 0 17, mkdir 1 2, open 1 11, opened 0 6, scandir 1 19, sql COMMIT 2 2, sql "
        "COMMITTED 2 2, sql INSERT 3 3, stat 20 57, utime 0 1 "
    ),
    "audit": (
        "GET 1 2, flock 4 8, listdir 16 17, lstat 2 3, mkdir 2 2, open 3 4, opened 3 7, pwrite 3 6, scandir 12 17, "
        "sql COMMIT 2 2, sql COMMITTED 2 2, sql INSERT 3 3, stat 12 17 "
    ),
    "compact": (
        "flock 4 4, listdir 20 23, lstat 6 10, mkdir 2 2, open 5 6, opened 1 1, scandir 5 5, sql COMMIT 4 7, sql "
        "COMMITTED 4 7, sql INSERT 2 4, sql UPDATE 2 4, stat 11 14, unlink 1 1 "
    ),
    "coverage": (
        "listdir 17 19, lstat 5 12, mkdir 1 1, open 4 8, opened 3 5, scandir 5 8, sql COMMIT 1 1, sql COMMITTED 1 "
        "1, stat 33 81 "
    ),
    "drop": (
        "begin_to_store 1 8, flock 9 9, fsync 8 20, link 1 7, listdir 26 29, lstat 75 111, mkdir 6 7, open 23 53, "
        "opened 2 3, read 2 16, replace 1 8, scandir 37 49, sql COMMIT 10 14, sql COMMITTED 10 14, sql INSERT 8 14, "
        "sql UPDATE 3 3, stat 38 70, unlink 2 12, utime 1 7, write 1 10 "
    ),
    "expand": (
        "flock 2 2, listdir 19 21, lstat 6 10, mkdir 2 2, open 3 3, opened 1 1, scandir 5 5, sql COMMIT 1 1, sql "
        "COMMITTED 1 1, stat 8 8 "
    ),
    "first of one symbol": (
        "GET 2 3, begin_to_store 2 5, flock 19 24, fsync 4 10, listdir 4 13, lstat 16 43, mkdir 6 11, open 19 42, "
        "opened 5 18, pwrite 6 9, read 0 6, replace 2 5, scandir 24 57, sql COMMIT 11 13, sql COMMITTED 11 13, sql "
        "INSERT 9 12, sql UPDATE 8 8, stat 87 162, unlink 1 1, utime 2 4, write 4 6 "
    ),
    "first of several symbols": (
        "GET 2 4, begin_to_store 4 10, flock 21 28, fsync 8 20, listdir 8 25, lstat 28 78, mkdir 8 16, open 31 64, "
        "opened 8 27, pwrite 6 12, read 2 8, replace 4 10, scandir 38 76, sql COMMIT 11 17, sql COMMITTED 11 17, "
        "sql INSERT 10 16, sql UPDATE 8 13, stat 127 264, unlink 1 1, utime 3 8, write 5 12 "
    ),
    "freeze": (
        "listdir 31 33, lstat 56 110, mkdir 1 1, open 8 18, read 5 14, scandir 9 19, sql COMMIT 1 1, sql COMMITTED "
        "1 1, stat 6 8 "
    ),
    "get": (
        "GET 0 1, begin_to_store 0 2, flock 0 11, fsync 0 6, listdir 2 12, lstat 15 44, mkdir 1 6, open 7 28, "
        "opened 3 15, pwrite 0 3, read 0 1, replace 0 2, scandir 15 44, sql COMMIT 1 11, sql COMMITTED 1 11, sql "
        "INSERT 0 9, sql UPDATE 0 8, stat 25 120, unlink 0 1, utime 0 3, write 0 3 "
    ),
    "ingest": (
        "GET 0 1, begin_to_store 0 1, flock 2 10, fsync 0 2, listdir 4 11, lstat 10 31, mkdir 1 4, open 7 22, "
        "opened 3 11, pwrite 0 3, read 0 2, replace 0 1, scandir 16 37, sql COMMIT 5 10, sql COMMITTED 5 10, sql "
        "INSERT 4 8, sql UPDATE 3 8, stat 58 121, unlink 1 1, utime 0 2, write 0 1 "
    ),
    "load": ("lstat 8 24, open 1 21, opened 1 12, scandir 1 1, stat 10 39 "),
    "load aggregate": ("listdir 0 1, lstat 10 22, open 2 4, opened 1 6, scandir 2 6, stat 7 27 "),
    "load as of": ("listdir 3 9, lstat 15 38, open 10 47, opened 0 10, read 1 2, scandir 1 1, stat 10 60 "),
    "look": (
        "listdir 0 3, lstat 0 8, mkdir 0 1, open 0 4, opened 0 1, scandir 3 15, sql COMMIT 0 1, sql COMMITTED 0 1, "
        "stat 4 20 "
    ),
    "recover": ("scandir 1 1, stat 1 1 "),
    "recover force": (
        "flock 4 4, listdir 40 50, lstat 70 252, mkdir 2 2, open 17 34, opened 4 16, read 5 13, replace 1 1, "
        "scandir 29 65, sql COMMIT 5 7, sql COMMITTED 5 7, sql INSERT 4 7, sql UPDATE 3 5, stat 16 28, unlink 1 1 "
    ),
    "update": (
        "GET 1 2, flock 12 19, listdir 4 14, lstat 10 32, mkdir 5 6, open 13 29, opened 6 17, pwrite 3 6, read 2 6, "
        "scandir 22 52, sql COMMIT 6 11, sql COMMITTED 6 11, sql INSERT 5 9, sql UPDATE 3 8, stat 86 161, unlink 1 "
        "1, utime 0 1 "
    ),
    "validate": ("listdir 4 6, lstat 4 8, open 1 2, opened 3 12, scandir 2 3, stat 6 24 "),
    "verify": (
        "listdir 64 70, lstat 60 124, mkdir 1 1, open 14 40, read 11 31, scandir 13 30, sql COMMIT 2 2, sql "
        "COMMITTED 2 2, sql INSERT 3 3, stat 13 18 "
    ),
    "verify lock": (
        "listdir 17 67, lstat 56 118, mkdir 0 1, open 9 26, read 6 21, scandir 11 25, sql COMMIT 0 2, sql COMMITTED "
        "0 2, sql INSERT 0 3, stat 0 15 "
    ),
}
"""Of each command, or group of commands: name, ``sure`` and ``deep`` of its calls, from ``measuring_calls``."""
