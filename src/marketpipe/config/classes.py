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
from marketpipe.config.places import EXAMPLES, POSTGRESQL, S3, is_on_disk, url_of
from marketpipe.config.symbol_lists import symbol_lists
from marketpipe.config.values import Latest, setting, setting_by_others
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.store_inventory import NO_MAPPING
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import NumpyDate, SessionKind, TradingDate

FEEDS = ("sip", "iex", "otc")
FOLDERS = ("output_path", "aggregates_path", "quarantine_path", "revisions_path", "official_path", "copies_path")
# the formats are those of ``store_layout.COPY_FORMATS``, which the configuration may not import
READ_COPIES = NO_COPIES, PARQUET_COPIES, ARROW_COPIES = ("none", "parquet", "arrow")
EXECUTORS = THREADS, PROCESSES, DASK = ("threads", "processes", "dask")
SCHEDULER_VARIABLE = "MARKETPIPE_INSECURE_SCHEDULER"
"""The variable of the environment that has the address of a scheduler which is not encrypted, if that is meant."""
ADJUSTMENTS = ("raw", "split", "dividend", "spin-off", "all")


@with_stated_arguments
@frozen(kw_only=True)
class ClientConfig:
    """Section ``alpaca``: what to ask of Alpaca, and how often.

    ``asof`` is the date on which a security has to bear the symbol that is asked for, YYYY-MM-DD; "-" asks for whatever
    security bore the symbol on each day (docs/adr/0025).
    """

    feed: str = setting(values.feed(*FEEDS), "sip")
    """sip: all US exchanges. iex: one exchange, 3.5 % of the volume. otc: shares that no exchange lists."""
    adjustment: str = setting(values.one_of(*ADJUSTMENTS), "raw")
    """How prices of former days are adjusted: raw (as traded), split, dividend, spin-off or all."""
    asof: str = setting(values.asof, NO_MAPPING)
    """A dash, "-": symbols as they were on each day. A date: the security that had the symbol on that date."""
    base_url: str = setting(values.base_url, "https://data.alpaca.markets")
    """Address of the service: https, or a loopback address for tests."""
    rate_limit_per_min: int = setting(values.whole_number(1, 1_000_000), 200)
    """Requests a minute; 200 on Alpaca's free plan. Processes with the same key share the limit."""


@with_stated_arguments
@frozen(kw_only=True)
class SyntheticConfig:
    """Section ``synthetic``: the provider of made-up bars, which are always the same for a seed."""

    seed: int = setting(values.whole_number(0, 2**31 - 1), 7)
    """Another number makes other bars. All of them are invented."""


@with_stated_arguments
@frozen(kw_only=True, init=False)
class ValidationConfig:
    """Section ``validation``: severities by rule name; a rule that is not named keeps its default."""

    severities: Mapping[str, Severity] = setting(values.severities, factory=dict)
    """Name of a rule: error (to quarantine), warning (stored and counted) or off."""

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
    """Serve the metrics over HTTP while an ingestion runs."""
    host: str = setting(values.text, "127.0.0.1")
    """Address to serve on. The server has no password: an address other than loopback opens it to the network."""
    port: int = setting(values.whole_number(0, 65_535), 8000)
    """Port to serve on; 0 takes a free one, which the progress and the log name."""
    store: str | None = setting(values.optional(values.label), None)
    """What the label of that name says, such as us-equities; null: the absolute path of the bars."""
    textfile: Path | None = setting(values.optional(values.textfile), None)
    """A .prom file to write after each run, for node_exporter's textfile collector."""
    pushgateway: str | None = setting(values.optional(values.gateway_url), None)
    """URL of a Pushgateway to which the metrics are sent after each run."""
    refresh_seconds: int = setting(values.whole_number(1, 86_400), 60)
    """Age at which a server of metrics measures the store again."""
    max_lag_sessions: int = setting(values.whole_number(0, 250), 1)
    """/readyz answers 503 if the store lacks more final sessions than this."""
    max_missing: int | None = setting(values.optional(values.whole_number(0, 1_000_000_000)), 0)
    """The same for symbol-days that are missing in older sessions; null: any number is allowed."""
    max_suspect: int | None = setting(values.optional(values.whole_number(0, 1_000_000_000)), None)
    """The same for symbol-days that are suspect."""


@with_stated_arguments
@frozen(kw_only=True)
class CoverageConfig:
    """Section ``coverage``: when a symbol-day is suspect. ADR 0008 and ADR 0023 explain each number."""

    hole_minutes: int = setting(values.whole_number(1, 390), 30)
    """A silence in the regular session counts from this length on,"""
    hole_bars: float = setting(values.number(1, 390), 15.0)
    """if at least this many bars are usual in it."""
    stop_minutes: int = setting(values.whole_number(1, 390), 10)
    """The same for a silence that lasts until the close, or that the whole market has,"""
    stop_bars: float = setting(values.number(1, 390), 9.0)
    """and the bars that are usual in it."""
    habit_factor: float = setting(values.number(1, 390), 3.0)
    """A silence counts only if it is longer than the usual longest one times this factor."""
    neighbours: int = setting(values.whole_number(1, 250), 10)
    """How many sessions before and after are compared."""
    unlisted_sessions: int = setting(values.whole_number(1, 250), 5)
    """So many silent sessions in a row, at an end of the range, mean that the symbol is not listed."""
    confirmations: int = setting(values.whole_number(2, 100), 2)
    """After so many equal answers of the provider in a row, a suspect symbol-day is short."""


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

    The six folders must not be inside one another; a store in a bucket has them under one prefix. A path that is not
    given is beside ``output_path``, with a name of its own: another ``output_path`` is another store. Relative paths
    begin in ``root``; without it, in the current folder of each moment. ``timeframes`` are those of the aggregates.
    ``symbol_lists`` has names for lists of symbols, so that ``@tech`` stands for those of the list tech.
    """

    root: Path = setting(values.root_of_paths, Path())
    """Folder in which relative paths and .env begin, for a service or cron job that starts elsewhere."""
    session: SessionKind = setting(values.one_of(*SessionKind), SessionKind.EXTENDED)
    """extended: 04:00 to 20:00 New York time (17:00 on half days). regular: from the open to the close of each date,
    and the minute of the closing auction."""
    output_path: Path = values.place(Path(DATA), S3)
    """Folder of the minute bars on a local disk, or s3://bucket/prefix for the whole store. Another one is another
    store: what is not named below is beside it."""
    aggregates_path: Path = values.place(Factory(partial(beside_data, "aggregates"), takes_self=True))
    """Folder of the bars of other timeframes."""
    quarantine_path: Path = values.place(Factory(partial(beside_data, "quarantine"), takes_self=True))
    """Folder of rejected bars, each with its rule, reason and raw values."""
    revisions_path: Path = values.place(Factory(partial(beside_data, "revisions"), takes_self=True))
    """Folder of the former versions of replaced files; as_of reads them."""
    official_path: Path = values.place(Factory(_official_place, takes_self=True))
    """Folder of the exchange's official daily bars."""
    copies_path: Path = values.place(Factory(partial(beside_data, "copies"), takes_self=True))
    """Folder of the read copies. It can be deleted at any time: 'marketpipe aggregate' makes configured ones again."""
    state_path: Path = values.place(Factory(_state_place, takes_self=True), POSTGRESQL)
    """SQLite file with jobs, checkpoints and leases, on a disk of this machine; or postgresql://user@host/database,
    which several machines can share. The password is in the file that PGPASSFILE names, or in PGPASSWORD."""
    compression: str = setting(values.one_of("zstd", "snappy"), "zstd")
    """Of Parquet files: zstd or snappy. With zstd, aggregates and day files of up to 100 bars have snappy."""
    timeframes: tuple[Timeframe, ...] = setting(values.timeframes, ("5m", "15m", "1h", "1d"))
    """Aggregates that are kept in files; [] for none. The others are made whenever they are read."""
    read_copies: str = setting(values.one_of(*READ_COPIES), "none")
    """Minutes are kept a second time, in one file a symbol and month. parquet: loads 4 to 10 times faster, 3.3 MB
    a symbol and year of regular sessions. arrow: 10 to 50 times faster, 6.3 MB. none: no copies, unless they are asked
    for."""
    symbol_lists: Mapping[str, tuple[Symbol, ...]] = values.setting_by_others(
        lambda value, config: symbol_lists(value, config.root), factory=dict
    )
    """Names for lists of symbols: {tech: [AAPL, MSFT], all: '@universe.txt'}. '@tech' then means them."""
    validation: ValidationConfig = setting(values.section(ValidationConfig), factory=ValidationConfig)
    """Severities of the validation rules."""
    coverage: CoverageConfig = setting(values.section(CoverageConfig), factory=CoverageConfig)
    """When a symbol-day is suspect."""
    calendar: CalendarConfig = setting(values.section(CalendarConfig), factory=CalendarConfig)
    """What the exchange's calendar does not know."""
    metrics: MetricsConfig = setting(values.section(MetricsConfig), factory=MetricsConfig)
    """Prometheus metrics, and when a store is ready."""
    read_from: Path | None = field(default=None, eq=False, repr=False)
    """The file that it was read from, which no output may replace. It is no key of it."""

    @property
    def store_name(self) -> str:
        """What metrics call the store: the configured name, or the absolute path of its bars, without links, or URL."""
        place = self.output_path
        return self.metrics.store or (os.path.realpath(place) if is_on_disk(place) else url_of(place))

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
        copies_path: Path | str = ...,
        state_path: Path | str = ...,
        compression: str = ...,
        timeframes: Iterable[str | Timeframe] = ...,
        read_copies: str = ...,
        symbol_lists: Mapping[str, str | Iterable[str | Symbol]] = ...,
        validation: ValidationConfig | Mapping[str, object] = ...,
        coverage: CoverageConfig | Mapping[str, object] = ...,
        calendar: CalendarConfig | Mapping[str, object] = ...,
        metrics: MetricsConfig | Mapping[str, object] = ...,
        read_from: Path | None = ...,
    ) -> None: ...

    def __attrs_post_init__(self) -> None:
        if is_on_disk(self.output_path):
            values.folders_apart({name: getattr(self, name) for name in FOLDERS})
        else:
            self._check_bucket()

    def _check_bucket(self) -> None:
        """A bucket has all areas of a store under one prefix, and no state."""
        for name in FOLDERS[1:]:
            if getattr(self, name) != _usual_place(name, self):
                raise ConfigurationError(
                    f"{name}: it cannot be named for a store at {url_of(self.output_path)}, which has all areas under "
                    "its own prefix; remove this key"
                )
        if self.state_path == _state_place(self):
            raise ConfigurationError(
                f"state_path: it must be named for a store at {url_of(self.output_path)}, as a bucket keeps no state: "
                f"{EXAMPLES[POSTGRESQL]} for several machines, or a local file such as state/{STATE_FILE} for one"
            )

    def in_former_places(self) -> Self:
        """Return the same with every area that is not named where earlier versions had it: in the current folder."""
        usual = {area: _usual_place(area, self) for area in PLACES}
        unnamed = {area: getattr(FORMER, area) for area in PLACES if getattr(self, area) == usual[area]}
        return evolve(self, **unnamed)


def _usual_place(area: str, config: StoreConfig) -> Path:
    """Return where an area of this ``output_path`` is if no configuration names any place."""
    return _state_place(config) if area == "state_path" else beside_data(area.removesuffix("_path"), config)


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
    """alpaca, synthetic, or the name of a provider that an installed package adds."""
    symbols: tuple[Symbol, ...] = setting_by_others(values.named_symbols)
    """Symbols: a list, '@universe.txt' for a file with one a line, or '@tech' for one of symbol_lists."""
    start: TradingDate | Latest = setting(values.date_or_latest)
    """First trading date, inclusive; or latest."""
    end: TradingDate | Latest = setting(values.date_or_latest)
    """Last trading date, inclusive; latest is the newest session that is final."""
    workers: int = setting(values.whole_number(1, 64), 4)
    """Number of batches that run at the same time."""
    executor: str = setting(values.one_of(*EXECUTORS), THREADS)
    """threads; processes: one process for each worker; dask: the workers of a Dask cluster."""
    scheduler: str | None = setting(values.optional(values.scheduler), None)
    """Address of Dask's scheduler, tls://host:8786 or tcp://host:8786, for executor: dask. null: a cluster of processes
    on this machine, which begins and ends with the run."""
    insecure_scheduler: bool = setting(values.boolean, False)
    """true, and the same address in MARKETPIPE_INSECURE_SCHEDULER: a tcp:// scheduler beyond this machine is used
    without encryption. Whoever reaches its port can run code on the workers."""
    alpaca: ClientConfig = setting(values.section(ClientConfig), factory=ClientConfig)
    """What to request from Alpaca, and how often."""
    synthetic: SyntheticConfig = setting(values.section(SyntheticConfig), factory=SyntheticConfig)
    """The provider of invented bars."""
    provider_options: Mapping[str, object] = field(
        factory=dict, repr=lambda options: f"<{', '.join(map(str, options))}>"
    )
    """The section of the file that has the name of an installed provider."""

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
        copies_path: Path | str = ...,
        state_path: Path | str = ...,
        compression: str = ...,
        workers: int = ...,
        executor: str = ...,
        scheduler: str | None = ...,
        insecure_scheduler: bool = ...,
        timeframes: Iterable[str | Timeframe] = ...,
        read_copies: str = ...,
        symbol_lists: Mapping[str, str | Iterable[str | Symbol]] = ...,
        alpaca: ClientConfig | Mapping[str, object] = ...,
        synthetic: SyntheticConfig | Mapping[str, object] = ...,
        validation: ValidationConfig | Mapping[str, object] = ...,
        coverage: CoverageConfig | Mapping[str, object] = ...,
        calendar: CalendarConfig | Mapping[str, object] = ...,
        metrics: MetricsConfig | Mapping[str, object] = ...,
        read_from: Path | None = ...,
        provider_options: Mapping[str, object] = ...,
    ) -> None: ...

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if isinstance(self.start, TradingDate) and isinstance(self.end, TradingDate) and self.end < self.start:
            raise ConfigurationError(f"end: {self.end} is before start {self.start}")
        if self.executor != DASK and (self.scheduler or self.insecure_scheduler):
            key = "scheduler" if self.scheduler else "insecure_scheduler"
            raise ConfigurationError(f"{key}: is for executor: {DASK}, and this executor is {self.executor}")


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
    return [attribute.name for attribute in fields(kind) if attribute.name not in ("provider_options", "read_from")]
