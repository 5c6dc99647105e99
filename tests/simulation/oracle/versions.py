"""Checks of time: what readers of now see, what they saw at a former moment, and what was frozen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import define, field, frozen

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.domain.dataset_lock import DatasetLock
from tests.simulation.oracle.files import StoreFiles, data_path, month_path
from tests.simulation.oracle.memory import Memory, Rows, Seen
from tests.simulation.oracle.readings import Bars, Readings
from tests.simulation.oracle.subject import Findings
from tests.simulation.rows import Day

BEGINNING = Timestamp.from_epoch_micros(0)
MOST_READINGS = 10
COARSEST_STEP_NS = 1_000
"""A disk with a coarser clock may lose the moment of a version with its line of the index in a power loss."""


@frozen
class Reading:
    """What was stored at a quiet moment: ``at`` is the true one, ``as_of`` the same by the clock of the machine."""

    at: Timestamp
    as_of: str
    days: Mapping[Day, Rows] = field(repr=False)
    forgotten: set[Day] = field(factory=set, repr=False)
    """Days of which it is not certain any more what readers saw then."""


@frozen(eq=False)
class Frozen:
    """A lock, with all files that a backtest reads as they were then."""

    lock: DatasetLock
    days: Mapping[Day, bytes] = field(repr=False)
    others: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def of(cls, lock: DatasetLock, files: StoreFiles) -> Frozen:
        return cls(lock, files.days, _others(files))


def _others(files: StoreFiles) -> dict[str, bytes]:
    areas = "aggregates/", "official/"
    return {path: content for path, content in files.contents.items() if path.startswith(areas)}


@define
class Past:
    """The readings and locks of a story."""

    readings: list[Reading] = field(factory=list)
    locks: list[Frozen] = field(factory=list)

    def begins(self, seen: Seen, step_ns: int) -> None:
        """Forget what the step that has just ended makes uncertain."""
        memory, kinds = seen.memory, seen.kinds()
        if self.readings and self.readings[-1].at >= seen.outcome.began:
            self.readings.pop()
        if memory.has_odd_clock or seen.drops() or "copied" in kinds:
            self.readings.clear()
        elif "power loss" in kinds:
            if step_ns > COARSEST_STEP_NS or step_ns == 0:
                self.readings.clear()
            self._forget(day for day, versions in memory.possible.items() if len(versions) > 1)

    def _forget(self, days: Iterable[Day]) -> None:
        unsure = set(days)
        for reading in self.readings:
            reading.forgotten.update(unsure)

    def remember(self, seen: Seen, at: Timestamp, as_of: Timestamp) -> None:
        if not seen.memory.has_odd_clock:
            self.readings.append(Reading(at, str(as_of), {day: seen.now.rows(day) for day in seen.now.days}))
            if len(self.readings) > MOST_READINGS:
                del self.readings[len(self.readings) // 2 - 1]
        for each in seen.outcome.all():
            if each.ended == "returned" and isinstance(each.value, DatasetLock) and not seen.outcome.beside:
                self.locks = [*self.locks[-1:], Frozen.of(each.value, seen.now)]


def as_of(found: Readings, past: list[Reading], memory: Memory) -> Findings:
    """What ``load`` gives as of a moment is what was stored then; without a moment, what is stored now."""
    is_sound = not memory.damage and memory.is_machine_well
    now = Reading(BEGINNING, "now", {day: memory.files.rows(day) for day in memory.files.days})
    for name, reading in ((("bars",), now), *((("as of", each.as_of), each) for each in past)):
        error = found.error(*name)
        if error is not None and is_sound and reading.days:
            yield f"load as of {reading.as_of} raised {type(error).__name__}: {error}"
        elif (bars := found.value(*name)) is not None:
            yield from _compared(reading, bars, memory)


def _compared(reading: Reading, bars: Bars, memory: Memory) -> Findings:
    for day in sorted(reading.days.keys() | bars.keys()):
        if day in reading.forgotten or memory.was_damaged(day):
            continue
        loaded, wanted = tuple(bars.get(day, ())), reading.days.get(day) or ()
        if loaded == wanted:
            yield None
        else:
            how = "other values" if len(loaded) == len(wanted) else f"{len(loaded)} bars"
            yield f"as of {reading.as_of} {day[0]} {day[1]} had {len(wanted)} bars, and load gives {how}"


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
