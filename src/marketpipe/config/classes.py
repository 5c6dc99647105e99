"""Typed, frozen configuration that validates itself: an invalid configuration cannot exist.

The fields take what YAML or a caller gives (``setting`` and its readers are in values.py) and hold what the attribute's
type says. Paths stay as the user wrote them: relative paths are relative to the current folder, or to ``root`` if it is
given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Self

from attrs import Factory, evolve, field, fields, frozen

from marketpipe.config import values
from marketpipe.config.arguments import with_stated_arguments
from marketpipe.config.calendar import CalendarConfig
from marketpipe.config.symbol_lists import symbol_lists
from marketpipe.config.values import Latest, setting, setting_by_others
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.store_inventory import NO_MAPPING
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import NumpyDate, SessionKind, TradingDate

FEEDS = ("sip", "iex", "otc")
FOLDERS = ("output_path", "aggregates_path", "quarantine_path", "revisions_path", "official_path")
EXECUTORS = THREADS, PROCESSES = ("threads", "processes")
ADJUSTMENTS = ("raw", "split", "dividend", "spin-off", "all")


@with_stated_arguments
@frozen(kw_only=True)
class ClientConfig:
    """Section ``alpaca``: what to ask of Alpaca, and how often.

    ``asof`` is the date on which a security has to bear the symbol that is asked for, YYYY-MM-DD; "-" asks for whatever
    security bore the symbol on each day (docs/adr/0025).
    """

    feed: str = setting(values.feed(*FEEDS), "sip")
    adjustment: str = setting(values.one_of(*ADJUSTMENTS), "raw")
    asof: str = setting(values.asof, NO_MAPPING)
    base_url: str = setting(values.base_url, "https://data.alpaca.markets")
    rate_limit_per_min: int = setting(values.whole_number(1, 1_000_000), 200)


@with_stated_arguments
@frozen(kw_only=True)
class SyntheticConfig:
    """Section ``synthetic``: the provider of made-up bars, which are always the same for a seed."""

    seed: int = setting(values.whole_number(0, 2**31 - 1), 7)


@with_stated_arguments
@frozen(kw_only=True, init=False)
class ValidationConfig:
    """Section ``validation``: severities by rule name; a rule that is not named keeps its default."""

    severities: Mapping[str, Severity] = setting(values.severities, factory=dict)

    def __init__(self, *, severities: Mapping[str, Severity | str] = ...) -> None: ...


@with_stated_arguments
@frozen(kw_only=True)
class MetricsConfig:
    """Section ``metrics``: Prometheus metrics over HTTP while an ingestion runs. Port 0 lets the system choose.

    ``store`` is the value of the label of that name; None means the absolute path of the bars. After each run the
    metrics are written to ``textfile`` and sent to ``pushgateway``, if they are given. A store is measured again after
    ``refresh_seconds``. It is ready if it lags by at most ``max_lag_sessions``, and if at most ``max_missing`` and
    ``max_suspect`` symbol-days of the sessions before are missing and suspect; None means that any number is allowed.
    """

    enabled: bool = setting(values.boolean, False)
    host: str = setting(values.text, "127.0.0.1")
    port: int = setting(values.whole_number(0, 65_535), 8000)
    store: str | None = setting(values.optional(values.label), None)
    textfile: Path | None = setting(values.optional(values.textfile), None)
    pushgateway: str | None = setting(values.optional(values.gateway_url), None)
    refresh_seconds: int = setting(values.whole_number(1, 86_400), 60)
    max_lag_sessions: int = setting(values.whole_number(0, 250), 1)
    max_missing: int | None = setting(values.optional(values.whole_number(0, 1_000_000_000)), 0)
    max_suspect: int | None = setting(values.optional(values.whole_number(0, 1_000_000_000)), None)


@with_stated_arguments
@frozen(kw_only=True)
class CoverageConfig:
    """Section ``coverage``: when a symbol-day is suspect. The README and docs/adr/0008 explain each number."""

    hole_minutes: int = setting(values.whole_number(1, 390), 30)
    hole_bars: float = setting(values.number(1, 390), 15.0)
    stop_minutes: int = setting(values.whole_number(1, 390), 10)
    stop_bars: float = setting(values.number(1, 390), 9.0)
    habit_factor: float = setting(values.number(1, 390), 3.0)
    neighbours: int = setting(values.whole_number(1, 250), 10)
    unlisted_sessions: int = setting(values.whole_number(1, 250), 5)
    confirmations: int = setting(values.whole_number(2, 100), 2)


DATA, STATE_FILE = "data", "marketpipe.sqlite"


def beside_data(name: str, config: StoreConfig) -> Path:
    """Return where an area of a store is if its configuration does not name the place.

    It belongs to one ``output_path``, so that two of them share nothing: beside ``data`` it has its plain name, beside
    ``data_sip`` it is called ``data_sip_aggregates``.
    """
    output = config.output_path
    if output.name in ("", ".."):
        return Path(name)
    return output.with_name(name if output.name == DATA else f"{output.name}_{name}")


def _official_place(config: StoreConfig) -> Path:
    """A configuration of an earlier version that names every folder does not name this one: it is beside them."""
    if config.revisions_path == beside_data("revisions", config):
        return beside_data("official", config)
    return config.revisions_path.with_name("official")


def _state_place(config: StoreConfig) -> Path:
    return beside_data("state", config) / STATE_FILE


@with_stated_arguments
@frozen(kw_only=True, init=False)
class StoreConfig:
    """Everything about a store: enough to query, load, validate and aggregate without a provider.

    The five folders must not be inside one another. A path that is not given is beside ``output_path``, with a name of
    its own: another ``output_path`` is another store. Relative paths begin in ``root``; without it, in the current
    folder of each moment. ``timeframes`` are those of the aggregates. ``symbol_lists`` has names for lists of symbols,
    so that ``@tech`` stands for those of the list tech.
    """

    root: Path = setting(values.root_of_paths, Path())
    session: SessionKind = setting(values.one_of(*SessionKind), SessionKind.EXTENDED)
    output_path: Path = values.place(Path(DATA))
    aggregates_path: Path = values.place(Factory(partial(beside_data, "aggregates"), takes_self=True))
    quarantine_path: Path = values.place(Factory(partial(beside_data, "quarantine"), takes_self=True))
    revisions_path: Path = values.place(Factory(partial(beside_data, "revisions"), takes_self=True))
    official_path: Path = values.place(Factory(_official_place, takes_self=True))
    state_path: Path = values.place(Factory(_state_place, takes_self=True))
    compression: str = setting(values.one_of("zstd", "snappy"), "zstd")
    timeframes: tuple[Timeframe, ...] = setting(values.timeframes, ("5m", "15m", "1h", "1d"))
    symbol_lists: Mapping[str, tuple[Symbol, ...]] = values.setting_by_others(
        lambda value, config: symbol_lists(value, config.root), factory=dict
    )
    validation: ValidationConfig = setting(values.section(ValidationConfig), factory=ValidationConfig)
    coverage: CoverageConfig = setting(values.section(CoverageConfig), factory=CoverageConfig)
    calendar: CalendarConfig = setting(values.section(CalendarConfig), factory=CalendarConfig)
    metrics: MetricsConfig = setting(values.section(MetricsConfig), factory=MetricsConfig)

    @property
    def store_name(self) -> str:
        """What metrics call the store: the configured name, or the absolute path of its bars, without links."""
        return self.metrics.store or os.path.realpath(self.output_path)

    def __init__(
        self,
        *,
        root: Path | str = ...,
        session: SessionKind | str = ...,
        output_path: Path | str = ...,
        aggregates_path: Path | str = ...,
        quarantine_path: Path | str = ...,
        revisions_path: Path | str = ...,
        official_path: Path | str = ...,
        state_path: Path | str = ...,
        compression: str = ...,
        timeframes: Iterable[str | Timeframe] = ...,
        symbol_lists: Mapping[str, str | Iterable[str | Symbol]] = ...,
        validation: ValidationConfig | Mapping[str, object] = ...,
        coverage: CoverageConfig | Mapping[str, object] = ...,
        calendar: CalendarConfig | Mapping[str, object] = ...,
        metrics: MetricsConfig | Mapping[str, object] = ...,
    ) -> None: ...

    def __attrs_post_init__(self) -> None:
        values.folders_apart({name: getattr(self, name) for name in FOLDERS})

    def in_former_places(self) -> Self:
        """Return the same with every area that is not named where earlier versions had it: in the current folder."""
        usual = StoreConfig(output_path=self.output_path)
        unnamed = {area: getattr(FORMER, area) for area in PLACES if getattr(self, area) == getattr(usual, area)}
        return evolve(self, **unnamed)


PLACES = (*FOLDERS[1:], "state_path")
FORMER = StoreConfig()


@with_stated_arguments
@frozen(kw_only=True, init=False)
class PipelineConfig(StoreConfig):
    """A store and what to ingest into it.

    ``start`` and ``end`` are trading dates, both inclusive; either may be "latest", the newest final session.
    ``workers`` is how many batches run at the same time. ``provider_options`` is the section of the file with the
    name of a provider that was installed as a plugin.
    """

    provider: str = setting(values.text)
    symbols: tuple[Symbol, ...] = setting_by_others(values.named_symbols)
    start: TradingDate | Latest = setting(values.date_or_latest)
    end: TradingDate | Latest = setting(values.date_or_latest)
    workers: int = setting(values.whole_number(1, 64), 4)
    executor: str = setting(values.one_of(*EXECUTORS), THREADS)
    alpaca: ClientConfig = setting(values.section(ClientConfig), factory=ClientConfig)
    synthetic: SyntheticConfig = setting(values.section(SyntheticConfig), factory=SyntheticConfig)
    provider_options: Mapping[str, object] = field(
        factory=dict, repr=lambda options: f"<{', '.join(map(str, options))}>"
    )

    def __init__(
        self,
        *,
        provider: str,
        symbols: str | Symbol | Iterable[str | Symbol],
        start: TradingDate | date | str | NumpyDate,
        end: TradingDate | date | str | NumpyDate,
        root: Path | str = ...,
        session: SessionKind | str = ...,
        output_path: Path | str = ...,
        aggregates_path: Path | str = ...,
        quarantine_path: Path | str = ...,
        revisions_path: Path | str = ...,
        official_path: Path | str = ...,
        state_path: Path | str = ...,
        compression: str = ...,
        workers: int = ...,
        executor: str = ...,
        timeframes: Iterable[str | Timeframe] = ...,
        symbol_lists: Mapping[str, str | Iterable[str | Symbol]] = ...,
        alpaca: ClientConfig | Mapping[str, object] = ...,
        synthetic: SyntheticConfig | Mapping[str, object] = ...,
        validation: ValidationConfig | Mapping[str, object] = ...,
        coverage: CoverageConfig | Mapping[str, object] = ...,
        calendar: CalendarConfig | Mapping[str, object] = ...,
        metrics: MetricsConfig | Mapping[str, object] = ...,
        provider_options: Mapping[str, object] = ...,
    ) -> None: ...

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if isinstance(self.start, TradingDate) and isinstance(self.end, TradingDate) and self.end < self.start:
            raise ConfigurationError(f"end: {self.end} is before start {self.start}")


def config_of_import(
    store: StoreConfig, provider: str, symbols: Sequence[Symbol], first: TradingDate, last: TradingDate
) -> PipelineConfig:
    """Return the configuration of a store for an import of these symbols and dates: threads read one table."""
    kept = {each.name: getattr(store, each.name) for each in fields(StoreConfig)}
    return PipelineConfig(**kept, provider=provider, symbols=symbols, start=first, end=last, executor=THREADS)


SECTIONS: Mapping[str, type] = {
    "alpaca": ClientConfig,
    "synthetic": SyntheticConfig,
    "validation": ValidationConfig,
    "coverage": CoverageConfig,
    "calendar": CalendarConfig,
    "metrics": MetricsConfig,
}


def known_keys(kind: type) -> list[str]:
    """Return the keys that a file may have for that class."""
    return [attribute.name for attribute in fields(kind) if attribute.name != "provider_options"]
