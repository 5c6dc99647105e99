"""Between which sessions a symbol is listed, by the empty ones around its bars."""

from __future__ import annotations

import pytest

from marketpipe.ingestion.domain.coverage.market import Listing, SymbolDays
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.symbol import Symbol
from tests.support.coverage_grids import empty, full

QUIET = [False] * 6


def listing(records: list[IngestionCheckpoint | None], **stored: bool) -> Listing:
    return Listing.of(SymbolDays(Symbol("AAPL"), records, {}, **stored), QUIET)


def outside(found: Listing) -> list[int]:
    return [position for position in range(6) if found.is_outside(position)]


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"stored_after": True}, [2, 3, 4, 5]),
        ({"stored_before": True}, [0]),
        ({"stored_before": True, "stored_after": True}, []),
        ({}, []),
    ],
)
def test_empty_sessions_of_a_symbol_whose_bars_are_all_earlier_or_all_later(
    stored: dict[str, bool], expected: list[int]
) -> None:
    """A session that was never requested ends what is known to be empty."""
    assert outside(listing([empty(), None, *[empty()] * 4], **stored)) == expected


def test_empty_sessions_before_the_first_bars_and_after_the_last() -> None:
    found = listing([empty(), empty(), full(), empty(), full(), empty()])
    assert (outside(found), found.longest_run) == ([0, 1, 5], 1)
    assert [found.run_outside(position) for position in (0, 5)] == [2, 1]
