"""The checks ``as of``, ``lock``, ``verify``, ``leftovers``, ``aggregate`` and ``official`` catch what they should."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Outcome as DayOutcome
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.dataset_lock import DatasetLock, LockScope
from marketpipe.storage.domain.integrity import Damage, IntegrityProblem, IntegrityReport
from tests.simulation.ledger import Ledger
from tests.simulation.oracle import derived, integrity, versions
from tests.simulation.oracle.files import NO_FILES, StoreFiles, data_path, official_path
from tests.simulation.oracle.memory import Memory
from tests.simulation.oracle.readings import Readings
from tests.simulation.outcome import Outcome
from tests.simulation.rows import Day, Row
from tests.simulation.seen_by_hand import DAY, EVENING, bars_file, broken, report, row, seen, step, stored, tell
from tests.simulation.story import Step

WHOLE = [row(0), row(15), row(30)]
NEXT_DAY = (DAY[0], "2024-03-06")
MORNING = EVENING.plus(timedelta(hours=9))
LATER = versions.Span(MORNING.epoch_micros, MORNING.epoch_micros)


def reading(days: dict[Any, Any]) -> versions.Reading:
    return versions.Reading(EVENING, EVENING, {day: tuple(rows) for day, rows in days.items()})


def loaded(days: dict[Any, Any]) -> Readings:
    return Readings({("as of", str(EVENING)): days})


def test_a_former_moment_is_read_as_it_was() -> None:
    memory, past = Memory(), [reading({DAY: WHOLE[:2]})]
    assert broken(versions.as_of(loaded({DAY: WHOLE[:2]}), past, memory)) == []
    assert broken(versions.as_of(loaded({DAY: WHOLE}), past, memory)) == [
        "as of 2024-03-06T02:00:00Z AAA 2024-03-05 had 2 bars, and load gives 3 bars"
    ]
    assert len(broken(versions.as_of(loaded({}), past, memory))) == 1
    later = {DAY: WHOLE[:2], NEXT_DAY: [row(0, date=NEXT_DAY[1])]}
    assert broken(versions.as_of(loaded(later), past, memory)) == [
        "as of 2024-03-06T02:00:00Z AAA 2024-03-06 had 0 bars, and load gives 1 bars"
    ]


def test_now_is_read_as_it_is_stored() -> None:
    memory = Memory(stored({DAY: WHOLE}))
    assert broken(versions.as_of(Readings({("bars",): {DAY: WHOLE}}), [], memory)) == []
    assert len(broken(versions.as_of(Readings({("bars",): {DAY: WHOLE[1:]}}), [], memory))) == 1


def test_a_sound_store_is_read_without_an_error_and_a_damaged_one_may_refuse() -> None:
    found, memory = Readings({("as of", str(EVENING)): StorageError("damaged")}), Memory()
    assert len(broken(versions.as_of(found, [reading({DAY: WHOLE})], memory))) == 1
    memory.is_machine_well = False
    assert broken(versions.as_of(found, [reading({DAY: WHOLE})], memory)) == []


def test_a_day_that_somebody_rewrote_is_read_as_it_was_recorded_once_it_is_repaired() -> None:
    sound, other, past, memory = stored({DAY: WHOLE}), stored({DAY: WHOLE[:2]}), versions.Past(), Memory()
    memory.take_over(seen(step(), Ledger(), NO_FILES, sound, memory), 0)

    def wrong(files: StoreFiles, kind: str, *ended: str) -> list[int]:
        """Return how many sentences there are, if load gives the recorded bars, and if it gives the others."""
        now = seen(step(kind, *ended), Ledger(), memory.files, files, memory)
        memory.note_damage(now)
        memory.take_over(now, 0)
        if kind == "rewritten":
            past.remember(now, EVENING, EVENING)
        rows = WHOLE, WHOLE[:2]
        return [len(broken(versions.as_of(loaded({DAY: each}), past.readings, memory))) for each in rows]

    assert wrong(other, "rewritten", "happened") == [0, 0]
    assert wrong(sound, "ingest") == [0, 1]
    assert wrong(other, "audit adopt") == [0, 0]


def test_readings_are_remembered_until_somebody_drops_the_symbol_or_copies_the_store() -> None:
    for step_after, left in ((step("verify"), 1), (step("drop"), 0), (step("copied", "happened"), 0)):
        past, files = versions.Past(), stored({DAY: WHOLE})
        past.remember(seen(step(), Ledger(), NO_FILES, files), EVENING, EVENING)
        past.begins(seen(evolve(step_after, began=MORNING), Ledger(), files, files), 1, LATER)
        assert len(past.readings) == left


def test_a_moment_at_which_the_next_step_began_is_not_read() -> None:
    past, files = versions.Past(), stored({DAY: WHOLE})
    past.remember(seen(step(), Ledger(), NO_FILES, files), EVENING, EVENING)
    past.begins(seen(step("verify"), Ledger(), files, files), 1, LATER)
    assert past.readings == []


def test_a_power_loss_makes_the_days_uncertain_whose_versions_were_not_reported() -> None:
    past, files = versions.Past(), stored({DAY: WHOLE, NEXT_DAY: []})
    memory = Memory(files, possible={DAY: [None, tuple(WHOLE)], NEXT_DAY: [()]})
    past.remember(seen(step(), Ledger(), NO_FILES, files), EVENING, EVENING)
    past.begins(seen(evolve(step("power loss", "happened"), began=MORNING), Ledger(), files, files, memory), 1, LATER)
    assert past.readings[0].forgotten == {DAY}


def past_with_a_day_written(hours: float, ended: str = "returned") -> versions.Past:
    """Return readings of evening and morning; in between a day is written, by a clock so far from the evening."""
    past, before, now = versions.Past(), stored({NEXT_DAY: []}), stored({DAY: WHOLE, NEXT_DAY: []})
    past.remember(seen(step(), Ledger(), NO_FILES, before), EVENING, EVENING)
    at = EVENING.plus(timedelta(hours=hours)).epoch_micros
    memory = Memory(before, has_odd_clock=True)
    update = evolve(step("update", ended), began=EVENING.plus(timedelta(hours=1)))
    past.begins(seen(update, Ledger(), before, now, memory), 1, versions.Span(at, at))
    past.remember(seen(step("load"), Ledger(), now, now), MORNING, MORNING)
    return past


def test_under_an_odd_clock_only_the_moments_are_uncertain_that_it_may_have_dated_otherwise() -> None:
    for hours, forgotten in ((1, [set(), set()]), (-1, [{DAY}, set()]), (48, [set(), {DAY}])):
        assert [reading.forgotten for reading in past_with_a_day_written(hours).readings] == forgotten
    assert [reading.forgotten for reading in past_with_a_day_written(1, "killed").readings] == [{DAY}, {DAY}]


def test_the_moments_of_a_step_are_those_of_all_clocks_that_its_processes_had() -> None:
    plain = evolve(step(), over=MORNING)
    jumped = evolve(plain, happened=("kill at GET 1", "clock -3600 at open 2", "clock 86400 at open 3"))
    assert versions.Span.of(plain, 0.0) == (EVENING.epoch_micros, MORNING.epoch_micros)
    assert versions.Span.of(plain, -5.0, 7.0) == (EVENING.epoch_micros - 5e6, MORNING.epoch_micros + 7e6)
    assert versions.Span.of(jumped, 0.0) == (EVENING.epoch_micros - 3600e6, MORNING.epoch_micros + 82_800e6)


def frozen(files: StoreFiles) -> versions.Frozen:
    scope = LockScope(None, TradingDate.parse(DAY[1]), TradingDate.parse(NEXT_DAY[1]))
    return versions.Frozen.of(DatasetLock(DatasetIdentity("alpaca", "iex", "raw"), None, (), scope), files)


def verified(*problems: IntegrityProblem) -> Readings:
    return Readings({("lock", 0): IntegrityReport(1, 1, problems)})


PROBLEM = IntegrityProblem(data_path(DAY), Damage.ALTERED, "differs")


def test_a_lock_verifies_if_and_only_if_nothing_that_it_froze_has_changed() -> None:
    files = stored({DAY: WHOLE})
    assert broken(versions.lock(verified(), [frozen(files)], files)) == []
    assert len(broken(versions.lock(verified(PROBLEM), [frozen(files)], files))) == 1
    for changed in ({DAY: WHOLE[1:]}, {}, {DAY: WHOLE, NEXT_DAY: WHOLE}):
        assert len(broken(versions.lock(verified(), [frozen(files)], stored(changed)))) == 1
        places = {*files.days, *changed}
        problems = [IntegrityProblem(data_path(day), Damage.ALTERED, "differs") for day in places]
        assert broken(versions.lock(verified(*problems), [frozen(files)], stored(changed))) == []


def test_a_lock_verifies_only_if_its_aggregates_and_official_days_are_the_same() -> None:
    days, other = stored({DAY: WHOLE}).contents, bars_file(WHOLE[1:])
    for path in ("aggregates/timeframe=5m/symbol=AAA/year=2024/month=03.parquet", official_path(DAY)):
        before = StoreFiles.of({**days, path: bars_file(WHOLE)})
        for after in (StoreFiles.of({**days, path: other}), StoreFiles.of(days)):
            assert broken(versions.lock(verified(), [frozen(before)], after)) == [
                f"the lock verifies, and {path} is another or gone"
            ]


def test_a_lock_names_the_day_that_has_come_and_not_another_file_alone() -> None:
    files, later = stored({DAY: WHOLE}), stored({DAY: WHOLE, NEXT_DAY: WHOLE})
    of_the_year = IntegrityProblem("official/symbol=AAA/year=2024.parquet", Damage.ALTERED, "differs")
    assert len(broken(versions.lock(verified(of_the_year), [frozen(files)], later))) == 1


def test_a_day_outside_of_a_lock_may_change() -> None:
    files, later = stored({DAY: WHOLE}), {DAY: WHOLE, (DAY[0], "2024-03-07"): WHOLE}
    assert broken(versions.lock(verified(), [frozen(files)], stored(later))) == []


def rotted(path: str = data_path(DAY)) -> Memory:
    sound = stored({DAY: WHOLE})
    contents = {path: b"sound"} if path not in sound.contents else dict(sound.contents)
    memory, before = Memory(), StoreFiles.of(contents)
    memory.take_over(seen(step(), Ledger(), NO_FILES, before, memory), 0)
    damaged = seen(step("rot", "happened"), Ledger(), before, StoreFiles.of({path: b"rotted"}), memory)
    memory.note_damage(damaged)
    memory.take_over(damaged, 0)
    return memory


def test_verify_names_each_damaged_file() -> None:
    for path in (data_path(DAY), "revisions/symbol=AAA/year=2024/month=03/day=05.20240305T220000.000000Z.parquet"):
        named = IntegrityReport(1, 1, (IntegrityProblem(path, Damage.ALTERED, "differs"),))
        assert broken(integrity.verify(named, rotted(path))) == []
        assert broken(integrity.verify(IntegrityReport(1, 1, ()), rotted(path))) == [
            f"{path} is damaged, and verify does not name it"
        ]


def test_a_file_is_named_with_its_folder_only_if_verify_says_that_the_files_in_it_may_be_unchecked() -> None:
    folder = data_path(DAY).rpartition("/year=")[0]
    for reason, found in (("a link is broken. Other files of AAA may not have been checked", 0), ("differs", 1)):
        named = IntegrityReport(1, 1, (IntegrityProblem(folder, Damage.UNREADABLE, reason),))
        assert len(broken(integrity.verify(named, rotted()))) == found


def test_verify_need_not_name_a_file_of_which_nothing_was_recorded() -> None:
    memory = rotted()
    memory.proven.clear()
    assert broken(integrity.verify(IntegrityReport(1, 1, ()), memory)) == []


def test_verify_names_nothing_if_nothing_ever_went_wrong() -> None:
    report = IntegrityReport(1, 1, (PROBLEM,))
    assert len(broken(integrity.verify(report, Memory()))) == 1
    assert broken(integrity.verify(report, Memory(is_machine_well=False))) == []


def test_verify_names_what_a_dead_process_left() -> None:
    path = "data/symbol=AAA/.day=05.parquet.x-1.tmp"
    files, leftover = StoreFiles.of({path: b""}), IntegrityProblem(path, Damage.LEFTOVER, "was left")
    assert broken(integrity.leftovers(IntegrityReport(1, 1, (leftover,)), files)) == []
    assert len(broken(integrity.leftovers(IntegrityReport(1, 1, ()), files))) == 1


def test_verify_names_a_folder_that_a_dead_process_left_for_all_that_is_in_it() -> None:
    folder = "revisions/.exchange.x-1.tmp"
    files = StoreFiles.of({f"{folder}/symbol=AAA/.day=05.parquet.x-2.tmp": b""})
    for named, wrong in ((folder, 0), (f"{folder}/symbol=AAA", 1), ("revisions", 1)):
        report = IntegrityReport(1, 1, (IntegrityProblem(named, Damage.LEFTOVER, "was left"),))
        assert len(broken(integrity.leftovers(report, files))) == wrong


def test_bars_of_a_timeframe_are_those_that_the_reference_makes() -> None:
    memory = Memory(stored({DAY: [row(0), row(1, 101.0), row(7)]}))
    at, wanted = row(0)[0], [(DAY, "5m")]
    made = [(at, 100.0, 102.0, 99.0, 101.0, 1000.0, 14, 100.5), (row(5)[0], *row(7)[1:])]
    assert broken(derived.aggregate(Readings({("bucket", DAY, "5m"): made}), wanted, memory)) == []
    for wrong in (made[:1], [made[0], (*made[1][:4], 98.0, *made[1][5:])]):
        assert len(broken(derived.aggregate(Readings({("bucket", DAY, "5m"): wrong}), wanted, memory))) == 1


def test_aggregates_are_fresh_when_a_command_has_made_those_of_all_symbols() -> None:
    for kind, what, is_fresh in (
        ("update", {}, True),
        ("update", {"symbols": "AAA"}, False),
        ("audit adopt", {}, False),
    ):
        memory, step_of = Memory(), step(value=report({DAY: DayOutcome.COMPLETE}))
        made = evolve(step_of, step=evolve(step_of.step, kind=kind, what=what))
        memory.take_over(seen(made, Ledger(), NO_FILES, stored({DAY: WHOLE}), memory), 0)
        assert memory.is_fresh is is_fresh


def test_a_daily_bar_is_that_of_the_regular_session_with_its_auction() -> None:
    found = derived.made_of([row(-30, 90.0), row(0), row(389, 102.0), row(390, 103.0)], "1d")
    assert [bar[1:5] for bar in found] == [(100.0, 103.0, 99.0, 103.0)]


def test_a_day_of_which_the_official_days_cannot_be_read_may_have_no_daily_bar_of_its_minutes() -> None:
    memory, wanted = Memory(stored({DAY: [row(0)]})), [(DAY, "1d")]
    nothing: dict[Any, Any] = {("bucket", DAY, "1d"): []}
    assert len(broken(derived.aggregate(Readings(nothing), wanted, memory))) == 1
    unread = Readings({**nothing, ("official",): StorageError("it is not a file")})
    assert broken(derived.aggregate(unread, wanted, memory)) == []


def test_an_official_day_was_said() -> None:
    said = {DAY[0]: {row(0)}}
    assert broken(derived.official({DAY: [row(0)]}, said)) == []
    assert len(broken(derived.official({DAY: [row(0, 101.0)]}, said))) == 1


def test_coverage_knows_no_official_days_of_a_file_that_verify_names() -> None:
    problem = IntegrityProblem("official/symbol=AAA/year=2024.parquet", Damage.UNRECORDED, "the state does not know it")
    whole, named = IntegrityReport(1, 1, ()), IntegrityReport(1, 1, (problem,))
    assert derived.recorded_official_days({DAY: [row(0)]}, whole, Memory()) == {DAY: [row(0)]}
    assert derived.recorded_official_days({DAY: [row(0)]}, named, Memory()) == {}


def test_coverage_knows_no_official_day_that_the_provider_took_back_and_a_broken_machine_could_not_remove() -> None:
    whole, memory, ledger = IntegrityReport(1, 1, ()), Memory(), Ledger()

    def known() -> list[Day]:
        return [*derived.recorded_official_days({DAY: [row(0)]}, whole, memory)]

    for rows, is_known in (([row(0)], True), ([], False)):
        tell(ledger, DAY, rows)
        memory.take_over(evolve(seen(step(), ledger, NO_FILES, NO_FILES, memory), of_days=ledger.words_since(0)), 0)
        memory.is_machine_well = False
        assert known() == [DAY] * is_known
    memory.is_machine_well = True
    assert known() == [DAY], "so it must have been removed"


def test_nobody_misses_a_lost_file_of_a_symbol_that_was_dropped_since() -> None:
    def unnamed_after_a_drop_of(symbol: str, ended: str = "returned") -> list[str]:
        memory, sound = Memory(), stored({DAY: WHOLE})
        memory.take_over(seen(step(), Ledger(), NO_FILES, sound, memory), 0)
        memory.note_damage(seen(step("file lost", "happened"), Ledger(), sound, NO_FILES, memory))
        dropped = Outcome(Step(2, str(EVENING), "drop", {"symbols": symbol}), ended, EVENING, EVENING, "p1")
        memory.note_damage(seen(dropped, Ledger(), NO_FILES, NO_FILES, memory))
        return broken(integrity.verify(IntegrityReport(1, 1, ()), memory))

    assert unnamed_after_a_drop_of("BBB") == [f"{data_path(DAY)} is damaged, and verify does not name it"]
    assert unnamed_after_a_drop_of("AAA") == []
    assert unnamed_after_a_drop_of("AAA", "killed") == []


@pytest.mark.parametrize(("ended", "is_missed"), [("returned", True), ("raised", False), ("killed", False)])
def test_nobody_misses_a_file_that_is_lost_after_a_recovery_that_did_not_come_to_its_end(
    ended: str, is_missed: bool
) -> None:
    memory, sound = Memory(), stored({DAY: WHOLE})
    memory.take_over(seen(step(), Ledger(), NO_FILES, sound, memory), 0)
    recovered = Outcome(Step(2, str(EVENING), "recover force", {}), ended, EVENING, EVENING, "p1")
    memory.take_over(seen(recovered, Ledger(), sound, sound, memory), 0)
    memory.note_damage(seen(step("folder moved", "happened"), Ledger(), sound, NO_FILES, memory))
    missed = [f"{data_path(DAY)} is damaged, and verify does not name it"]
    assert broken(integrity.verify(IntegrityReport(1, 1, ()), memory)) == missed * is_missed


def test_nobody_misses_a_lost_official_day_that_the_provider_has_no_more() -> None:
    sound = StoreFiles.of({official_path(DAY): bars_file([row(0)])})

    def unnamed(rows: list[Row]) -> list[str]:
        memory, ledger = Memory(), Ledger()
        memory.take_over(seen(step(), ledger, NO_FILES, sound, memory), 0)
        memory.note_damage(seen(step("file lost", "happened"), ledger, sound, NO_FILES, memory))
        tell(ledger, DAY, rows)
        asked = evolve(seen(step("ingest"), Ledger(), NO_FILES, NO_FILES, memory), of_days=ledger.words_since(0))
        memory.note_damage(asked)
        return broken(integrity.verify(IntegrityReport(1, 1, ()), memory))

    assert unnamed([row(0)]) == [f"{official_path(DAY)} is damaged, and verify does not name it"]
    assert unnamed([]) == []


def test_nobody_misses_a_lost_day_that_was_reported_empty_since() -> None:
    def unnamed(outcome: DayOutcome, rows: list[Row], kind: str = "ingest") -> list[str]:
        memory, ledger, sound = Memory(), Ledger(), stored({DAY: WHOLE})
        memory.take_over(seen(step(), ledger, NO_FILES, sound, memory), 0)
        memory.note_damage(seen(step("file lost", "happened"), ledger, sound, NO_FILES, memory))
        tell(ledger, DAY, rows)
        value = report({DAY: outcome}) if kind == "ingest" else None
        memory.note_damage(seen(step(kind, value=value), ledger, NO_FILES, NO_FILES, memory))
        return broken(integrity.verify(IntegrityReport(1, 1, ()), memory))

    missed = [f"{data_path(DAY)} is damaged, and verify does not name it"]
    assert unnamed(DayOutcome.EMPTY, []) == []
    assert unnamed(DayOutcome.FAILED, []) == missed
    assert unnamed(DayOutcome.FAILED, [row(0)]) == missed
    assert unnamed(DayOutcome.FAILED, [], "get") == []
