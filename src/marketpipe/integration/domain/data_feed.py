"""What a market data provider declares about itself, so that no other part knows its API, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from attrs import field, frozen
from attrs.validators import and_, ge, le, optional

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.secret_text import SecretText
from marketpipe.shared_kernel.domain.store_inventory import NO_MAPPING, DatasetIdentity
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.events import Event

USUAL_DELAY = timedelta(minutes=15)
"""US exchanges charge for quotes younger than this, so free feeds begin here."""


AT_THE_CLOSE: Final = 0
"""The ``closing_auction`` of a provider that puts each trade into the minute of its execution, as US tapes do."""


@frozen
class DataFeed:
    """The source of a provider's bars, such as ``sip`` or ``iex``.

    ``delay`` is how long after its end a minute can first be requested. ``notice`` is what users should know before
    they begin a store of it; empty if nothing.
    """

    name: str
    delay: timedelta = USUAL_DELAY
    notice: str = ""


@frozen
class ProviderCapabilities:
    """What a provider offers, and the limits of one request.

    ``adjustment`` names how prices are adjusted for corporate actions (``raw``: not at all). ``bars_per_page`` is the
    largest number of bars in one response, counted over all symbols. ``symbols_per_request`` is how many symbols one
    request may name. ``requests_per_minute`` is None if the provider sets no limit. ``official_days``: whether it
    also serves the exchange's official daily bars, to requests with the timeframe 1d; such a request may name
    ``symbols_per_official_request`` symbols, or as many as any other if that is None. ``asof`` is the date on which a
    security has to bear the symbol that is asked for, if the provider follows renamed symbols. ``closing_auction``
    is the minute bar whose first price is that of the closing auction, in minutes after the close; None if the provider
    does not say: then a store of regular sessions ends at the close, and a day made from minutes knows no auction.
    """

    name: str
    feed: DataFeed
    adjustment: str = "raw"
    bars_per_page: int = field(default=10_000, validator=ge(1))
    symbols_per_request: int = field(default=200, validator=ge(1))
    requests_per_minute: int | None = field(default=None, validator=optional(ge(1)))
    official_days: bool = False
    asof: str = NO_MAPPING
    symbols_per_official_request: int | None = field(default=None, validator=optional(ge(1)))
    closing_auction: int | None = field(default=None, validator=optional(and_(ge(0), le(59))))

    @property
    def identity(self) -> DatasetIdentity:
        """Return the dataset of the bars: provider, feed, adjustment and asof. One store holds one dataset."""
        return DatasetIdentity(self.name, self.feed.name, self.adjustment, self.asof)


def _no_secret(_: str) -> None:
    return None


@frozen
class ProviderContext:
    """What a pipeline gives to the factory of a provider.

    ``options`` is the configuration section that bears the provider's name. ``clock`` is the only clock to use.
    ``publish`` takes the provider's events (``RequestCompleted``, ``RequestRetried``, ``RateLimitWaited``), from which
    progress and metrics are made. ``secret`` returns keys and tokens; in a test, ``find_secret`` may be
    ``{"ACME_TOKEN": "…"}.get``.
    """

    options: Mapping[str, Any] = field(repr=False)  # it may hold a token
    clock: Clock
    publish: Callable[[Event], None] = field(repr=False)
    find_secret: Callable[[str], str | None] = field(default=_no_secret, repr=False)

    def secret(self, name: str) -> str:
        """Return the secret ``name``, such as ACME_TOKEN: of the environment, or else of .env in the store's root.

        Its repr shows nothing of it. Raises ``ConfigurationError`` if it is not set, which says where to set it.
        """
        if not (found := (self.find_secret(name) or "").strip()):
            raise ConfigurationError(f"the secret {name} is not set: set {name} in the environment or in .env")
        return SecretText(found)
