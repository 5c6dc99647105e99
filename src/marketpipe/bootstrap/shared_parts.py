from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from functools import cached_property
from typing import TYPE_CHECKING

from attrs import define, field

from marketpipe.config import Credentials, PipelineConfig, StoreConfig
from marketpipe.observers import LoggedIsolation
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock

if TYPE_CHECKING:
    from marketpipe.integration.application.ports import MarketDataProvider
    from marketpipe.shared_kernel.domain.trading_date import TradingCalendar
    from marketpipe.shared_kernel.infrastructure.exchange_calendar import CalendarCache

CALENDAR_DAYS_AHEAD = 365  # further ahead the exchange has not decided its holidays


def _or_the_machines(clock: Clock | None) -> Clock:
    return SystemClock() if clock is None else clock


@define(slots=False)
class SharedParts:
    """What was given, and what every context shares."""

    config: StoreConfig
    credentials: Credentials | None = field(default=None, repr=False)
    clock: Clock = field(default=None, converter=_or_the_machines)
    new_executor: Callable[[], Executor] | None = None
    market_data_provider: MarketDataProvider | None = None

    @property
    def ingestion_config(self) -> PipelineConfig:
        if not isinstance(self.config, PipelineConfig):
            raise ConfigurationError(
                "this asks a provider: give a configuration (--config) with provider, symbols, start and end"
            )
        return self.config

    @cached_property
    def bus(self) -> EventBus:
        return EventBus(LoggedIsolation)

    @cached_property
    def calendar(self) -> TradingCalendar:
        from marketpipe.shared_kernel.domain.trading_date import TradingDate
        from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

        latest = TradingDate.of(self.clock.now()).plus_days(CALENDAR_DAYS_AHEAD)
        return ExchangeCalendar(latest, self.calendar_cache)

    @cached_property
    def calendar_cache(self) -> CalendarCache:
        """Beside the state; the version of exchange_calendars is in its name, so another version uses another file."""
        from importlib.metadata import version

        from marketpipe.shared_kernel.infrastructure.exchange_calendar import EXCHANGE, CalendarCache, exchange_table
        from marketpipe.storage.infrastructure.durable_files import DurableFiles

        made_by = version("exchange_calendars")
        state = self.config.state_path
        file = state.with_name(f"sessions-{EXCHANGE}-{made_by}.txt")
        title = f"marketpipe 1: sessions of {EXCHANGE} by exchange_calendars {made_by}"
        return CalendarCache(file, state, title, exchange_table, DurableFiles().publish)
