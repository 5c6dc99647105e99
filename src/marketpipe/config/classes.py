"""Typed, frozen configuration that validates itself: an invalid one cannot exist. Paths are as the user wrote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, fields, frozen

from marketpipe.config.values import (
    Latest,
    base_url,
    boolean,
    dates_in_order,
    end_date,
    folders_apart,
    number,
    one_of,
    path,
    section,
    setting,
    severities,
    symbols,
    text,
    timeframes,
    trading_date,
    whole_number,
)
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate

FEEDS = ("iex", "sip", "otc", "boats")
FOLDERS = ("output_path", "aggregates_path", "quarantine_path", "revisions_path")
EXECUTORS = THREADS, PROCESSES = ("threads", "processes")
ADJUSTMENTS = ("raw", "split", "dividend", "spin-off", "all")


@frozen(kw_only=True)
class ClientConfig:
    """How to speak to Alpaca."""

    feed: str = setting(one_of(*FEEDS), "iex")
    adjustment: str = setting(one_of(*ADJUSTMENTS), "raw")
    base_url: str = setting(base_url, "https://data.alpaca.markets")
    rate_limit_per_min: int = setting(whole_number(1, 1_000_000), 200)


@frozen(kw_only=True)
class SyntheticConfig:
    seed: int = setting(whole_number(0, 2**31 - 1), 7)


@frozen(kw_only=True)
class ValidationConfig:
    """Rule names and their severities; a rule that is not named keeps its own."""

    severities: Mapping[str, Severity] = setting(severities, factory=dict)


@frozen(kw_only=True)
class MetricsConfig:
    enabled: bool = setting(boolean, False)
    host: str = setting(text, "127.0.0.1")
    port: int = setting(whole_number(0, 65_535), 8000)


@frozen(kw_only=True)
class CoverageConfig:
    """When a symbol-day is suspect: what each number means stands in docs/adr/0008 and in the README."""

    hole_minutes: int = setting(whole_number(1, 390), 30)
    hole_bars: float = setting(number(1, 390), 15.0)
    stop_minutes: int = setting(whole_number(1, 390), 10)
    stop_bars: float = setting(number(1, 390), 9.0)
    habit_factor: float = setting(number(1, 390), 3.0)
    neighbours: int = setting(whole_number(1, 250), 10)
    unlisted_sessions: int = setting(whole_number(1, 250), 5)
    confirmations: int = setting(whole_number(2, 100), 2)


@frozen(kw_only=True)
class StoreConfig:
    """All that concerns a store at rest: enough to query, load, validate and aggregate."""

    session: SessionKind = setting(one_of(*SessionKind), SessionKind.EXTENDED)
    output_path: Path = setting(path, Path("data"))
    aggregates_path: Path = setting(path, Path("aggregates"))
    quarantine_path: Path = setting(path, Path("quarantine"))
    revisions_path: Path = setting(path, Path("revisions"))
    state_path: Path = setting(path, Path("state/marketpipe.sqlite"))
    compression: str = setting(one_of("zstd", "snappy"), "zstd")
    timeframes: tuple[Timeframe, ...] = setting(timeframes, ("5m", "15m", "1h", "1d"))
    validation: ValidationConfig = setting(section(ValidationConfig), factory=ValidationConfig)
    coverage: CoverageConfig = setting(section(CoverageConfig), factory=CoverageConfig)
    metrics: MetricsConfig = setting(section(MetricsConfig), factory=MetricsConfig)

    def __attrs_post_init__(self) -> None:
        folders_apart({name: getattr(self, name) for name in FOLDERS})


_frozen = frozen(kw_only=True)  # by this name mypy's plugin for attrs does not know it, and the __init__ below holds


@_frozen
class PipelineConfig(StoreConfig):
    """A whole pipeline. ``start`` and ``end`` are trading dates, both inclusive; ``end`` may be "latest".

    ``provider_options`` are the section of the file that bears the name of a registered provider.
    """

    provider: str = setting(text)
    symbols: tuple[Symbol, ...] = setting(symbols)
    start: TradingDate = setting(trading_date)
    end: TradingDate | Latest = setting(end_date)
    workers: int = setting(whole_number(1, 64), 4)
    executor: str = setting(one_of(*EXECUTORS), THREADS)
    alpaca: ClientConfig = setting(section(ClientConfig), factory=ClientConfig)
    synthetic: SyntheticConfig = setting(section(SyntheticConfig), factory=SyntheticConfig)
    provider_options: Mapping[str, Any] = field(factory=dict, repr=lambda options: f"<{', '.join(map(str, options))}>")

    if TYPE_CHECKING:  # what the fields' readers take, which a type checker cannot see through ``setting``

        def __init__(
            self,
            *,
            provider: str,
            symbols: Sequence[str | Symbol],
            start: TradingDate | date | str,
            end: TradingDate | date | str,
            session: SessionKind | str = ...,
            output_path: Path | str = ...,
            aggregates_path: Path | str = ...,
            quarantine_path: Path | str = ...,
            revisions_path: Path | str = ...,
            state_path: Path | str = ...,
            compression: str = ...,
            workers: int = ...,
            executor: str = ...,
            timeframes: Sequence[str | Timeframe] = ...,
            alpaca: ClientConfig | Mapping[str, Any] = ...,
            synthetic: SyntheticConfig | Mapping[str, Any] = ...,
            validation: ValidationConfig | Mapping[str, Any] = ...,
            coverage: CoverageConfig | Mapping[str, Any] = ...,
            metrics: MetricsConfig | Mapping[str, Any] = ...,
            provider_options: Mapping[str, Any] = ...,
        ) -> None: ...

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        dates_in_order(self.start, self.end)


SECTIONS: Mapping[str, type] = {
    "alpaca": ClientConfig,
    "synthetic": SyntheticConfig,
    "validation": ValidationConfig,
    "coverage": CoverageConfig,
    "metrics": MetricsConfig,
}


def known_keys(kind: type) -> list[str]:
    """The keys a file may use."""
    return [attribute.name for attribute in fields(kind) if attribute.name != "provider_options"]
