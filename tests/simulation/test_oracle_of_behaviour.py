"""The checks ``asked again``, ``rate``, ``lease``, ``ends``, ``words`` and ``leftovers`` catch what they should."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from attrs import evolve

from marketpipe.ingestion.domain.official_days import OfficialDaysReport
from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Outcome as DayOutcome
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from tests.simulation.ledger import Ledger
from tests.simulation.oracle import behaviour
from tests.simulation.oracle.files import NO_FILES, StoreFiles
from tests.simulation.oracle.memory import Memory
from tests.simulation.outcome import Outcome
from tests.simulation.seen_by_hand import DAY, EVENING, broken, report, row, seen, step, stored, tell

WHOLE = [row(0), row(15)]
SYMBOL_DAY = SymbolDay(Symbol(DAY[0]), TradingDate.parse(DAY[1]))


def after(outcome: Outcome, now: StoreFiles = NO_FILES) -> behaviour.Seen:
    return seen(outcome, Ledger(), NO_FILES, now)


def lasting(outcome: Outcome, seconds: float) -> Outcome:
    return evolve(outcome, over=outcome.began.plus(timedelta(seconds=seconds)))


def test_a_run_ends_in_a_bounded_time_and_number_of_calls() -> None:
    assert broken(behaviour.ends(after(step(calls=Counter(stat=1000))))) == []
    assert broken(behaviour.ends(after(step(ended="stuck")))) == ["update of p1 waits for ever"]
    assert broken(behaviour.ends(after(step(calls=Counter(stat=300_000))))) == ["update of p1 made 300,000 calls"]
    assert broken(behaviour.ends(after(lasting(step(), 50_000)))) == ["update of p1 took 13.9 hours"]


def test_what_is_raised_is_an_error_of_marketpipe_with_a_message() -> None:
    good = step(ended="raised", error=StorageError("cannot write x: No space left on device"))
    assert broken(behaviour.words(after(good))) == []
    for error in (KeyError("x"), OSError(5, "I/O error"), StorageError("")):
        assert len(broken(behaviour.words(after(step(ended="raised", error=error))))) == 1


def test_a_complete_day_is_not_asked_for_again() -> None:
    ledger, files = Ledger(), stored({DAY: WHOLE})
    tell(ledger, DAY, WHOLE)
    memory = Memory(files, was_complete={DAY: files.days[DAY]})
    plain = step("ingest", value=report({}))
    asked_again = list(ledger.asked_since(0))
    assert broken(behaviour.asked_again(seen(plain, ledger, files, files), memory, asked_again)) == [
        "AAA 2024-03-05 was complete, and its minutes were requested"
    ]
    for allowed in (step("ingest retry", value=report({})), step("update", value=report({}))):
        assert broken(behaviour.asked_again(seen(allowed, ledger, files, files), memory, asked_again)) == []


def test_a_complete_day_whose_official_day_has_changed_may_be_asked_for() -> None:
    ledger, files = Ledger(), stored({DAY: WHOLE})
    tell(ledger, DAY, WHOLE)
    changed = step("ingest", value=report({}, official=OfficialDaysReport(1, 1, changed=(SYMBOL_DAY,))))
    memory = Memory(files, was_complete={DAY: files.days[DAY]})
    asked = list(ledger.asked_since(0))
    assert broken(behaviour.asked_again(seen(changed, ledger, files, files), memory, asked)) == []


def test_a_day_is_settled_once_it_was_reported_complete_and_as_long_as_its_file_stays() -> None:
    ledger, files, memory = Ledger(), stored({DAY: WHOLE}), Memory()
    reported = seen(step(value=report({DAY: DayOutcome.COMPLETE})), ledger, NO_FILES, files, memory)
    memory.take_over(reported, 0)
    assert set(memory.was_complete) == {DAY}
    memory.take_over(seen(step("verify"), ledger, files, stored({DAY: WHOLE[:1]}), memory), 0)
    assert memory.was_complete == {}


def test_no_minute_has_more_requests_than_the_limit() -> None:
    second = 1_000_000
    assert broken(behaviour.rate(2, [0, second, 60 * second, 61 * second])) == []
    assert len(broken(behaviour.rate(2, [0, second, 59 * second]))) == 1


def test_a_command_that_runs_alone_waits_for_no_dead_process() -> None:
    assert broken(behaviour.lease(after(lasting(step(), 100)), 200, [])) == []
    assert broken(behaviour.lease(after(lasting(step(), 590)), 200, [])) == [
        "update of p1 took 590 s for 0 requests, though nobody else runs"
    ]
    beside = evolve(lasting(step(), 590), beside=(step(),))
    assert broken(behaviour.lease(after(beside), 200, [])) == []


def test_a_command_that_was_refused_by_the_server_may_take_longer() -> None:
    ledger = Ledger()
    tell(ledger, DAY, [], status=429, bars=None)
    assert broken(behaviour.lease(after(lasting(step(), 590)), 200, list(ledger.asked_since(0)))) == []


def test_an_update_leaves_no_temporary_file_in_a_folder_that_it_wrote_to() -> None:
    files = stored({DAY: WHOLE})
    left = {**files.contents, "data/symbol=AAA/year=2024/month=03/.day=05.parquet.x-1.tmp": b""}
    elsewhere = {**files.contents, "data/symbol=AAA/year=2024/month=02/.day=05.parquet.x-1.tmp": b""}
    assert len(broken(behaviour.leftovers(after(step(), StoreFiles.of(left))))) == 1
    assert broken(behaviour.leftovers(after(step(), StoreFiles.of(elsewhere)))) == []
    assert broken(behaviour.leftovers(after(step(ended="killed"), StoreFiles.of(left)))) == []


def test_the_moments_of_requests_are_those_at_which_the_server_counted_them() -> None:
    ledger = Ledger()
    tell(ledger, DAY, WHOLE)
    assert [answer.at for _, answer in ledger.asked_since(0)] == [EVENING]


def test_in_a_calm_world_no_day_fails() -> None:
    failed = report({DAY: DayOutcome.FAILED})
    ((day, outcome),) = failed.outcomes.items()
    reasons = {"cannot write": 1, "the provider returned no bars, but 3 bars are stored; they are kept": 0}
    for reason, wrong in reasons.items():
        ended = step(value=evolve(failed, outcomes={day: evolve(outcome, error=reason)}))
        assert len(broken(behaviour.ends_well(after(ended)))) == wrong
        ill = after(ended)
        ill.memory.is_provider_well = False
        assert broken(behaviour.ends_well(ill)) == []
