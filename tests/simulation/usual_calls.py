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
    if is_first and command in FIRST:
        return _parsed("first of one symbol" if symbols == 1 else "first of several symbols")
    return _parsed(SAME.get(command, command))


@lru_cache
def _parsed(name: str) -> Counted:
    found = dict[str, Usual]()
    for part in MEASURED[name].split(","):
        call, sure, deep = part.strip().rsplit(" ", 2)
        found[call] = Usual(int(sure), int(deep))
    return found


MEASURED: Final[Mapping[str, str]] = {
    "aggregate": (
        "flock 0 2, fstat 0 6, listdir 16 22, lstat 0 13, mkdir 1 2, open 1 7, opened 0 12, scandir 1 19, sql "
        "BEGIN 2 2, sql COMMIT 2 2, sql COMMITTED 2 2, sql INSERT 3 3, sql SELECT 2 15, stat 20 63, utime 0 1 "
    ),
    "audit": (
        "GET 1 2, flock 4 8, fstat 1 2, listdir 16 17, lstat 2 3, mkdir 2 2, open 3 4, opened 3 9, pread 2 4, "
        "pwrite 3 6, scandir 12 17, sql BEGIN 2 2, sql COMMIT 2 2, sql COMMITTED 2 2, sql INSERT 3 3, sql SELECT 6 "
        "9, stat 12 18 "
    ),
    "compact": (
        "begin_to_store 0 1, exchange 0 1, flock 4 8, fstat 5 21, fsync 0 4, listdir 20 25, lstat 10 22, mkdir 2 "
        "10, open 6 36, opened 1 1, pread 0 4, replace 0 1, rmdir 0 4, scandir 5 12, sql BEGIN 4 7, sql COMMIT 4 "
        "7, sql COMMITTED 4 7, sql DELETE 4 8, sql INSERT 2 4, sql SELECT 4 5, sql UPDATE 2 4, stat 12 34, unlink "
        "1 5, utime 0 1, write 0 2 "
    ),
    "coverage": (
        "fstat 3 9, listdir 17 22, lstat 6 16, mkdir 1 1, open 5 11, opened 3 7, scandir 6 10, sql BEGIN 1 1, sql "
        "COMMIT 1 1, sql COMMITTED 1 1, sql SELECT 24 43, stat 48 108 "
    ),
    "drop": (
        "begin_to_store 4 20, flock 9 9, fstat 27 76, fsync 10 28, link 3 10, listdir 27 30, lstat 91 121, mkdir 6 "
        "7, open 31 76, opened 3 4, read 8 32, replace 4 20, rmdir 5 7, scandir 47 49, sql BEGIN 10 10, sql COMMIT "
        "10 10, sql COMMITTED 10 10, sql DELETE 11 11, sql INSERT 8 8, sql SELECT 12 12, sql UPDATE 3 3, stat 50 "
        "86, unlink 8 23, utime 3 19, write 4 20 "
    ),
    "expand": (
        "flock 2 2, fstat 2 2, listdir 19 21, lstat 6 12, mkdir 2 2, open 3 3, opened 1 1, scandir 5 5, sql BEGIN "
        "1 1, sql COMMIT 1 1, sql COMMITTED 1 1, sql SELECT 3 5, stat 8 8 "
    ),
    "first of one symbol": (
        "GET 2 4, begin_to_store 2 5, flock 19 28, fstat 16 35, fsync 4 10, listdir 6 15, lstat 21 48, mkdir 8 11, "
        "open 24 45, opened 7 34, pread 5 10, pwrite 6 12, read 2 8, replace 2 5, scandir 36 64, sql BEGIN 11 14, "
        "sql COMMIT 11 14, sql COMMITTED 11 14, sql DELETE 5 7, sql INSERT 9 12, sql SELECT 42 46, sql UPDATE 8 9, "
        "stat 102 225, unlink 1 1, utime 2 6, write 4 7 "
    ),
    "first of several symbols": (
        "GET 2 3, begin_to_store 4 10, flock 19 27, fstat 21 51, fsync 8 20, listdir 10 26, lstat 31 80, mkdir 9 "
        "15, open 32 63, opened 9 29, pread 5 9, pwrite 6 9, read 2 8, replace 4 10, scandir 43 83, sql BEGIN 11 "
        "16, sql COMMIT 11 16, sql COMMITTED 11 16, sql DELETE 5 9, sql INSERT 9 16, sql SELECT 45 59, sql UPDATE "
        "8 13, stat 133 272, unlink 1 1, utime 3 8, write 5 12 "
    ),
    "freeze": (
        "fstat 7 45, listdir 31 33, lstat 52 156, mkdir 1 1, open 5 25, read 3 21, scandir 7 21, sql BEGIN 1 1, "
        "sql COMMIT 1 1, sql COMMITTED 1 1, sql SELECT 14 36, stat 6 8 "
    ),
    "get": (
        "fstat 3 15, listdir 2 8, lstat 11 35, mkdir 1 1, open 5 33, opened 7 13, scandir 15 25, sql BEGIN 1 1, "
        "sql COMMIT 1 1, sql COMMITTED 1 1, sql SELECT 5 9, stat 23 118 "
    ),
    "ingest": (
        "flock 2 4, fstat 5 15, listdir 5 11, lstat 11 28, mkdir 1 2, open 6 16, opened 3 11, read 0 2, scandir 26 "
        "38, sql BEGIN 5 5, sql COMMIT 5 5, sql COMMITTED 5 5, sql INSERT 4 4, sql SELECT 25 35, sql UPDATE 3 3, "
        "stat 59 130, unlink 1 1 "
    ),
    "load": ("fstat 1 9, listdir 0 1, lstat 14 28, open 1 27, opened 1 15, scandir 1 2, stat 17 48 "),
    "load aggregate": ("fstat 2 4, listdir 0 1, lstat 10 23, open 2 5, opened 3 5, scandir 3 7, stat 11 35 "),
    "load as of": ("fstat 6 21, listdir 2 8, lstat 18 46, open 24 77, opened 1 12, read 1 2, scandir 1 1, stat 28 98 "),
    "look": (
        "fstat 0 4, listdir 0 4, lstat 0 10, mkdir 0 1, open 0 5, opened 0 1, scandir 3 16, sql BEGIN 0 1, sql "
        "COMMIT 0 1, sql COMMITTED 0 1, sql SELECT 0 10, stat 4 25 "
    ),
    "recover": ("scandir 1 1, sql SELECT 0 2, stat 1 1 "),
    "recover force": (
        "flock 4 4, fstat 20 65, listdir 40 60, lstat 70 284, mkdir 2 2, open 17 51, opened 6 28, read 6 20, "
        "replace 1 1, scandir 29 87, sql BEGIN 6 7, sql COMMIT 6 7, sql COMMITTED 6 7, sql DELETE 1 2, sql INSERT "
        "4 7, sql SELECT 13 17, sql UPDATE 3 5, stat 19 44, unlink 1 1 "
    ),
    "update": (
        "GET 1 2, flock 14 20, fstat 12 29, fsync 0 1, listdir 6 15, lstat 15 38, mkdir 5 6, open 14 31, opened 7 "
        "17, pread 2 6, pwrite 3 6, read 2 4, scandir 33 58, sql BEGIN 6 11, sql COMMIT 6 11, sql COMMITTED 6 11, "
        "sql DELETE 0 5, sql INSERT 5 9, sql SELECT 37 52, sql UPDATE 3 8, stat 99 176, unlink 1 1, utime 0 1 "
    ),
    "validate": ("fstat 1 3, listdir 4 6, lstat 4 12, open 1 3, opened 2 14, scandir 2 4, stat 4 28 "),
    "verify": (
        "fstat 26 84, listdir 65 71, lstat 61 129, mkdir 1 1, open 17 49, read 13 38, scandir 14 33, sql BEGIN 2 "
        "2, sql COMMIT 2 2, sql COMMITTED 2 2, sql INSERT 3 3, sql SELECT 21 37, stat 13 19 "
    ),
    "verify lock": (
        "fstat 14 57, listdir 16 67, lstat 54 126, mkdir 0 1, open 11 34, read 7 27, scandir 8 27, sql BEGIN 0 2, "
        "sql COMMIT 0 2, sql COMMITTED 0 2, sql INSERT 0 3, sql SELECT 0 37, stat 0 15 "
    ),
}
"""Of each command, or group of commands: name, ``sure`` and ``deep`` of its calls."""
