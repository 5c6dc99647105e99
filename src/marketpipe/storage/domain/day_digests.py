"""How an aggregate says which day files of a month it was made from: ``02=<digest> 03=<digest>``, ascending."""

from __future__ import annotations

import re
from collections.abc import Mapping

DIGITS = 16  # of 64: they tell one state of a file from another, and a daily file carries those of a whole year
DAY = re.compile(r"(\d\d)=([0-9a-f]+)", re.ASCII)


def day_digests(sha256_of: Mapping[int, str]) -> str:
    """Of the files of one month, by day of the month. Equal texts: the same days with the same bytes."""
    return " ".join(f"{day:02d}={sha256_of[day][:DIGITS]}" for day in sorted(sha256_of))


def differing_days(one: str, other: str) -> frozenset[int]:
    """Those whose digests differ, and those that only one of the texts has. Any other text has no days."""
    return frozenset(int(day) for day, _ in {*DAY.findall(one)} ^ {*DAY.findall(other)})


def days_in(text: str) -> tuple[int, ...]:
    """The days of the month, ascending."""
    return tuple(int(day) for day, _ in DAY.findall(text))
