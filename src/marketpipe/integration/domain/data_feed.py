from __future__ import annotations

from datetime import timedelta

from attrs import field, frozen
from attrs.validators import ge, optional

from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity

USUAL_DELAY = timedelta(minutes=15)


@frozen
class DataFeed:
    """Where a provider's bars come from. ``delay``: how long after it ends a minute may first be asked for."""

    name: str
    delay: timedelta = USUAL_DELAY


@frozen
class ProviderCapabilities:
    """What a market data provider declares of itself, so that nobody else has to know it.

    ``bars_per_page``: what one request brings at the most, over all symbols.
    ``symbols_per_request``: how many symbols one request may name.
    ``requests_per_minute``: None where there is no limit.
    """

    name: str
    feed: DataFeed
    adjustment: str = "raw"
    bars_per_page: int = field(default=10_000, validator=ge(1))
    symbols_per_request: int = field(default=200, validator=ge(1))
    requests_per_minute: int | None = field(default=None, validator=optional(ge(1)))

    @property
    def identity(self) -> DatasetIdentity:
        return DatasetIdentity(self.name, self.feed.name, self.adjustment)
