"""The checks ``verdict``, ``ok over a loss`` and ``heals`` catch what they are there for."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from marketpipe.ingestion.domain.coverage.verdict import Finding, SessionVerdict, Suspicion, Verdict
from marketpipe.shared_kernel.domain.symbol import Outcome as DayOutcome
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.integrity import Damage, IntegrityProblem, IntegrityReport
from tests.simulation.exchange import all_sessions
from tests.simulation.ledger import Ledger
from tests.simulation.oracle import healing, integrity, verdicts
from tests.simulation.oracle.files import NO_FILES, StoreFiles, data_path
from tests.simulation.oracle.memory import Memory
from tests.simulation.rows import Day, Row
from tests.simulation.seen_by_hand import DAY, EVENING, broken, report, row, seen, step, stored, tell

WHOLE = [row(0), row(15), row(30)]
NEXT_EVENING = Timestamp.parse("2024-03-07T02:00:00Z")


def remembered(files: StoreFiles, *answers: Sequence[Row], at: Timestamp = EVENING) -> Memory:
    ledger, memory = Ledger(), Memory()
    for number, rows in enumerate(answers):
        tell(ledger, DAY, rows, process=f"p{number}", at=at)
    memory.take_over(seen(step(), ledger, NO_FILES, files, memory), ledger.count)
    return memory


def covered(verdict: Verdict, day: Day = DAY, bars: int = 3, suspicion: Suspicion | None = None) -> Any:
    key = SymbolDay(Symbol(day[0]), TradingDate.parse(day[1]))
    return SimpleNamespace(days=lambda: [SessionVerdict(key, Finding(verdict, "why", suspicion), bars)])


def wrong(verdict: Verdict, memory: Memory, bars: int = 3) -> list[str]:
    judged = list(verdicts.judged(covered(verdict, bars=bars), memory, NEXT_EVENING))
    return broken(verdicts.verdict(judged, "regular", 2))


def test_a_complete_day_is_what_the_provider_said_after_its_end() -> None:
    files = stored({DAY: WHOLE})
    assert wrong(Verdict.COMPLETE, remembered(files, WHOLE)) == []
    assert "no final word agrees" in wrong(Verdict.COMPLETE, remembered(files, [*WHOLE, row(45)]))[0]
    early = remembered(files, WHOLE, at=Timestamp.parse("2024-03-05T18:00:00Z"))
    assert "never gave a whole answer after its end" in wrong(Verdict.COMPLETE, early)[0]


def test_a_complete_day_without_its_file_is_found() -> None:
    assert wrong(Verdict.COMPLETE, remembered(NO_FILES, WHOLE)) == [
        "AAA 2024-03-05 is complete, and coverage has 3 bars where 0 are stored"
    ]


def test_a_day_without_bars_has_no_file_and_a_silent_final_word() -> None:
    for verdict in (Verdict.EMPTY, Verdict.UNLISTED):
        assert wrong(verdict, remembered(NO_FILES, [])) == []
        assert "has never said after its end that it has no bars" in wrong(verdict, remembered(NO_FILES, WHOLE))[0]
        assert "3 bars are stored" in wrong(verdict, remembered(stored({DAY: WHOLE}), []))[0]


def test_a_short_day_was_answered_often_enough() -> None:
    files = stored({DAY: WHOLE})
    assert len(wrong(Verdict.SHORT, remembered(files, WHOLE))) == 1
    assert wrong(Verdict.SHORT, remembered(files, WHOLE, WHOLE)) == []
    assert wrong(Verdict.SHORT, remembered(files, WHOLE[1:], WHOLE)) == [
        "AAA 2024-03-05 is short, and no answer came 2 times: heard: 2, 3"
    ]


def test_a_day_that_verify_has_named_is_not_complete_as_long_as_its_bytes_are_the_same() -> None:
    files = stored({DAY: WHOLE})
    for content, verdict, found in (
        (files.days[DAY], Verdict.COMPLETE, ["verify called AAA 2024-03-05 damaged, and it is complete"]),
        (files.days[DAY], Verdict.MISSING, []),
        (b"other", Verdict.COMPLETE, []),
    ):
        assert broken(integrity.marked(covered(verdict), Memory(files, named={DAY: content}))) == found


def test_a_final_session_is_not_pending() -> None:
    assert wrong(Verdict.PENDING, remembered(NO_FILES)) == ["AAA 2024-03-05 is pending, and its session is final"]


def test_a_session_that_is_not_final_is_not_judged() -> None:
    judged = verdicts.judged(covered(Verdict.PENDING), remembered(NO_FILES), Timestamp.parse("2024-03-06T01:15:00Z"))
    assert list(judged) == []


def test_an_empty_day_whose_official_day_has_volume_is_a_loss() -> None:
    judged = list(verdicts.judged(covered(Verdict.EMPTY), remembered(NO_FILES, []), NEXT_EVENING))
    busy, quiet = ({DAY: [(*row(0)[:5], volume, 1, 1.0)]} for volume in (50_000.0, 20.0))
    assert len(broken(verdicts.ok_over_a_loss(judged, busy, "extended"))) == 1
    assert broken(verdicts.ok_over_a_loss(judged, quiet, "extended")) == []
    assert broken(verdicts.ok_over_a_loss(judged, {}, "extended")) == []


OTHERS = [f"2024-{day}" for day in ("02-27", "02-28", "02-29", "03-01", "03-04", "03-06", "03-07", "03-08", "03-18")]
OTHERS += [f"2024-03-{day}" for day in range(11, 16)]


def losses(odd: verdicts.Judged, others: Sequence[Row], *official: Row | None, session: str = "extended") -> list[str]:
    """Judge a day among 14 others. ``official`` is that of the others, then that of the day, if it is another."""
    days = [*(_complete((DAY[0], date), moved(others, date)) for date in OTHERS), odd]
    found = {each.day: [day] for each in days if (day := official[-1 if each is odd else 0])}
    return broken(verdicts.ok_over_a_loss(days, found, session))


def moved(rows: Sequence[Row], date: str) -> list[Row]:
    later = all_sessions()[date].opens.epoch_micros - all_sessions()[DAY[1]].opens.epoch_micros
    return [(at + later, *rest) for at, *rest in rows]  # type: ignore[misc]


def official_day(volume: float, close: float = 100.0) -> Row:
    return (0, close, close, close, close, volume, 1, 1.0)


def test_half_a_day_among_whole_ones_is_a_loss() -> None:
    busy = [(*each[:5], 5_000.0, 1, 1.0) for each in WHOLE]
    day = official_day(15_000.0)
    assert losses(_complete(DAY, busy), busy, day) == []
    assert losses(_complete(DAY, busy[:1]), busy, day) == [
        "AAA 2024-03-05 is complete with 33% of its official volume; 14 others have all"
    ]
    assert losses(_complete(DAY, busy[:1]), busy, day, session="regular") == []
    assert losses(_complete(DAY, busy[:1]), busy[:1], day) == []


def test_another_close_than_the_official_one_is_a_loss_if_all_others_agree() -> None:
    day, other = official_day(1_500.0), official_day(1_500.0, 103.0)
    assert losses(_complete(DAY, WHOLE), WHOLE, day) == []
    assert losses(_complete(DAY, WHOLE), WHOLE, other, session="regular") == []
    assert losses(_complete(DAY, WHOLE), WHOLE, day, other, session="regular") == [
        "AAA 2024-03-05 is complete, its close is 2.9% off the official one; 14 others agree"
    ]


def test_an_hour_without_bars_of_a_dense_symbol_is_a_loss_unless_the_official_volume_refutes_it() -> None:
    dense = [row(minute) for minute in range(390)]
    hole = _complete(DAY, dense[:200] + dense[270:])
    assert losses(hole, dense, None) == [
        "AAA 2024-03-05 is complete without a bar in 70 minutes; 14 sessions around have all"
    ]
    volume = 500.0 * 390
    assert losses(hole, dense, official_day(volume), session="regular") == losses(hole, dense, None)
    assert losses(hole, dense, official_day(volume), official_day(volume - 35_000.0)) == []
    assert losses(_complete(DAY, dense[:200] + dense[230:]), dense, None) == []
    assert losses(_complete(DAY, WHOLE), dense, None) == []


def _complete(day: Day, rows: Sequence[Row]) -> verdicts.Judged:
    (each,) = covered(Verdict.COMPLETE, day).days()
    return verdicts.Judged(day, each, (), tuple(rows), frozenset())


def healed(files: StoreFiles, answer: Sequence[Row], *problems: IntegrityProblem, **coverage: Any) -> list[str]:
    ledger = Ledger()
    tell(ledger, DAY, answer)
    report = covered(**{"verdict": Verdict.COMPLETE, **coverage})
    found = healing.Healed(ledger.words_since(0), files, report, IntegrityReport(1, 1, problems))
    return broken(healing.heals(found, Memory(), "regular", NEXT_EVENING.epoch_micros))


def test_after_calm_commands_the_store_has_what_the_provider_says() -> None:
    assert healed(stored({DAY: WHOLE}), WHOLE) == []
    assert len(healed(stored({DAY: WHOLE[1:]}), WHOLE)) == 1
    assert len(healed(stored({DAY: WHOLE}), WHOLE[1:])) == 1
    assert len(healed(stored({DAY: WHOLE}), [])) == 1


def test_a_bar_that_no_rule_lets_pass_need_not_be_in_quarantine_after_an_audit() -> None:
    at, first, _, *rest = WHOLE[0]
    assert healed(stored({DAY: WHOLE}), [(at, first, 0.01, *rest), *WHOLE[1:]]) == []


def test_after_calm_commands_nothing_is_damaged_or_missing() -> None:
    altered = IntegrityProblem(data_path(DAY), Damage.ALTERED, "differs")
    foreign = IntegrityProblem("data/x", Damage.FOREIGN, "is not a file of a store")
    assert len(healed(stored({DAY: WHOLE}), WHOLE, altered)) == 1
    assert healed(stored({DAY: WHOLE}), WHOLE, foreign) == []
    assert len(healed(stored({DAY: WHOLE}), WHOLE, verdict=Verdict.MISSING)) == 1
    assert len(healed(stored({DAY: WHOLE}), WHOLE, verdict=Verdict.SUSPECT, suspicion=Suspicion.ALTERED)) == 1
    assert healed(stored({DAY: WHOLE}), WHOLE, verdict=Verdict.SUSPECT, suspicion=Suspicion.HOLES) == []


def test_what_was_reported_complete_stays_complete_while_nothing_is_said_of_it() -> None:
    ledger, memory, files = Ledger(), Memory(), stored({DAY: WHOLE})
    tell(ledger, DAY, WHOLE)
    ended = step(value=report({DAY: DayOutcome.COMPLETE}))
    memory.take_over(seen(ended, ledger, NO_FILES, files, memory), ledger.count)
    memory.take_over(seen(step("power loss", "happened"), Ledger(), files, files, memory), ledger.count)
    for verdict, suspicion, wrong in (
        (Verdict.COMPLETE, None, 0),
        (Verdict.MISSING, None, 1),
        (Verdict.SUSPECT, Suspicion.UNRECORDED, 1),
        (Verdict.SUSPECT, Suspicion.HOLES, 0),
    ):
        judged = list(verdicts.judged(covered(verdict, suspicion=suspicion), memory, NEXT_EVENING))
        assert len(broken(verdicts.still_complete(judged, memory))) == wrong
    memory.take_over(seen(step("verify"), ledger, files, files, memory), ledger.count)
    assert memory.reported == set()
