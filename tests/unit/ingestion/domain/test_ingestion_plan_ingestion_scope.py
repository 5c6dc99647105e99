from __future__ import annotations

import pytest

from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.shared_kernel.domain.errors import ConfigurationError, ValidationError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate

FIRST, LAST = TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-05")


def test_symbols_are_sorted_and_named_once() -> None:
    scope = IngestionScope(["MSFT", "AAPL", Symbol("MSFT")], FIRST, LAST)

    assert scope.symbols == (Symbol("AAPL"), Symbol("MSFT"))


def test_extended_hours_are_wanted_by_default() -> None:
    assert IngestionScope("AAPL", FIRST, LAST).session_kind is SessionKind.EXTENDED


def test_one_date_is_a_scope() -> None:
    scope = IngestionScope("AAPL", FIRST, FIRST)

    assert (scope.first, scope.last) == (FIRST, FIRST)


def test_no_symbols_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="symbols: name at least one"):
        IngestionScope([], FIRST, LAST)


def test_dates_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="end 2024-01-02 is before start 2024-01-05"):
        IngestionScope("AAPL", LAST, FIRST)


def test_a_badly_written_symbol_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"'\.\./etc' is not a symbol"):
        IngestionScope(["AAPL", "../etc"], FIRST, LAST)
