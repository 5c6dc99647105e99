"""``Oracle``: carries out the checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from random import Random
from typing import Final, Literal

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.ledger import DAYS, MINUTES, Asked, Delivered
from tests.simulation.oracle import bars, behaviour, commands, derived, former, integrity, verdicts, versions
from tests.simulation.oracle.files import StoreFiles
from tests.simulation.oracle.healing import heal, heals
from tests.simulation.oracle.memory import Memory, Seen
from tests.simulation.oracle.readings import Readings, Wanted, read
from tests.simulation.oracle.subject import HARMFUL, Findings, Subject
from tests.simulation.outcome import Outcome

MOST_FINDINGS: Final = 5
"""Of one check: those after them are counted only."""
MOMENTS: Final = 2
"""So many former moments are read in a full check, and so many days of each timeframe."""
Named = tuple[str, Findings]


class Oracle:
    """Remembers one world from step to step."""

    def __init__(self, world: Subject) -> None:
        self._world, self.memory, self.past = world, Memory(), versions.Past()
        self.memory.has_odd_clock = world.story.traits.skew != 0.0
        self._requests: list[int] = []
        self._skew = world.skew
        self._official = former.OfficialPast()
        self._just_known: list[versions.Reading] = []
        """What was read at the very moment since which it is known."""

    def check(self, outcome: Outcome, depth: Literal["step", "day"]) -> list[str]:
        """Return what is wrong after a step, as sentences that begin with the name of their check.

        To be called with "step" after each step of a story, then with "day" where the full check is wanted. After the
        last step of a story that changes the store: calm commands try to heal it.
        """
        if depth == "step":
            return self._after_step(outcome)
        found = self._full()
        if not found and outcome.step == self._world.story.steps[-1]:
            found = self._healed()
        return found

    def _after_step(self, outcome: Outcome) -> list[str]:
        world, memory = self._world, self.memory
        words, of_days = (world.ledger.words_since(memory.heard, timeframe) for timeframe in (MINUTES, DAYS))
        traits = world.story.traits
        seen = Seen(outcome, memory.files, StoreFiles.on(world.disk), words, memory, traits.session, of_days)
        memory.note_damage(seen)
        self.past.begins(seen, traits.disk.step_ns, versions.Span.of(outcome, self._skew, world.skew))
        self._skew = world.skew
        self._official.begins(seen)
        found = self._carried_out(self._of_a_step(seen))
        memory.take_over(seen, world.ledger.count)
        self.past.remember(seen, world.clock.now(), self._now_of_the_machine())
        return found

    def _now_of_the_machine(self) -> Timestamp:
        return self._world.clock.now().plus(timedelta(seconds=self._world.skew))

    def _of_a_step(self, seen: Seen) -> Iterator[Named]:
        ledger, limit = self._world.ledger, self._world.story.traits.requests_per_minute
        asked = list(ledger.asked_since(self.memory.heard))
        yield "invented", bars.invented(seen, ledger.said)
        yield "invented", bars.written_outside(self._world.disk.files("/proc/world/elsewhere"))
        yield "twice", bars.twice(seen)
        yield "lost", bars.lost(seen)
        if self._world.story.traits.adjustment == "raw":  # adjusted prices are compared before a store grows
            yield "asked again", behaviour.asked_again(seen, self.memory, asked)
            yield "asked again", behaviour.asked_twice(seen)
        self._requests = self._counted(seen, [answer.at for _, answer in asked])
        yield "rate", behaviour.rate(limit, self._requests)
        yield "lease", behaviour.lease(seen, limit, asked)
        yield "ends", behaviour.ends(seen)
        yield "ends", behaviour.ends_well(seen)
        yield "words", behaviour.words(seen)
        yield "lease", behaviour.lease_of_the_paused(seen, limit, asked)
        yield "leftovers", behaviour.leftovers(seen)
        yield "verify", integrity.verify_of_a_step(seen)
        yield "as of", former.unchanged(seen)
        yield from self._of_a_command(seen, asked)

    def _of_a_command(self, seen: Seen, asked: Sequence[tuple[Asked, Delivered]]) -> Iterator[Named]:
        traits = self._world.story.traits
        yield "audit", commands.audit(seen)
        yield "lost", commands.withdrawn(seen, traits.confirmations)
        yield "drop", commands.dropped(seen)
        yield "official", commands.official(seen)
        yield "quarantine", commands.quarantine(seen)
        yield "leftovers", commands.leftovers(seen)
        if traits.workers == 1:  # others may have sent their requests already
            yield "rate", behaviour.pause(seen, asked)

    def _counted(self, seen: Seen, moments: list[Timestamp]) -> list[int]:
        """Return when the latest requests were counted. What was sent by a process that a fault met does not count.

        The server may count it after the process has ended, or much later than the process asked whether it may.
        """
        went_well = not seen.kinds() & HARMFUL and all(
            each.ended in ("returned", "raised", "happened") and all(text.startswith("wire") for text in each.happened)
            for each in seen.outcome.all()
        )
        if not went_well:
            return []
        new = sorted(moment.epoch_micros for moment in moments)
        return [moment for moment in self._requests if new and moment > new[0] - behaviour.MINUTE] + new

    def _full(self) -> list[str]:
        """Carry out the checks that need the product's own readers."""
        world = self._world
        wanted = self._wanted()
        outcome = world.ask(partial(read, wanted))
        if outcome.ended != "returned" or not isinstance(outcome.value, Readings):
            why = "" if outcome.error is None else f": {type(outcome.error).__name__}: {outcome.error}"
            name = "ends" if outcome.ended == "stuck" else "words"
            return [f"{name}: reading everything {outcome.ended}{why}"]
        if world.disk.read_only or world.disk.space is not None:
            return []
        return self._carried_out(self._of_a_day(wanted, outcome.value))

    def _wanted(self) -> Wanted:
        files, traits = self.memory.files, self._world.story.traits
        random = Random(f"{self._world.story.seed}/{self._world.ledger.count}/{len(self.past.readings)}/oracle")
        days = sorted(files.days)
        moments = random.sample(self.past.readings, min(MOMENTS, len(self.past.readings)))
        timeframes = [each for each in traits.timeframes if each == "1d" or each in derived.MINUTES_OF]
        chosen = random.sample(days, min(MOMENTS, len(days))) if self._has_sound_aggregates() else []
        self._just_known = former.just_known(self.memory, random)
        at = [*moments, *self._just_known]
        # days that were withdrawn since were there at former moments
        ever = {*days, *(day for reading in at for day in reading.days)}
        symbols = {symbol for symbol, _ in ever}
        # days without bars have official days too
        dates = [date for symbol, date in (*ever, *self.memory.words) if symbol in symbols]
        return Wanted(
            tuple(sorted(symbols)),
            min(dates, default=traits.start),
            max(dates, default=traits.start),
            tuple(str(reading.as_of) for reading in at),
            tuple((day, timeframe) for day in chosen for timeframe in timeframes),
            tuple(frozen.lock for frozen in self.past.locks),
            self._official.moments(random),
        )

    def _has_sound_aggregates(self) -> bool:
        areas = "data/", "aggregates/", "copies/"
        return self.memory.is_fresh and not any(path.startswith(areas) for path in self.memory.ever_damaged)

    def _of_a_day(self, wanted: Wanted, found: Readings) -> Iterator[Named]:
        memory, traits = self.memory, self._world.story.traits
        past = [reading for reading in self.past.readings if str(reading.as_of) in wanted.moments]
        yield "as of", versions.as_of(found, past + self._just_known, memory)
        yield from self._of_official_days(wanted, found)
        if (report := found.value("verify")) is not None:
            yield "verify", integrity.verify(report, memory)
            yield "leftovers", integrity.leftovers(report, memory.files)
        yield "lock", versions.lock(found, self.past.locks, memory.files)
        yield "aggregate", derived.aggregate(found, wanted.buckets, memory)
        official = derived.sound_official_days(found.value("official") or {}, memory)
        yield "official", derived.official(official, self._world.ledger.said_of_days)
        coverage = found.value("coverage")
        if coverage is not None and not memory.has_odd_date:
            now = min(self._world.clock.now(), self._now_of_the_machine())
            judged = list(verdicts.judged(coverage, memory, now))
            yield "verdict", verdicts.verdict(judged, traits.session, traits.confirmations)
            for each in judged:
                self._world.counts.count("judged", str(each.verdict.verdict))
            yield "verdict", verdicts.still_complete(judged, memory)
            yield "verdict", verdicts.of_lost_files(coverage, memory)
            yield "verify", integrity.marked(coverage, memory)
            known = derived.recorded_official_days(official, report, memory)
            yield "ok over a loss", verdicts.ok_over_a_loss(judged, known, traits.session)
        if report is not None:
            memory.note_named(report)

    def _of_official_days(self, wanted: Wanted, found: Readings) -> Iterator[Named]:
        yield "as of", self._official.as_of(found)
        if (days := found.value("official")) is not None:
            ledger, now = self._world.ledger, str(self._world.clock.now())
            symbols = frozenset(wanted.symbols)
            reading = former.OfficialReading(now, ledger.count, wanted.first, wanted.last, symbols, days)
            yield "official", self._official.kept(reading, ledger, self.memory)
            self._official.remember(reading, self.memory)

    def _healed(self) -> list[str]:
        ended = self._world.clock.now().epoch_micros
        healed = heal(self._world)
        if isinstance(healed, str):
            return [f"heals: {healed}"]
        return self._carried_out([("heals", heals(healed, self.memory, self._world.story.traits.session, ended))])

    def _carried_out(self, checks: Iterator[Named] | list[Named]) -> list[str]:
        found = list[str]()
        for name, check in checks:
            results = list(check)
            self._world.counts.checked(name, len(results))
            wrong = [f"{name}: {result}" for result in results if result is not None]
            more = [f"{name}: {len(wrong) - MOST_FINDINGS} more"] if len(wrong) > MOST_FINDINGS else []
            found += wrong[:MOST_FINDINGS] + more
        return found
