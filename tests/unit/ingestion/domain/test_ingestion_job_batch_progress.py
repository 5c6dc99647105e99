from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from marketpipe.ingestion.domain.ingestion_job import BatchProgress, KeptBars
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import ProviderUnavailableError
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay, SymbolDayOutcome
from marketpipe.shared_kernel.events import RefusedSymbol, StoredSymbolDay
from marketpipe.testing import bars_request
from tests.support.builders import day

TUESDAY, WEDNESDAY = day("AAPL", "2024-01-02"), day("AAPL", "2024-01-03")


def progress(*symbols: str, last_is_final: bool = True) -> BatchProgress:
    """Of two sessions, 2024-01-02 and 2024-01-03."""
    asked = bars_request(symbols or ("AAPL",), "2024-01-02", "2024-01-03")
    if not last_is_final:
        asked = _with_running_session(asked)
    return BatchProgress(5, asked)


def _with_running_session(asked: BarsRequest) -> BarsRequest:
    *past, today = asked.sessions
    return evolve(asked, sessions=(*past, evolve(today, final=False)))


def noted(subject: BatchProgress, day_stored: StoredSymbolDay) -> SymbolDayOutcome:
    """Stored, and its checkpoint committed."""
    result = subject.stored(day_stored)
    assert result is not None
    subject.note([result])
    return result


def stored(symbol_day: SymbolDay, rows: int = 390, **changes: Any) -> StoredSymbolDay:
    return StoredSymbolDay(symbol_day, rows, **{"rejected": 0, "final": True, **changes})


def test_a_stored_day_of_a_final_session_is_complete() -> None:
    subject = progress()

    assert noted(subject, stored(TUESDAY, 391, rejected=2)) == SymbolDayOutcome(TUESDAY, Outcome.COMPLETE, 391, 2)
    assert subject.open_days() == [WEDNESDAY]


def test_a_stored_day_of_a_running_session_is_partial() -> None:
    subject = progress(last_is_final=False)

    assert subject.stored(stored(WEDNESDAY, 10)) == SymbolDayOutcome(WEDNESDAY, Outcome.PARTIAL, 10)


def test_a_day_whose_bars_were_all_rejected_is_known_without_rows() -> None:
    subject = progress()

    result = noted(subject, stored(TUESDAY, 0, rejected=390))

    assert result == SymbolDayOutcome(TUESDAY, Outcome.COMPLETE, 0, 390)
    assert TUESDAY not in subject.open_days()


def test_a_day_that_could_not_be_stored_has_failed() -> None:
    result = progress().stored(stored(TUESDAY, 0, rejected=3, error="the file is damaged"))

    assert result == SymbolDayOutcome(TUESDAY, Outcome.FAILED, 0, 3, "the file is damaged")


def test_a_day_stays_open_until_its_checkpoint_is_committed() -> None:
    subject = progress()

    subject.stored(stored(TUESDAY))
    subject.exhausted([], {})

    assert subject.open_days() == [TUESDAY, WEDNESDAY]
    assert subject.outcomes == {}


def test_a_date_that_is_no_session_settles_nothing() -> None:
    subject = progress()

    assert subject.stored(stored(day("AAPL", "2024-01-01"), 0, rejected=4)) is None
    assert subject.outcomes == {}


def test_a_symbol_that_was_not_requested_settles_nothing() -> None:
    subject = progress("AAPL")

    assert subject.stored(stored(day("MSFT", "2024-01-02"))) is None
    assert subject.outcomes == {}


def test_a_day_that_comes_in_two_parts_adds_up_its_rejected_bars() -> None:
    subject = progress()
    noted(subject, stored(TUESDAY, 200, rejected=2))

    result = noted(subject, stored(TUESDAY, 390, rejected=1, final=False))

    assert result == SymbolDayOutcome(TUESDAY, Outcome.COMPLETE, 390, 3)
    assert subject.outcomes == {TUESDAY: result}


@pytest.mark.parametrize("failed_part", [0, 1])
def test_a_day_of_which_one_part_failed_has_failed(failed_part: int) -> None:
    subject = progress()
    parts = [stored(TUESDAY, 100), stored(TUESDAY, 200)]
    parts[failed_part] = stored(TUESDAY, 0, error="disk full")

    for part in parts:
        noted(subject, part)

    assert subject.outcomes[TUESDAY].outcome is Outcome.FAILED
    assert subject.outcomes[TUESDAY].error == "disk full"


def test_silence_about_a_final_session_means_empty() -> None:
    subject = progress()

    results = subject.exhausted([], {})
    subject.note(results)

    assert results == [SymbolDayOutcome(TUESDAY, Outcome.EMPTY), SymbolDayOutcome(WEDNESDAY, Outcome.EMPTY)]
    assert subject.open_days() == []


def test_silence_about_a_running_session_means_partial() -> None:
    results = progress(last_is_final=False).exhausted([], {WEDNESDAY: KeptBars(12)})

    assert results == [
        SymbolDayOutcome(TUESDAY, Outcome.EMPTY),
        SymbolDayOutcome(WEDNESDAY, Outcome.PARTIAL, rows=12),
    ]


def test_a_final_empty_answer_where_bars_are_stored_is_not_believed() -> None:
    (result, _) = progress().exhausted([], {TUESDAY: KeptBars(390)})

    assert (result.outcome, result.rows) == (Outcome.FAILED, 390)
    assert result.error == "the provider returned no bars, but 390 bars are stored; they are kept"


def test_a_final_empty_answer_that_was_repeated_is_believed() -> None:
    (result, _) = progress().exhausted([], {TUESDAY: KeptBars(390, is_withdrawn=True)})

    assert result == SymbolDayOutcome(TUESDAY, Outcome.EMPTY)


def test_every_day_of_a_refused_symbol_fails_with_the_reason_and_no_other() -> None:
    subject = progress("AAPL", "OOPS")
    oops = [day("OOPS", "2024-01-02"), day("OOPS", "2024-01-03")]
    refused = [RefusedSymbol(Symbol("OOPS"), "invalid symbol: OOPS"), RefusedSymbol(Symbol("ZZZ"), "?")]

    results = subject.exhausted(refused, {})

    assert [(found.symbol_day, found.outcome, found.error) for found in results] == [
        (TUESDAY, Outcome.EMPTY, None),
        (WEDNESDAY, Outcome.EMPTY, None),
        (oops[0], Outcome.FAILED, "invalid symbol: OOPS"),
        (oops[1], Outcome.FAILED, "invalid symbol: OOPS"),
    ]


def test_a_refusal_outweighs_a_running_session_and_stored_bars() -> None:
    refused = [RefusedSymbol(TUESDAY.symbol, "no")]

    results = progress(last_is_final=False).exhausted(refused, {TUESDAY: KeptBars(390), WEDNESDAY: KeptBars(390)})

    assert [(found.outcome, found.error) for found in results] == [(Outcome.FAILED, "no")] * 2


def test_exhaustion_leaves_what_was_stored_as_it_is() -> None:
    subject = progress()
    kept = noted(subject, stored(TUESDAY))

    results = subject.exhausted([], {TUESDAY: KeptBars(390)})

    assert [found.symbol_day for found in results] == [WEDNESDAY]
    assert subject.outcomes[TUESDAY] == kept


def test_an_error_fails_the_days_that_are_still_open_and_no_other() -> None:
    subject = progress()
    noted(subject, stored(TUESDAY))

    results = subject.fail_open_days(ProviderUnavailableError("503 again and again"))
    subject.note(results)

    assert results == [SymbolDayOutcome(WEDNESDAY, Outcome.FAILED, error="503 again and again")]
    assert subject.outcomes[TUESDAY].outcome is Outcome.COMPLETE
    assert subject.open_days() == []
