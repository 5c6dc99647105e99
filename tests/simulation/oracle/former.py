"""Checks of former versions: revisions stay as they are, and official days of a former moment are those of then."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from random import Random
from typing import Final

from attrs import define, field, frozen

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.ledger import DAYS, Ledger
from tests.simulation.oracle.files import DAY_PATH, StoreFiles, rows_in
from tests.simulation.oracle.memory import Memory, Seen
from tests.simulation.oracle.readings import Bars, Readings
from tests.simulation.oracle.subject import Findings
from tests.simulation.oracle.versions import BEGINNING, Reading
from tests.simulation.rows import Day

REVISION: Final = re.compile(
    r"revisions/(symbol=[^/]+/year=\d+/month=\d\d/day=\d\d)\.(\d{8}T\d{6}\.\d{6}Z)\.parquet", re.ASCII
)
MOST_READINGS: Final = 5
READ_AGAIN: Final = 2
Moments = Mapping[str, list[str]]
"""Since when the revisions of each day are known, ascending, by the beginning of their paths."""


def unchanged(seen: Seen) -> Findings:
    """A revision keeps its bytes, and a new one of its day is later than it: whatever the clock shows."""
    memory, kinds = seen.memory, seen.kinds()
    if not memory.is_machine_well or "copied" in kinds or any(kind.startswith(("drop", "recover")) for kind in kinds):
        return
    before, now = _moments_of(seen.before.contents), _moments_of(seen.now.contents)
    for path, content in seen.before.contents.items():
        if REVISION.fullmatch(path):
            is_same = seen.now.contents.get(path) == content
            yield None if is_same else f"the former version {path} has changed or is gone"
    for place, moments in now.items():
        if known := before.get(place):
            earlier = [moment for moment in moments if moment not in known and moment < known[-1]]
            yield (
                f"a version of {place} became a revision of {earlier[0]}, after that of {known[-1]}"
                if earlier
                else None
            )


def _moments_of(paths: Iterable[str]) -> Moments:
    found = dict[str, list[str]]()
    for match in filter(None, map(REVISION.fullmatch, sorted(paths))):
        found.setdefault(match[1], []).append(match[2])
    return found


def just_known(memory: Memory, draw: Random) -> list[Reading]:
    """Return one former version as a reading at the very moment since which it is known; none if anything was wrong."""
    found = [match for path in sorted(memory.files.contents) if (match := REVISION.fullmatch(path))]
    if not found or not memory.is_machine_well or memory.has_odd_clock:
        return []
    match = draw.choice(found)
    place = DAY_PATH.fullmatch(f"{match[1]}.parquet")
    assert place is not None
    day = place[1], f"{place[2]}-{place[3]}-{place[4]}"
    others = {each for each in _ever(memory.files) if each != day}
    return [
        Reading(
            BEGINNING,
            Timestamp(datetime.fromisoformat(match[2])),
            {day: rows_in(memory.files.contents[match[0]])},
            others,
        )
    ]


def _ever(files: StoreFiles) -> Iterator[Day]:
    """Yield the days that have a file or a revision."""
    yield from files.days
    for match in filter(None, map(REVISION.fullmatch, files.contents)):
        if place := DAY_PATH.fullmatch(f"{match[1]}.parquet"):
            yield place[1], f"{place[2]}-{place[3]}-{place[4]}"


@frozen
class OfficialReading:
    """The official days of some ``symbols`` that were loaded at a quiet moment, from the date ``first`` to ``last``.

    ``heard`` is the number of answers until then.
    """

    as_of: str
    heard: int
    first: str
    last: str
    symbols: frozenset[str]
    days: Bars = field(repr=False)

    def has(self, day: Day) -> bool:
        """Return whether this official day was asked for."""
        return day[0] in self.symbols and self.first <= day[1] <= self.last


@define
class OfficialPast:
    """A few readings of official days, as long as nothing has gone wrong with the machine or its clock, but for damage
    of files: since then no more are taken.
    """

    readings: list[OfficialReading] = field(factory=list)

    def begins(self, seen: Seen) -> None:
        """Forget all that the step which has just ended makes uncertain."""
        memory = seen.memory
        gives_up = bool(memory.ever_damaged) and any(kind.startswith("recover") for kind in seen.kinds())
        if not memory.is_only_damaged or memory.has_odd_clock or seen.drops() or gives_up:
            self.readings.clear()

    def moments(self, draw: Random) -> tuple[str, ...]:
        """Return moments to be read again."""
        return tuple(each.as_of for each in draw.sample(self.readings, min(READ_AGAIN, len(self.readings))))

    def remember(self, reading: OfficialReading, memory: Memory) -> None:
        if memory.is_machine_well and not memory.has_odd_clock:
            self.readings = [*self.readings[1 - MOST_READINGS :], reading]

    def as_of(self, found: Readings) -> Findings:
        """Official days of a former moment are those that were loaded then, or nobody knows them any more."""
        for reading in self.readings:
            loaded = found.value("official as of", reading.as_of)
            if loaded is None:
                continue
            both = (day for day in loaded.keys() | reading.days.keys() if reading.has(day))
            wrong = sorted(day for day in both if loaded.get(day) != reading.days.get(day))
            yield f"as of {reading.as_of} the official day of {' '.join(wrong[0])} is another" if wrong else None

    def kept(self, now: OfficialReading, ledger: Ledger, memory: Memory) -> Findings:
        """An official day of which nothing was said since the latest reading is what it was then."""
        for before in self.readings[-1:] if memory.is_machine_well else ():
            for day in sorted(before.days.keys() - ledger.words_since(before.heard, DAYS).keys()):
                if not now.has(day):
                    continue
                is_same = now.days.get(day) == before.days[day]
                what = f"the official day of {' '.join(day)} is another or gone, though nothing was said of it"
                yield None if is_same else what
