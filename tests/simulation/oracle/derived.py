"""Checks of what is made of minutes, and of official days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import isclose
from typing import Any, Final

from marketpipe.shared_kernel.domain.trading_date import NEW_YORK
from marketpipe.storage.domain.integrity import IntegrityReport
from tests.simulation.exchange import all_sessions
from tests.simulation.oracle.files import official_path
from tests.simulation.oracle.memory import Memory
from tests.simulation.oracle.readings import Bars, Readings
from tests.simulation.oracle.subject import Findings
from tests.simulation.rows import COLUMNS, Day, Row
from tests.support.reference_aggregation import Closes, aggregate_days, aggregate_minutes

MINUTES_OF: Final = {"5m": 5, "15m": 15, "30m": 30, "1h": 60}
CLOSING_AUCTION: Final = 0
"""The auction of Alpaca's bars is in the minute that begins at the close."""
EXACT: Final = 1e-9


def aggregate(found: Readings, wanted: Sequence[tuple[Day, str]], memory: Memory) -> Findings:
    """Bars of a timeframe are those that a slow reference makes of the stored minutes."""
    for day, timeframe in wanted:
        loaded, minutes = found.value("bucket", day, timeframe), memory.files.rows(day)
        if loaded is None or not minutes or (timeframe == "1d" and _may_be_official(found, day)):
            continue
        wrong = _first_difference(loaded, made_of(minutes, timeframe))
        yield None if wrong is None else f"{timeframe} of {day[0]} {day[1]}: {wrong}"


def _may_be_official(found: Readings, day: Day) -> bool:
    """A daily bar is the official one where there is one; which days have one is not known if they cannot be read."""
    return found.error("official") is not None or bool((found.value("official") or {}).get(day))


def made_of(minutes: Sequence[Row], timeframe: str) -> list[Row]:
    bars = [_as_bar(row) for row in minutes]
    if timeframe == "1d":
        made = aggregate_days(bars, _closes(), CLOSING_AUCTION)
    else:
        made = aggregate_minutes(bars, MINUTES_OF[timeframe], _closes())
    return [_as_row(bar) for bar in made]


@lru_cache(1)
def _closes() -> Closes:
    return {
        session.trading_date.day: session.closes.moment.astimezone(NEW_YORK).time()
        for session in all_sessions().values()
    }


def _as_bar(row: Row) -> dict[str, Any]:
    return {**dict(zip(COLUMNS, row, strict=True)), "timestamp": datetime.fromtimestamp(row[0] / 1e6, UTC)}


def _as_row(bar: Mapping[str, Any]) -> Row:
    at, *values = (bar[name] for name in COLUMNS)
    return (round(at.timestamp() * 1e6), *values)  # type: ignore[return-value]


def _first_difference(loaded: Sequence[Row], made: Sequence[Row]) -> str | None:
    if len(loaded) != len(made):
        return f"load gives {len(loaded)} bars, and the minutes make {len(made)}"
    for one, other in zip(loaded, made, strict=True):
        if not all(_is_equal(value, wanted) for value, wanted in zip(one, other, strict=True)):
            return f"load gives {one}, and the minutes make {other}"
    return None


def _is_equal(value: float | None, wanted: float | None) -> bool:
    if value is None or wanted is None:
        return value is wanted
    return isclose(value, wanted, rel_tol=EXACT)


def sound_official_days(bars: Bars, memory: Memory) -> Bars:
    """Return the official days whose file nobody has damaged: readers compare no digests, as of minute bars."""
    return {day: rows for day, rows in bars.items() if official_path(day) not in memory.damage}


def recorded_official_days(bars: Bars, report: IntegrityReport | None, memory: Memory) -> Bars:
    """Return the official days that coverage can know: it does not believe a file that ``verify`` names, as one whose
    record was not written; nor a day of which the provider said something else since, which could not be stored.
    """
    named = {problem.path for problem in report.problems} if report is not None else set()
    known = {day: rows for day, rows in bars.items() if official_path(day) not in named}
    if memory.is_machine_well:
        return known
    return {day: rows for day, rows in known.items() if rows[0] in memory.official_words.get(day, rows)}


def official(bars: Bars, said: Mapping[str, set[Row]]) -> Findings:
    """Every official day was delivered as one of its symbol, with just these values."""
    for (symbol, date), rows in bars.items():
        for row in rows:
            is_said = row in said.get(symbol, set())
            yield None if is_said else f"{symbol} {date} has an official day that the provider never gave: {row}"
