"""The checks of what commands say and leave catch what they are there for, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
from attrs import evolve

from marketpipe.ingestion.domain.official_days import OfficialDaysReport
from marketpipe.reports import AuditReport
from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from marketpipe.shared_kernel.domain.symbol import Outcome as DayOutcome
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.integrity import Damage as Problem
from marketpipe.storage.domain.integrity import IntegrityProblem, IntegrityReport
from tests.simulation.exchange import all_sessions
from tests.simulation.ledger import DAYS, Asked, Delivered, Ledger, Word
from tests.simulation.oracle import behaviour, commands
from tests.simulation.oracle.files import NO_FILES, StoreFiles, day_path, official_path, quarantine_path
from tests.simulation.oracle.memory import Damage, Memory, Seen
from tests.simulation.outcome import Outcome
from tests.simulation.rows import Day, Row
from tests.simulation.seen_by_hand import (
    DAY,
    EVENING,
    bars_file,
    broken,
    in_json,
    report,
    row,
    seen,
    step,
    stored,
    tell,
)

WHOLE = [row(0), row(15), row(30)]
OTHER: Day = ("BBB", DAY[1])
SYMBOL_DAY = SymbolDay(Symbol(DAY[0]), TradingDate.parse(DAY[1]))
COMPLETE, EMPTY = report({DAY: DayOutcome.COMPLETE}), report({DAY: DayOutcome.EMPTY})
NO_BAR = (*row(15)[:2], 0.01, *row(15)[3:])
MIDNIGHT = (TradingDate.parse(DAY[1]).midnight.epoch_micros, *row(0)[1:])


def heard(*answers: list[Row]) -> Ledger:
    ledger = Ledger()
    for number, rows in enumerate(answers):
        tell(ledger, DAY, rows, process=f"p{number}")
    return ledger


def audited(comparison: DayComparison) -> Outcome:
    return step("audit", value=AuditReport({SYMBOL_DAY: comparison}, {}, (), 1, 0.1))


def test_an_audit_names_the_days_that_differ_and_no_others() -> None:
    files = stored({DAY: WHOLE})
    same, differs = DayComparison(SYMBOL_DAY, unchanged=3), DayComparison(SYMBOL_DAY, unchanged=2, removed=1)
    for said, wrong in ((WHOLE, [0, 1]), (WHOLE[:2], [1, 0]), ([*WHOLE, row(45)], [1, 0]), ([], [1, 0])):
        found = [commands.audit(seen(audited(each), heard(said), files, files)) for each in (same, differs)]
        assert [len(broken(each)) for each in found] == wrong
    beside = evolve(audited(same), beside=(step(),))
    assert broken(commands.audit(seen(beside, heard(WHOLE[:2]), files, files))) == []


def test_stored_bars_go_only_after_as_many_answers_without_bars_as_are_needed() -> None:
    files = stored({DAY: WHOLE})
    for before, wrong in (([], 1), ([WHOLE], 1), ([[]], 0), ([[], WHOLE], 1), ([WHOLE, []], 0)):
        memory = Memory(files, words={DAY: [word(rows, f"q{number}") for number, rows in enumerate(before)]})
        now = seen(step("ingest", value=EMPTY), heard([]), files, NO_FILES, memory)
        assert len(broken(commands.withdrawn(now, 2))) == wrong


def test_an_answer_without_bars_that_is_asked_for_again_at_once_is_one() -> None:
    files = stored({DAY: WHOLE})
    memory = Memory(files, words={DAY: [word([], "p0")]})
    now = seen(step("ingest", value=EMPTY), heard([]), files, NO_FILES, memory)
    assert broken(commands.withdrawn(now, 2)) == [
        "AAA 2024-03-05 lost its bars after 1 answers without bars, and 2 are needed"
    ]


def word(rows: Iterable[Row], process: str) -> Word:
    session = all_sessions()[DAY[1]]
    return Word(DAY, tuple(rows), session.extended.start, session.extended.end, EVENING, process)


def dropped(before: StoreFiles, now: StoreFiles) -> list[str]:
    outcome = step("drop")
    named = evolve(outcome, step=evolve(outcome.step, what={"symbols": DAY[0]}))
    return broken(commands.dropped(seen(named, Ledger(), before, now)))


def test_of_a_dropped_symbol_only_former_versions_are_left() -> None:
    both, other = stored({DAY: WHOLE, OTHER: WHOLE}), stored({OTHER: WHOLE})
    revision = f"revisions/{day_path(DAY).removesuffix('parquet')}20240306T020000.000000Z.parquet"
    kept = StoreFiles.of({**other.contents, revision: both.days[DAY]})
    assert dropped(both, kept) == []
    assert dropped(both, other) == ["AAA 2024-03-05 was dropped, and is no former version"]
    assert len(dropped(both, StoreFiles.of({**kept.contents, official_path(DAY): b""}))) == 1
    assert len(dropped(both, StoreFiles.of({revision: both.days[DAY]}))) == 1


def ingested(said: Iterable[Row], have: Iterable[Row], **official: Mapping[SymbolDay, str]) -> Seen:
    """Return an ingestion that has heard this of official days, after which these are stored."""
    ledger, session = Ledger(), all_sessions()[DAY[1]]
    asked = Asked("p1", (DAY[0],), TradingDate.parse(DAY[1]).midnight, session.extended.end, DAYS)
    ledger.delivered(asked, Delivered(EVENING, bars={DAY[0]: in_json(said)}))
    files = StoreFiles.of({official_path(DAY): bars_file(have)})
    outcome = step(value=report({}, official=OfficialDaysReport(1, **official)))
    return evolve(seen(outcome, ledger, NO_FILES, files), of_days=ledger.words_since(0, DAYS))


def test_an_official_day_is_what_the_provider_said_last() -> None:
    other = (MIDNIGHT[0], *row(0, 90.0)[1:])
    assert broken(commands.official(ingested([MIDNIGHT], [MIDNIGHT]))) == []
    assert broken(commands.official(ingested([], []))) == []
    for said, have in (([MIDNIGHT], [other]), ([], [MIDNIGHT]), ([MIDNIGHT], [])):
        assert len(broken(commands.official(ingested(said, have)))) == 1
        assert broken(commands.official(ingested(said, have, failures={SYMBOL_DAY: "full"}))) == []


def test_a_bar_that_is_stored_as_it_was_said_last_is_not_in_quarantine() -> None:
    now = stored({DAY: WHOLE}, {DAY: [NO_BAR]})
    found = commands.quarantine(evolve(seen(step(value=COMPLETE), heard(WHOLE), now, now)))
    assert ["is stored, and is in quarantine" in text for text in broken(found)] == [True]
    rejected = seen(step(value=COMPLETE), heard([WHOLE[0], NO_BAR, WHOLE[2]]), now, now)
    assert broken(commands.quarantine(rejected)) == []


def test_a_rejected_bar_has_a_rule_a_severity_and_a_reason() -> None:
    for reason, wrong in (("the high is below the low", 0), ("", 1), (None, 1)):
        out = BytesIO()
        pq.write_table(pa.table({"rule": ["r"], "severity": ["error"], "reason": pa.array([reason], pa.string())}), out)
        files = StoreFiles.of({quarantine_path(DAY): out.getvalue()})
        assert len(broken(commands.quarantine(seen(step(), Ledger(), NO_FILES, files)))) == wrong


def test_a_process_that_came_to_its_end_leaves_no_temporary_file() -> None:
    left = StoreFiles.of({"data/symbol=AAA/year=2024/month=03/.day=05.parquet.x-1.tmp": b""})
    for ended, happened, wrong in (
        ("returned", (), 1),
        ("raised", ("errno:EIO at fsync 1",), 1),
        ("raised", ("errno:EIO at unlink 1",), 0),
        ("killed", (), 0),
    ):
        outcome = step(ended=ended, happened=happened)
        assert len(broken(commands.leftovers(seen(outcome, Ledger(), NO_FILES, left)))) == wrong
    assert broken(commands.leftovers(seen(step(), Ledger(), left, left))) == []


def test_nobody_asks_before_a_pause_has_ended() -> None:
    for seconds, wrong in ((6.9, 1), (7.0, 0)):
        ledger = Ledger()
        tell(ledger, DAY, [], status=429, bars=None, retry_after=7.0)
        tell(ledger, DAY, WHOLE, at=EVENING.plus(timedelta(seconds=seconds)))
        now, asked = seen(step(), ledger, NO_FILES, NO_FILES), list(ledger.asked_since(0))
        assert len(broken(behaviour.pause(now, asked))) == wrong
        for happened, found in ((("wire page 3 at GET 1",), wrong), (("wire burst 500 2 at GET 1",), 0)):
            faulty = evolve(now, outcome=evolve(now.outcome, happened=happened))
            assert len(broken(behaviour.pause(faulty, asked))) == found
        beside = evolve(now, outcome=evolve(now.outcome, beside=(step(),)))
        assert broken(behaviour.pause(beside, asked)) == []


def test_answers_that_name_no_pause_come_in_any_order() -> None:
    ledger = Ledger()
    for seconds in (1, 0):
        tell(ledger, DAY, WHOLE, at=EVENING.plus(timedelta(seconds=seconds)))
    assert broken(behaviour.pause(seen(step(), ledger, NO_FILES, NO_FILES), list(ledger.asked_since(0)))) == []


def test_what_verify_has_named_is_remembered_until_its_records_may_be_gone() -> None:
    sound, rotted = stored({DAY: WHOLE}), stored({DAY: WHOLE[:2]})
    ((path, content),) = rotted.contents.items()
    problem = IntegrityProblem(path, Problem.ALTERED, "is another")
    verified = step("verify", value=IntegrityReport(1, 1, (problem,)))
    for after, left in (("ingest", {DAY: content}), ("power loss", {}), ("recover force", {}), ("drop", {})):
        memory = Memory(rotted, damage={path: Damage(sound.days[DAY], content)})
        memory.take_over(seen(verified, Ledger(), rotted, rotted, memory), 0)
        assert memory.named == {DAY: content}
        memory.note_damage(seen(step(after), Ledger(), rotted, rotted, memory))
        assert memory.named == left
