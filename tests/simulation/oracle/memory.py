"""What the oracle remembers of a world: what was stored, what may be stored after a power loss, what was damaged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from attrs import define, field, frozen

from marketpipe.reports import AuditReport, IngestionReport
from marketpipe.shared_kernel.domain.symbol import Outcome as DayOutcome
from marketpipe.storage.domain.integrity import Damage as Problem
from marketpipe.storage.domain.integrity import IntegrityReport
from tests.simulation.ledger import Word
from tests.simulation.oracle.files import (
    NO_FILES,
    StoreFiles,
    data_path,
    day_of,
    month_path,
    quarantine_path,
    rows_in,
)
from tests.simulation.oracle.subject import DAMAGES, HARMFUL, HARMLESS_FAULTS
from tests.simulation.outcome import Outcome
from tests.simulation.rows import Day, Row, date_of

Rows = tuple[Row, ...] | None
"""The bars of a symbol-day; None if it has no file."""


INGESTIONS: Final = ("ingest", "ingest retry")
REFRESHING: Final = ("update", "ingest", "ingest retry")
"""Commands that make all aggregates of the symbols that they are about."""
DROPPED: Final = ("data/", "official/", "aggregates/", "copies/")
"""Areas that have nothing of a dropped symbol."""
PLACE: Final = re.compile(
    r"(?:data|revisions|quarantine|copies)/symbol=([^/]+)/year=(\d{4})/month=(\d\d)(?:/day=(\d\d))?"
)
"""In a path: the symbol and month, and the day if it is that of one."""


@frozen
class Damage:
    """A file that somebody changed from outside: its content before, and since; None for no file."""

    before: bytes | None = field(repr=False)
    since: bytes | None = field(repr=False)


@frozen
class Seen:
    """One step with all that the oracle knows of it.

    ``words`` are what was said of minutes during the step, by symbol-day, ``of_days`` what was said of official days;
    ``before`` and ``now`` what was stored.
    """

    outcome: Outcome
    before: StoreFiles
    now: StoreFiles
    words: Mapping[Day, list[Word]]
    memory: Memory
    session: str = "regular"
    of_days: Mapping[Day, list[Word]] = field(factory=dict)

    def reports(self) -> Iterator[IngestionReport]:
        """Yield the reports of the ingestions of this step that came to their end."""
        for each in self.outcome.all():
            found = each.value.adopted if isinstance(each.value, AuditReport) else each.value
            if each.ended == "returned" and isinstance(found, IngestionReport):
                yield found

    def reported(self) -> dict[Day, set[DayOutcome]]:
        """Return what the commands that came to their end have reported of each symbol-day."""
        found = dict[Day, set[DayOutcome]]()
        for report in self.reports():
            for day, result in report.outcomes.items():
                found.setdefault((str(day.symbol), str(day.trading_date)), set()).add(result.outcome)
        return found

    def settles_all(self) -> bool:
        """Return whether an ingestion of all symbols and dates came to its end alone, and no day of it failed."""
        outcome = self.outcome
        is_whole = outcome.step.kind in INGESTIONS and not outcome.step.what and not outcome.beside
        return is_whole and any(report.ok and not report.left for report in self.reports())

    def kinds(self) -> set[str]:
        return {each.step.kind for each in self.outcome.all()}

    def drops(self) -> bool:
        return any(kind.startswith("drop") for kind in self.kinds())

    def recovers(self) -> bool:
        return any(kind.startswith("recover") for kind in self.kinds())

    def went_well(self) -> bool:
        """Return whether all of its commands came to their end, and nothing went wrong in them."""
        return not self.kinds() & HARMFUL and all(
            each.ended in ("returned", "happened") and not each.happened for each in self.outcome.all()
        )

    def changed_days(self) -> list[Day]:
        """Return the symbol-days whose bytes differ from those before the step."""
        both = self.before.days.keys() | self.now.days.keys()
        return sorted(day for day in both if self.before.days.get(day) != self.now.days.get(day))

    def changed_paths(self) -> list[str]:
        before, now = self.before.contents, self.now.contents
        return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))


def _without_bars(words: Mapping[Day, list[Word]]) -> set[Day]:
    """Return the days of which a whole answer has no bars."""
    return {day for day, some in words.items() if any(word.is_whole and not word.rows for word in some)}


@define
class Memory:
    """``possible`` has, by symbol-day, all versions that a power loss may leave: one, once a command has reported it.

    ``damage`` has the files that are damaged now, ``ever_damaged`` the paths of all that were. ``words`` are all whole
    words on minutes so far. ``is_machine_well``: no process was killed and no call has failed so far, and no power loss
    or damage happened; ``is_disk_well``: processes may have been killed, and nothing worse; ``is_only_damaged``: files
    may have been damaged from outside, and nothing else happened; ``is_provider_well``: the wire has done nothing wrong
    so far. ``doubted`` are the symbol-days, or symbols with a month, of which a file was ever damaged. ``proven`` are
    the paths of files whose bytes are on record for certain; ``is_fresh``: all aggregates were made of the minutes that
    are stored. ``reported`` are the days
    that a command reported complete, and of which nothing was said since. ``has_odd_clock``: a clock of the machine was
    wrong at any time; ``has_odd_date``: the provider stated a wrong time, by which a clock that is ahead seems right.
    ``rewritten`` has the recorded content of days that somebody rewrote, until they are restated or damaged otherwise.
    ``official_words`` has what the provider said last of each official day: one bar or none. ``named`` has the damaged
    content of days that ``verify`` has called so, as long as its records are there.
    """

    files: StoreFiles = NO_FILES
    heard: int = 0
    possible: dict[Day, list[Rows]] = field(factory=dict)
    words: dict[Day, list[Word]] = field(factory=dict)
    damage: dict[str, Damage] = field(factory=dict)
    ever_damaged: set[str] = field(factory=set)
    doubted: set[Day] = field(factory=set)
    is_machine_well: bool = True
    is_disk_well: bool = True
    is_only_damaged: bool = True
    is_provider_well: bool = True
    has_odd_clock: bool = False
    has_odd_date: bool = False
    proven: set[str] = field(factory=set)
    is_fresh: bool = False
    was_complete: dict[Day, bytes | None] = field(factory=dict)
    reported: set[Day] = field(factory=set)
    rewritten: dict[Day, bytes] = field(factory=dict)
    official_words: dict[Day, tuple[Row, ...]] = field(factory=dict)
    named: dict[Day, bytes] = field(factory=dict)

    def is_doubtful(self, day: Day) -> bool:
        """Return whether a file of a symbol-day is damaged now, or its quarantine has ever been."""
        now = data_path(day) in self.damage or month_path(day) in self.damage
        return now or quarantine_path(day) in self.ever_damaged

    def was_damaged(self, day: Day) -> bool:
        """Return whether a file or a revision of a symbol-day, or of its month, was damaged at any time."""
        return day in self.doubted or (day[0], day[1][:7]) in self.doubted

    def note_damage(self, seen: Seen) -> None:
        """Take note of what somebody did to the files, before the checks."""
        if seen.outcome.step.kind in DAMAGES:
            for path in seen.changed_paths():
                self.damage[path] = Damage(seen.before.contents.get(path), seen.now.contents.get(path))
                self.ever_damaged.add(path)
                if match := PLACE.search(path):
                    date = f"{match[2]}-{match[3]}"
                    self.doubted.add((match[1], f"{date}-{match[4]}" if match[4] else date))
        else:
            for path, damage in list(self.damage.items()):
                if seen.now.contents.get(path) != damage.since:
                    del self.damage[path]
        self._note_dropped(seen.outcome)
        self._note_taken_back(seen)
        self._note_rewritten(seen)
        self._note_faults(seen.outcome)
        if seen.kinds() & {"power loss", "copied"} or seen.drops() or seen.recovers():
            self.named.clear()

    def note_named(self, report: IntegrityReport) -> None:
        """Take note of the damaged days that ``verify`` has named."""
        named = {problem.path for problem in report.problems if problem.damage is Problem.ALTERED}
        for path in named & self.damage.keys():
            if (day := day_of(path)) is not None and (content := self.damage[path].since) is not None:
                self.named[day] = content

    def _note_dropped(self, outcome: Outcome) -> None:
        """A dropped symbol has no records: nobody misses a file of it that was lost before."""
        for each in outcome.all():
            if each.step.kind != "drop":
                continue
            names = {f"symbol={name}" for name in each.step.what.get("symbols", "").split(",") if name}
            lost = [path for path, damage in self.damage.items() if damage.since is None]
            of_it = [path for path in lost if path.startswith(DROPPED) and (not names or names & {*path.split("/")})]
            self.proven.difference_update(of_it)  # if it was killed, the records may be there or not
            for path in of_it if each.ended == "returned" else ():
                del self.damage[path]

    def _note_taken_back(self, seen: Seen) -> None:
        """A lost file is not written again, and its record goes, if the provider has nothing of it any more."""
        reported, days, official = seen.reported(), _without_bars(seen.words), _without_bars(seen.of_days)
        for path, damage in list(self.damage.items()):
            if damage.since is not None or damage.before is None:
                continue
            if path.startswith("official/"):
                symbol = path.split("/")[1].removeprefix("symbol=")
                if {(symbol, date_of(row[0])) for row in rows_in(damage.before)} <= official:
                    del self.damage[path]
            elif (day := day_of(path)) in days:
                if DayOutcome.EMPTY in reported.get(day, ()):
                    del self.damage[path]
                elif day not in reported or not seen.went_well():
                    self.proven.discard(path)  # it may be recorded as empty: nobody says

    def _note_rewritten(self, seen: Seen) -> None:
        kinds = seen.kinds()
        if kinds & (HARMFUL - {"rewritten"}) or any(kind.startswith(("drop", "recover")) for kind in kinds):
            self.rewritten.clear()
        changed = seen.changed_days()
        if seen.outcome.step.kind == "rewritten":
            self.rewritten |= {day: seen.before.days[day] for day in changed if day not in self.rewritten}
        else:
            for day in changed:
                if seen.now.days.get(day) != self.rewritten.get(day):
                    self.rewritten.pop(day, None)

    def is_repaired(self, day: Day) -> bool:
        """Return whether a day that somebody rewrote has its recorded bytes again."""
        return day in self.rewritten and self.files.days.get(day) == self.rewritten[day]

    def _note_faults(self, outcome: Outcome) -> None:
        for each in outcome.all():
            kinds = {text.split(" ")[0] for text in each.happened}
            goes_on = each.ended not in ("killed", "stuck") and kinds <= {*HARMLESS_FAULTS, "clock"}
            self.is_machine_well &= each.step.kind not in HARMFUL and goes_on
            self.is_only_damaged &= each.step.kind not in HARMFUL - DAMAGES and goes_on
            is_disk_ill = each.step.kind in HARMFUL or any("errno" in kind for kind in kinds)
            self.is_disk_well &= not is_disk_ill
            self.is_provider_well &= "wire" not in kinds
            self.has_odd_date |= any(text.startswith("wire date") for text in each.happened)
            self.has_odd_clock |= each.step.kind == "clock" or "clock" in kinds
        self.has_odd_clock |= self.has_odd_date

    def take_over(self, seen: Seen, heard: int) -> None:
        """Remember what a step has left, after the checks."""
        reported, lost_power = seen.reported(), "power loss" in seen.kinds()
        is_durable = lost_power or seen.settles_all()
        for day in self.possible.keys() | seen.now.days.keys():
            rows = seen.now.rows(day)
            dropped = seen.drops() and seen.outcome.ended == "returned"
            if is_durable or day in reported or self.is_doubtful(day) or dropped:
                self.possible[day] = [rows]
            elif (known := self.possible.setdefault(day, [None]))[-1] != rows:
                known.append(rows)
        for day, words in seen.words.items():
            self.words.setdefault(day, []).extend(word for word in words if word.is_whole)
        for day, words in seen.of_days.items():
            self.official_words.update((day, word.rows) for word in words if word.is_whole)
        self._note_complete(seen, reported)
        self._note_proven(seen)
        self._note_reported(seen, reported)
        report = seen.outcome.value
        if isinstance(report, IntegrityReport) and seen.outcome.step.kind == "verify" and seen.went_well():
            self.note_named(report)
        self.files, self.heard = seen.now, heard

    def _note_reported(self, seen: Seen, reported: Mapping[Day, set[DayOutcome]]) -> None:
        kinds = seen.kinds()
        if self.has_odd_date or "copied" in kinds or any(kind.startswith(("drop", "recover")) for kind in kinds):
            self.reported.clear()
        self.reported -= {*seen.changed_days(), *seen.words}
        for day, outcomes in reported.items():
            if outcomes == {DayOutcome.COMPLETE} and not seen.outcome.beside and not self.has_odd_date:
                self.reported.add(day)

    def _note_proven(self, seen: Seen) -> None:
        """Remember which files have a record for certain, and whether all aggregates were made of what is stored."""
        kinds, changed = seen.kinds(), seen.changed_paths()
        if kinds & DAMAGES:
            return
        went_well = seen.went_well()
        if went_well:
            self.proven.update(changed)
        else:
            self.proven.difference_update(changed)
        if "power loss" in kinds or any(kind.startswith("recover") for kind in kinds):
            self.proven = {path for path in self.proven if path.startswith("data/") and path not in self.damage}
        if any(each.step.kind.startswith("recover") and each.ended != "returned" for each in seen.outcome.all()):
            self.proven.clear()  # the former records are set aside, and the new ones are not whole
        refreshed = any(report.aggregates.ok for report in seen.reports()) and went_well and not seen.outcome.beside
        step = seen.outcome.step
        is_of_all = step.kind in REFRESHING and "symbols" not in step.what
        self.is_fresh = (refreshed and (is_of_all or self.is_fresh)) or (self.is_fresh and went_well and not changed)

    def _note_complete(self, seen: Seen, reported: Mapping[Day, set[DayOutcome]]) -> None:
        """Remember which days need no further request: complete, and their files untouched since."""
        for day, content in list(self.was_complete.items()):
            if seen.now.days.get(day) != content:
                del self.was_complete[day]
        if seen.kinds() & HARMFUL or not self.is_machine_well or self.has_odd_clock:
            self.was_complete.clear()
            return
        for day, outcomes in reported.items():
            if outcomes == {DayOutcome.COMPLETE} and seen.now.days.get(day) is not None:
                self.was_complete[day] = seen.now.days[day]
            else:
                self.was_complete.pop(day, None)
        for day in seen.words.keys() - reported.keys():  # compared by an audit, which may doubt it
            self.was_complete.pop(day, None)
