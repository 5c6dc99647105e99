from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.symbol import Symbol, as_symbols
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionKind


@frozen
class IngestionScope:
    """What is wanted: every symbol on every trading date from ``first`` to ``last``, both inclusive.

    ``since`` holds symbols that are wanted from a later date on.
    """

    symbols: tuple[Symbol, ...] = field(converter=as_symbols)
    first: TradingDate
    last: TradingDate = field()
    session_kind: SessionKind = SessionKind.EXTENDED
    since: Mapping[Symbol, TradingDate] = field(factory=dict, repr=False)

    @symbols.validator
    def _some(self, _: object, symbols: tuple[Symbol, ...]) -> None:
        if not symbols:
            raise ConfigurationError("symbols: name at least one")

    @last.validator
    def _not_before_first(self, _: object, last: TradingDate) -> None:
        if last < self.first:
            raise ConfigurationError(f"end {last} lies before start {self.first}")

    def first_of(self, symbol: Symbol) -> TradingDate:
        return max(self.first, self.since.get(symbol, self.first))
