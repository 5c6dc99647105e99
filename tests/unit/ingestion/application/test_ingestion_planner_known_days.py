from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from marketpipe.ingestion.application.ingestion_planner import known_days
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradingDate
from tests.support.builders import day
from tests.support.checkpoints import CHECKED_AT, answer, record
from tests.support.in_memory_ingestion_state import InMemoryCheckpoints, InMemoryIngestionState, Memory
from tests.support.in_memory_inventory import InMemoryInventory

SYMBOLS = ("AAPL", "MSFT")
DATES = ("2024-01-02", "2024-01-03", "2024-01-04")
DAYS = [day(symbol, date) for symbol in SYMBOLS for date in DATES]
SCOPE = IngestionScope(SYMBOLS, TradingDate.parse(DATES[0]), TradingDate.parse(DATES[-1]))
ELSEWHERE = [day(symbol, "2020-01-02") for symbol in SYMBOLS]
SOME_DAYS = st.sets(st.sampled_from(DAYS), max_size=2)


class WatchedCheckpoints(InMemoryCheckpoints):
    """Notes whose checkpoints are read, except for what its own settled hours are made of."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self.read: set[str] = set()

    def settled_hours_and_marks(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Any:
        before = set(self.read)
        found = super().settled_hours_and_marks(symbol, first, last)
        self.read = before
        return found

    def between(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> Mapping[TradingDate, IngestionCheckpoint]:
        self.read.add(str(symbol))
        return super().between(symbol, first, last)


@given(
    st.dictionaries(
        st.sampled_from(DAYS),
        st.tuples(
            st.sampled_from(Outcome),
            st.sampled_from([0, 390]),
            st.sampled_from([SessionHours.EXTENDED, SessionHours.REGULAR]),
            st.sampled_from([None, CHECKED_AT]),
        ),
    ),
    SOME_DAYS,
    SOME_DAYS,
    SOME_DAYS,
)
def test_comparing_marks_finds_what_examining_everything_finds(
    recorded: Mapping[SymbolDay, tuple[Outcome, int, SessionHours, object]],
    lost: set[SymbolDay],
    altered: set[SymbolDay],
    unrecorded: set[SymbolDay],
) -> None:
    state = InMemoryIngestionState()
    for found, (outcome, rows, hours, since) in recorded.items():
        known_since = CHECKED_AT if since else None
        where = str(found.symbol), str(found.trading_date)
        record(state, [answer(*where, outcome, rows, hours=hours, known_since=known_since)])
    inventory = InMemoryInventory(state.checkpoints, lost, altered, unrecorded)

    quickly = known_days(SCOPE, state.checkpoints, inventory)
    thoroughly = known_days(SCOPE, state.checkpoints, inventory, suspect=ELSEWHERE)

    assert quickly == thoroughly


def test_only_symbols_of_which_a_file_is_not_as_it_was_are_examined() -> None:
    memory = Memory()
    watched, state = WatchedCheckpoints(memory), InMemoryIngestionState(memory=memory)
    checkpoints = [answer(str(each.symbol), str(each.trading_date)) for each in DAYS]
    record(state, checkpoints)

    known_days(SCOPE, watched, InMemoryInventory(state.checkpoints))
    assert watched.read == set()
    known_days(SCOPE, watched, InMemoryInventory(state.checkpoints, lost={DAYS[0]}))
    assert watched.read == {"AAPL"}


def test_a_symbol_with_a_lost_or_suspect_day_is_examined() -> None:
    lost, suspect = day("AAPL", DATES[1]), day("MSFT", DATES[2])
    state = InMemoryIngestionState()
    record(state, [answer(str(each.symbol), str(each.trading_date)) for each in DAYS])

    known = known_days(SCOPE, state.checkpoints, InMemoryInventory(state.checkpoints, lost={lost}), suspect=[suspect])

    settled = {SymbolDay(symbol, date) for symbol, dates in known.hours.items() for date in dates}
    assert settled == set(DAYS) - {lost, suspect}
