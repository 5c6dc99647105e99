"""A provider of adjusted prices: with each split and dividend it changes all bars of the days before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from attrs import frozen

from marketpipe.integration.domain.data_feed import DataFeed, ProviderCapabilities
from marketpipe.shared_kernel.domain.bars_request import AskedSession
from tests.support.pipeline_ring import Row
from tests.support.scripted_provider import ScriptedProvider

CENTS = 2


@frozen
class Action:
    """A corporate action: prices before ``ex_date`` are multiplied by ``prices``, volumes by ``volumes``."""

    ex_date: str
    prices: float
    volumes: float = 1.0


class AdjustingProvider(ScriptedProvider):
    """``bars`` are the unadjusted ones; ``actions`` those that it knows of by now, by symbol."""

    def __init__(
        self,
        bars: Mapping[str, Mapping[str, Sequence[Row]]],
        digits: int = CENTS,
        page: int = 10_000,
        official: Mapping[str, Mapping[str, Row]] | None = None,
    ) -> None:
        feed, has_official = DataFeed("scripted", timedelta()), official is not None
        provided = ProviderCapabilities("scripted", feed, "all", page, 200, official_days=has_official)
        super().__init__(bars, capabilities=provided, official=official)
        self.actions: dict[str, list[Action]] = {}
        self._digits = digits

    def _rows(self, symbol: str, asked: AskedSession) -> list[Row]:
        return [self.adjusted(symbol, str(asked.trading_date), row) for row in super()._rows(symbol, asked)]

    def adjusted(self, symbol: str, date: str, row: Row) -> Row:
        prices = volumes = 1.0
        for action in self.actions.get(symbol, ()):
            if date < action.ex_date:
                prices, volumes = prices * action.prices, volumes * action.volumes
        if prices == 1.0:
            return row
        names = ("open", "high", "low", "close", "vwap")
        scaled = {name: round(row[name] * prices, self._digits) for name in names}
        return {**row, **scaled, "volume": row["volume"] * volumes}
