"""What the oracle says of former versions, hung processes and foreign answers catches what it should."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

from attrs import evolve

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.storage.domain.integrity import Damage, IntegrityProblem, IntegrityReport
from tests.simulation.ledger import DAYS, Asked, Delivered, Ledger
from tests.simulation.oracle import behaviour, former, integrity
from tests.simulation.oracle.files import NO_FILES, StoreFiles
from tests.simulation.oracle.memory import Memory, Seen
from tests.simulation.oracle.readings import Readings
from tests.simulation.outcome import Outcome
from tests.simulation.seen_by_hand import DAY, EVENING, bars_file, broken, in_json, report, row, seen, step
from tests.simulation.story import Step

PLACE = "revisions/symbol=AAA/year=2024/month=03/day=05"
OLD, NEW = bars_file([row(0)]), bars_file([row(0), row(15)])
OFFICIAL = {DAY: [row(0)]}


def revisions(**of_moments: bytes) -> StoreFiles:
    return StoreFiles.of({f"{PLACE}.20240306T{moment[1:]}.000000Z.parquet": it for moment, it in of_moments.items()})


def changed(before: StoreFiles, now: StoreFiles, kind: str = "audit adopt") -> list[str]:
    return broken(former.unchanged(seen(step(kind), Ledger(), before, now)))


def test_a_revision_never_changes_and_new_ones_are_later() -> None:
    before = revisions(m020000=OLD)
    assert changed(before, revisions(m020000=OLD, m030000=NEW)) == []
    assert len(changed(before, revisions(m020000=NEW))) == 1
    assert len(changed(before, NO_FILES)) == 1
    assert changed(before, NO_FILES, "drop") == []
    assert len(changed(before, revisions(m020000=OLD, m010000=NEW))) == 1


def test_a_former_version_is_read_at_the_very_moment_since_which_it_is_known() -> None:
    (reading,) = former.just_known(Memory(revisions(m020000=OLD)), Random(1))
    assert (str(reading.as_of), reading.days) == ("2024-03-06T02:00:00Z", {DAY: (row(0),)})
    assert former.just_known(Memory(revisions(m020000=OLD), is_machine_well=False), Random(1)) == []


def of_officials(past: former.OfficialPast, days: Any) -> list[str]:
    return broken(past.as_of(Readings({("official as of", past.readings[0].as_of): days})))


def test_official_days_of_a_former_moment_are_those_of_then() -> None:
    past, ledger = former.OfficialPast(), Ledger()
    reading = former.OfficialReading(str(EVENING), ledger.count, DAY[1], DAY[1], frozenset([DAY[0]]), OFFICIAL)
    past.remember(reading, Memory())
    assert of_officials(past, OFFICIAL) == []
    assert len(of_officials(past, {})) == 1
    assert len(broken(past.kept(evolve(reading, days={}), ledger, Memory()))) == 1
    asked = Asked("p1", (DAY[0],), EVENING.plus(-timedelta(days=1)), EVENING, DAYS)
    ledger.delivered(asked, Delivered(EVENING, bars={DAY[0]: in_json([row(15)])}))
    assert broken(past.kept(evolve(reading, days={}), ledger, Memory())) == []


def test_official_days_that_were_not_asked_for_at_a_former_moment_may_have_been_there() -> None:
    past, ledger = former.OfficialPast(), Ledger()
    reading = former.OfficialReading(str(EVENING), 0, DAY[1], DAY[1], frozenset(["BBB"]), {})
    past.remember(reading, Memory())
    found = Readings({("official as of", str(EVENING)): OFFICIAL})
    assert broken(past.as_of(found)) == []
    past.remember(evolve(reading, symbols=frozenset([DAY[0]])), Memory())
    assert len(broken(past.as_of(found))) == 1
    past.remember(evolve(reading, symbols=frozenset([DAY[0]]), days=OFFICIAL), Memory())
    assert broken(past.kept(reading, ledger, Memory())) == []


def test_damage_ends_no_reading_of_official_days_unless_a_recovery_gives_them_up() -> None:
    past, ledger = former.OfficialPast(), Ledger()
    reading = former.OfficialReading(str(EVENING), 0, DAY[1], DAY[1], frozenset([DAY[0]]), OFFICIAL)
    past.remember(reading, Memory())
    damaged = Memory(is_machine_well=False, ever_damaged={"revisions/x"})
    past.begins(seen(step("file lost"), ledger, NO_FILES, NO_FILES, damaged))
    assert len(of_officials(past, {})) == 1
    assert broken(past.as_of(Readings({("official as of", str(EVENING)): StorageError("it was lost")}))) == []
    assert broken(past.kept(evolve(reading, days={}), ledger, damaged)) == []
    past.remember(evolve(reading, days={}), damaged)
    assert past.readings == [reading]
    past.begins(seen(step("recover force"), ledger, NO_FILES, NO_FILES, damaged))
    assert past.readings == []


def verified(
    *problems: IntegrityProblem, files: int = 1, memory: Memory | None = None, beside: tuple[Outcome, ...] = ()
) -> list[str]:
    outcome = step("verify", value=IntegrityReport(files, 1, problems, (), 0), beside=beside)
    return broken(integrity.verify_of_a_step(seen(outcome, Ledger(), NO_FILES, NO_FILES, memory)))


def test_verify_beside_others_finds_nothing_where_nothing_is_wrong_and_looks_at_something() -> None:
    problem = IntegrityProblem("data/x", Damage.UNRECORDED, "is not recorded")
    assert verified() == []
    assert len(verified(problem)) == 1
    assert verified(problem, memory=Memory(is_machine_well=False)) == []
    assert verified(files=0) == ["verify is ok, and has looked at no file"]


def test_verify_beside_a_recovery_knows_files_that_the_new_state_does_not_know_yet() -> None:
    unknown, altered = (
        IntegrityProblem("data/x", damage, "is not as it was") for damage in (Damage.UNRECORDED, Damage.ALTERED)
    )
    assert verified(unknown, beside=(step("recover force"),)) == []
    assert len(verified(altered, beside=(step("recover force"),))) == 1
    assert len(verified(unknown, beside=(step("aggregate"),))) == 1


def test_a_kill_alters_no_file_whose_digest_is_recorded_before() -> None:
    memory = Memory(is_machine_well=False)
    for path, count in (("data/x", 0), ("quarantine/x", 1)):
        found = IntegrityReport(1, 1, (IntegrityProblem(path, Damage.ALTERED, "was altered"),), (), 0)
        assert len(broken(integrity.verify(found, memory))) == count
    memory.is_disk_well = False
    assert broken(integrity.verify(found, memory)) == []


def hung(seconds: float, happened: str = "pause 5000 at GET 2") -> Seen:
    other = Outcome(
        Step(2, str(EVENING), "ingest"), "returned", EVENING, EVENING.plus(timedelta(seconds=seconds)), "p2"
    )
    return seen(step("ingest", happened=(happened,), beside=(other,)), Ledger(), NO_FILES, NO_FILES)


def test_nobody_waits_longer_than_a_lease_for_a_process_that_hangs() -> None:
    assert broken(behaviour.lease_of_the_paused(hung(700), 200, ())) == []
    assert len(broken(behaviour.lease_of_the_paused(hung(2_000), 200, ()))) == 1
    assert broken(behaviour.lease_of_the_paused(hung(2_000, "pause 5000 at sql COMMIT 2"), 200, ())) == []


def test_an_answer_with_bars_that_nobody_asked_for_does_not_say_that_there_are_none() -> None:
    ledger = Ledger()
    asked = Asked("p1", (DAY[0],), EVENING.plus(-timedelta(days=1)), EVENING)
    ledger.delivered(asked, Delivered(EVENING, bars={"aaa": in_json([row(0)])}))
    (word,) = ledger.words_since(0)[DAY]
    assert (word.rows, word.is_whole) == ((), False)


def test_after_an_ingestion_of_everything_each_stored_day_is_durable() -> None:
    memory = Memory(possible={DAY: [None, (row(0),)]})
    files = StoreFiles.of({"data/symbol=AAA/year=2024/month=03/day=05.parquet": OLD})
    memory.take_over(seen(step("ingest", value=report({})), Ledger(), files, files, memory), 0)
    assert memory.possible[DAY] == [(row(0),)]
