"""Checks of time: what readers of now see, what they saw at a former moment, and what was frozen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import NamedTuple

from attrs import define, field, frozen

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.domain.dataset_lock import DatasetLock
from tests.simulation.oracle.files import StoreFiles, data_path, month_path, rows_in
from tests.simulation.oracle.memory import Memory, Rows, Seen
from tests.simulation.oracle.readings import Bars, Readings
from tests.simulation.oracle.subject import Findings
from tests.simulation.outcome import Outcome
from tests.simulation.rows import Day

BEGINNING = Timestamp.from_epoch_micros(0)
MOST_READINGS = 10
COARSEST_STEP_NS = 1_000
"""A disk with a coarser clock may lose the moment of a version with its line of the index in a power loss."""


class Span(NamedTuple):
    """The earliest and the latest moment of a step by the clocks of its processes, in microseconds since 1970."""

    first: float
    last: float

    @classmethod
    def of(cls, outcome: Outcome, *skews: float) -> Span:
        """``skews``: by how many seconds the clock of the machine was ahead before the step and after it."""
        jumps = [0.0]
        for each in outcome.all():
            at = 0.0
            for text in each.happened:
                kind, detail, *_ = text.split(" ")
                at += float(detail) if kind == "clock" else 0.0
                jumps.append(at)
        first, last = min(skews) + min(jumps), max(skews) + max(jumps)
        return cls(outcome.began.epoch_micros + first * 1e6, outcome.over.epoch_micros + last * 1e6)


@frozen
class Reading:
    """What was stored at a quiet moment: ``at`` is the true one, ``as_of`` the same by the clock of the machine."""

    at: Timestamp
    as_of: Timestamp
    days: Mapping[Day, Rows] = field(repr=False)
    forgotten: set[Day] = field(factory=set, repr=False)
    """Days of which it is not certain any more what readers saw then."""


@frozen(eq=False)
class Frozen:
    """A lock, with all files that a backtest reads as they were then."""

    lock: DatasetLock
    days: Mapping[Day, bytes] = field(repr=False)
    others: Mapping[str, bytes] = field(repr=False)

    def changed_others(self, files: StoreFiles) -> list[str]:
        """Return the aggregates and official days of the frozen symbols that are not as they were.

        A lock of some symbols or dates may leave out what is made of others too.
        """
        scope = self.lock.scope
        names = None if scope is None or scope.symbols is None else {f"symbol={symbol}" for symbol in scope.symbols}
        areas = ("official/", "aggregates/") if names is None else ("official/",)
        others = (path for path in sorted(self.others) if path.startswith(areas))
        chosen = (path for path in others if names is None or path.split("/")[1] in names)
        return [path for path in chosen if files.contents.get(path) != self.others[path]]

    @classmethod
    def of(cls, lock: DatasetLock, files: StoreFiles) -> Frozen:
        return cls(lock, files.days, _others(files))


def _others(files: StoreFiles) -> dict[str, bytes]:
    areas = "aggregates/", "official/"
    return {path: content for path, content in files.contents.items() if path.startswith(areas)}


@define
class Past:
    """The readings and locks of a story.

    ``dated`` has the latest moment that the version of a day may be known since, by the clock that wrote it: a clock
    that is right again is earlier than one that was ahead, and its readers do not see that version.
    """

    readings: list[Reading] = field(factory=list)
    locks: list[Frozen] = field(factory=list)
    dated: dict[Day, float] = field(factory=dict)

    def begins(self, seen: Seen, step_ns: int, span: Span) -> None:
        """Forget what the step that has just ended makes uncertain."""
        memory, kinds = seen.memory, seen.kinds()
        if self.readings and self.readings[-1].at >= seen.outcome.began:
            self.readings.pop()
        of_records = "power loss" in kinds or any(kind.startswith("recover") for kind in kinds)
        if seen.drops() or "copied" in kinds or (memory.has_odd_clock and of_records):
            self.readings.clear()
        elif "power loss" in kinds:
            if step_ns > COARSEST_STEP_NS or step_ns == 0:
                self.readings.clear()
            self._forget(day for day, versions in memory.possible.items() if len(versions) > 1)
        self._date(seen.changed_days(), span if seen.went_well() or not memory.has_odd_clock else NEVER)

    def _forget(self, days: Iterable[Day], since: float = -inf) -> None:
        unsure = set(days)
        for reading in self.readings:
            if reading.as_of.epoch_micros >= since:
                reading.forgotten.update(unsure)

    def _date(self, days: Iterable[Day], span: Span) -> None:
        """A version that was written by a clock that is behind is known since moments at which readers saw another."""
        self._forget(changed := list(days), span.first)
        for day in changed:
            self.dated[day] = max(self.dated.get(day, -inf), span.last)

    def remember(self, seen: Seen, at: Timestamp, as_of: Timestamp) -> None:
        unseen = {day for day, since in self.dated.items() if since > as_of.epoch_micros}
        self.readings.append(Reading(at, as_of, {day: _recorded(seen, day) for day in seen.now.days}, unseen))
        if len(self.readings) > MOST_READINGS:
            del self.readings[len(self.readings) // 2 - 1]
        for each in seen.outcome.all():
            if each.ended == "returned" and isinstance(each.value, DatasetLock) and not seen.outcome.beside:
                self.locks = [*self.locks[-1:], Frozen.of(each.value, seen.now)]


def _recorded(seen: Seen, day: Day) -> Rows:
    """Return the rows of a day; of one that somebody has rewritten, those that were recorded."""
    content = seen.memory.rewritten.get(day)
    return seen.now.rows(day) if content is None else rows_in(content)


NEVER = Span(-inf, inf)
"""In the place of the moments of a step after which nobody can tell what is known since when."""


def as_of(found: Readings, past: list[Reading], memory: Memory) -> Findings:
    """What ``load`` gives as of a moment is what was stored then; without a moment, what is stored now."""
    is_sound = not memory.damage and memory.is_machine_well
    now = Reading(BEGINNING, BEGINNING, {day: memory.files.rows(day) for day in memory.files.days})
    for name, reading in ((("bars",), now), *((("as of", str(each.as_of)), each) for each in past)):
        error, moment = found.error(*name), "now" if reading is now else str(reading.as_of)
        if error is not None and is_sound and any(reading.days.values()):
            yield f"load as of {moment} raised {type(error).__name__}: {error}"
        elif (bars := found.value(*name)) is not None:
            yield from _compared(reading, moment, bars, memory)


def _compared(reading: Reading, moment: str, bars: Bars, memory: Memory) -> Findings:
    for day in sorted(reading.days.keys() | bars.keys()):
        if day in reading.forgotten or (memory.was_damaged(day) and not memory.is_repaired(day)):
            continue
        loaded, wanted = tuple(bars.get(day, ())), reading.days.get(day) or ()
        if loaded == wanted:
            yield None
        else:
            how = "other values" if len(loaded) == len(wanted) else f"{len(loaded)} bars"
            yield f"as of {moment} {day[0]} {day[1]} had {len(wanted)} bars, and load gives {how}"


def lock(found: Readings, frozen: list[Frozen], files: StoreFiles) -> Findings:
    """A lock verifies if all files that a backtest reads are as they were, and not if a frozen one is another."""
    for number, each in enumerate(frozen):
        report = found.value("lock", number)
        if report is None:
            continue
        named = {problem.path for problem in report.problems}
        unnamed = [day for day in _broken(each, files) if not named & {data_path(day), month_path(day)}]
        if unnamed:
            symbol, date = unnamed[0]
            yield f"the lock names no problem with {symbol} {date}, which is another, has come or is gone"
        elif report.ok and (changed := each.changed_others(files)):
            yield f"the lock verifies, and {changed[0]} is another or gone"
        elif not report.ok and each.days == files.days and each.others == _others(files):
            problem = report.problems[0]
            yield f"the lock does not verify, though nothing has changed: {problem.path} {problem.reason}"
        else:
            yield None


def _broken(frozen: Frozen, files: StoreFiles) -> list[Day]:
    """Return the frozen days, of the symbols and dates of the lock, that are not as they were."""
    scope = frozen.lock.scope
    if scope is None:
        return []
    names = None if scope.symbols is None else {str(symbol) for symbol in scope.symbols}
    within = [
        day
        for day in frozen.days.keys() | files.days.keys()
        if (names is None or day[0] in names) and str(scope.first) <= day[1] <= str(scope.last)
    ]
    return sorted(day for day in within if frozen.days.get(day) != files.days.get(day))
