"""Checks of stored bars: said by the provider, nothing twice, nothing lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Final

from marketpipe.shared_kernel.domain.symbol import Outcome as DayOutcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.exchange import all_sessions
from tests.simulation.ledger import Word
from tests.simulation.oracle.files import UNREADABLE, rows_in
from tests.simulation.oracle.memory import INGESTIONS, Rows, Seen
from tests.simulation.oracle.subject import Findings
from tests.simulation.rows import Day, Row, by_time

MINUTE: Final = 60_000_000
LONGEST_WALK: Final = 5 * MINUTE
"""Answers that began so close to one another may be stored in any order."""


def invented(seen: Seen, said: Mapping[str, set[Row]]) -> Findings:
    """Every stored bar was delivered as a bar of its symbol, with just these values, and is of its date."""
    for day, rows in _sound_days(seen):
        known = said.get(day[0], set())
        wrong = next((row for row in rows if row not in known), None)
        yield None if wrong is None else f"{_named(day)} has a bar that the provider never gave: {told(wrong)}"
        wrong = next((row for row in rows if not is_a_bar(row)), None)
        yield None if wrong is None else f"{_named(day)} has what is no bar: {told(wrong)}"


def is_a_bar(row: Row) -> bool:
    at, first, high, low, close, volume, *_ = row
    if first is None or high is None or low is None or close is None or volume is None:
        return False
    return at % MINUTE == 0 and 0 < low <= min(first, close) and max(first, close) <= high and volume >= 0


def written_outside(files: Iterable[str]) -> Findings:
    """Nothing is written through a link that leads out of the store."""
    yield from (f"{path} was written outside of the store" for path in sorted(files))


def twice(seen: Seen) -> Findings:
    """Times ascend; and no day is in a file of its own and in that of its month, unless something went wrong."""
    for day, rows in _sound_days(seen):
        times = [row[0] for row in rows]
        rise = all(one < other for one, other in pairwise(times))
        yield None if rise else f"{_named(day)}: the times of its bars do not ascend"
    if seen.memory.is_machine_well:
        yield from (f"{_named(day)} is in a file of its own and in that of its month" for day in sorted(seen.now.twice))


def lost(seen: Seen) -> Findings:
    """What a command reported is stored; and no other day has changed, whatever happened."""
    reported = seen.reported()
    for day in sorted(reported.keys() | seen.memory.possible.keys() | seen.now.days.keys()):
        if seen.memory.is_doubtful(day) or seen.drops():
            continue
        rows = seen.now.rows(day)
        if rows == UNREADABLE:
            yield f"{_named(day)} cannot be read"
        elif day in reported and seen.words.get(day):
            yield _as_reported(seen, day, rows, reported[day])
        else:
            yield _unchanged(seen, day, rows)


def _as_reported(seen: Seen, day: Day, rows: Rows, outcomes: set[DayOutcome]) -> str | None:
    """Compare with each whole answer of this step: which was the last to be stored cannot be told from outside."""
    words = [word for word in seen.words[day] if word.is_whole]
    if not words or len(outcomes) > 1:
        return _unchanged(seen, day, rows)
    rejected, (outcome,) = seen.now.rejected(day), outcomes
    words = _latest(seen, words)
    if outcome is DayOutcome.EMPTY:
        if rows is None and any(not wanted_of(word, seen.session) for word in words):
            return None
        return f"{_named(day)} was reported empty, and has {len(rows or ())} stored bars; {_heard(words)}"
    if outcome not in (DayOutcome.COMPLETE, DayOutcome.PARTIAL):
        return _unchanged(seen, day, rows)
    is_final = outcome is DayOutcome.COMPLETE
    reasons = [differs(rows, word, seen.session, rejected, is_final=is_final) for word in words]
    if None in reasons:
        return _kept(seen.before.rows(day) or (), rows or (), words) if is_final else None
    return f"{_named(day)} was reported {outcome}: {reasons[-1]}; {_heard(words)}"


def _latest(seen: Seen, words: list[Word]) -> list[Word]:
    """Return the words that may have been stored last: whoever has a lease stores nothing older than others before."""
    went_well = all(
        each.ended == "returned" and all(text.startswith("pause") for text in each.happened)
        for each in seen.outcome.all()
    )
    if not went_well or not seen.kinds() <= {*INGESTIONS, "update"}:
        return words
    newest = max(word.began.epoch_micros for word in words)
    return [word for word in words if word.began.epoch_micros >= newest - LONGEST_WALK]


def _kept(before: Iterable[Row], now: Iterable[Row], words: Iterable[Word]) -> str | None:
    """A stored bar stays if the only newer version of it is none that can be stored."""
    said = [row for word in words for row in word.rows]
    times, good = {row[0] for row in said}, {row[0] for row in said if is_a_bar(row)}
    stored = {row[0] for row in now}
    gone = [row for row in before if row[0] in times - good and row[0] not in stored]
    return f"{told(gone[0])} is gone, though its newer version is no bar" if gone else None


def _unchanged(seen: Seen, day: Day, rows: Rows) -> str | None:
    """A day is as it was, or as an answer of this step makes it; after a power loss it is as it ever may have been."""
    known = seen.memory.possible.get(day, [None])
    if rows == known[-1]:
        return None
    if "power loss" in seen.kinds():  # it also brings back what somebody has removed, if that was not synced
        may_be = rows in known or seen.memory.was_damaged(day)
        return None if may_be else f"{_named(day)} lost its bars: {_counts(known[-1], rows)}"
    if (words := seen.words.get(day)) is None:
        return f"{_named(day)} changed, though nothing was said of it: {_counts(known[-1], rows)}"
    rejected = seen.now.rejected(day)
    reasons = [differs(rows, word, seen.session, rejected, is_final=False) for word in words if word.is_whole]
    if None in reasons or (rows is None and any(not word.rows for word in words)):
        return None
    why = reasons[-1] if reasons else "no whole answer came"
    return f"{_named(day)} changed: {_counts(known[-1], rows)}; {why}"


def differs(rows: Rows, word: Word, session: str, rejected: Iterable[int | None], *, is_final: bool) -> str | None:
    """Return how stored bars differ from an answer; None if they are what it makes of them.

    A bar that is in quarantine may be stored in its former version, or not at all. If the answer was ``is_final``, bars
    that it does not have are not stored.
    """
    wanted, have, excused = wanted_of(word, session), by_time(rows or ()), frozenset(rejected)
    if None in excused:
        return None  # bars without a time: which they are cannot be told
    accepted = False
    for time, versions in wanted.items():
        if have.get(time) in versions:
            accepted = True
        elif time not in excused:
            found = have.get(time)
            return f"the provider said {told(versions[-1])}, and {told(found) if found else 'nothing'} is stored"
    if is_final and accepted:
        first, end = hours_of(word, session)
        for time in have:
            if first <= time < end and time not in wanted and time not in excused:
                return f"{told(have[time])} is stored, and the provider does not have it any more"
    return None


def wanted_of(word: Word, session: str) -> dict[int, list[Row]]:
    """Return the bars of an answer that are of the hours that a store of this kind holds for certain, by time."""
    first, end = hours_of(word, session)
    found = dict[int, list[Row]]()
    for row in word.rows:
        if first <= row[0] < end:
            found.setdefault(row[0], []).append(row)
    return found


def hours_of(word: Word, session: str) -> tuple[int, int]:
    """Return the hours of the day that a word is of, in microseconds since 1970; the end is exclusive."""
    first, end = _window(word.day[1], session)
    return max(first, word.start.epoch_micros), min(end, word.end.epoch_micros + 1)


@lru_cache(maxsize=1 << 12)
def _window(date: str, session: str) -> tuple[int, int]:
    found = all_sessions().get(date)
    if found is None:
        return 0, 0
    window = found.extended if session == "extended" else found.regular
    return window.start.epoch_micros, window.end.epoch_micros


def _sound_days(seen: Seen) -> list[tuple[Day, tuple[Row, ...]]]:
    """Return the stored bars of the days whose files have changed in this step and are not damaged."""
    days = [day for day in seen.changed_days() if day in seen.now.days and not seen.memory.is_doubtful(day)]
    found = [(day, rows_in(seen.now.days[day])) for day in days]
    return [(day, rows) for day, rows in found if rows != UNREADABLE]


def _named(day: Day) -> str:
    return f"{day[0]} {day[1]}"


def told(row: Row) -> str:
    at, first, high, low, close, volume, *_ = row
    return f"{Timestamp.from_epoch_micros(at)} {first} {high} {low} {close} x{volume}"


def _counts(before: Rows, after: Rows) -> str:
    had, has = ("no file" if rows is None else f"{len(rows)} bars" for rows in (before, after))
    return f"it had {had} and has {has}" if had != has else f"it has {has} as before, with other values"


def _heard(words: Iterable[Word]) -> str:
    return "heard: " + ", ".join(f"{len(word.rows)} bars by {word.process}" for word in words)
