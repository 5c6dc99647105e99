"""The table of all Prometheus series: name, type, labels, unit and help. Metrics, dashboards and documents rely on it.

Every series has the labels ``store``, ``provider`` and ``session``. ``store`` is the
configured ``metrics.store``, or else the absolute path of the bars; ``provider`` is the name of the market data
provider; ``session`` is extended or regular. No series has a symbol as a label. Moments are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

from attrs import field, frozen

from marketpipe.shared_kernel.domain import errors

PREFIX: Final = "marketpipe_"
STORE_LABELS: Final = ("store", "provider", "session")
"""The labels that say which store a value is of. They come first."""
LATENCY_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds."""
JOB_KINDS: Final = ("ingest", "update", "audit", "import", "aggregate", "verify")
JOB_STATES = COMPLETED, FAILED, INTERRUPTED = ("completed", "failed", "interrupted")
OUTCOMES: Final = ("complete", "empty", "partial", "failed")
VERDICTS: Final = ("complete", "empty", "partial", "missing", "suspect", "short", "unlisted", "pending")
"""The values of ``Verdict``, which this package may not import."""
RULES: Final = (
    "schema",
    *("prices_finite", "prices_positive", "high_is_highest", "low_is_lowest", "volume_not_negative"),
    *("trade_count_not_negative", "vwap_not_negative", "volume_exact", "vwap_within_range", "timestamp_on_grid"),
    *("on_trading_date", "within_session", "not_in_future", "unique_timestamp", "in_order", "no_jump", "no_gap"),
    *("at_midnight", "one_a_day"),
)
"""The names of the validation rules. A violation shows as a rise only if the count was 0 before."""
SYMBOL_DAY_FAILED, OTHER = "symbol_day_failed", "other"


def _kinds_below(error: type[errors.ProviderError]) -> set[str]:
    """Return the kinds of MarketPipe's own errors, which are few; those that a provider defines are not among them."""
    own = (each for each in error.__subclasses__() if each.__module__ == errors.__name__)
    return {error.kind}.union(*map(_kinds_below, own))


ERROR_KINDS: Final = (*sorted(_kinds_below(errors.ProviderError)), SYMBOL_DAY_FAILED, OTHER)
"""A kind that a provider of your own defines counts as "other"."""
FRESHNESS: Final = ("fresh", "stale", "absent")
PARTS: Final = ("files", "coverage")
SOURCES_OF_RESTATEMENTS: Final = ("audit", "official_days", "adjustment")


class SeriesType(StrEnum):
    """Compared by value, as ``Origin`` is: modules may have those of a table that was loaded again since."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Origin(StrEnum):
    """Where the values of a series come from."""

    RUN = "run"
    """Events of a running process, counted in its registry; what short runs counted is added up in the state."""
    PROGRESS = "progress"
    """A running process too; but the value means nothing when the run has ended, and is not kept."""
    JOBS = "jobs"
    """The last jobs, as the state has recorded them."""
    STORE = "store"
    """The stored files and their record, measured from time to time."""


@frozen
class Series:
    """One row of the table. ``labels`` come after those of the store; ``values`` lists a label's values if they are
    few and known. ``unit`` is what one means.
    """

    name: str
    type: SeriesType
    origin: Origin
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(factory=dict)

    @property
    def full_name(self) -> str:
        """The name in a query, such as marketpipe_requests_total."""
        return PREFIX + self.name

    @property
    def all_labels(self) -> tuple[str, ...]:
        return (*STORE_LABELS, *self.labels)


def _counter(name: str, unit: str, text: str, **values: tuple[str, ...]) -> Series:
    known = {label: some for label, some in values.items() if some}
    return Series(name, SeriesType.COUNTER, Origin.RUN, unit, text, tuple(values), known)


def _gauge(origin: Origin, name: str, unit: str, text: str, **values: tuple[str, ...]) -> Series:
    known = {label: some for label, some in values.items() if some}
    return Series(name, SeriesType.GAUGE, origin, unit, text, tuple(values), known)


# --- what a run does
REQUESTS: Final = _counter(
    "requests_total", "requests", "HTTP requests to the provider, by outcome.", outcome=("success", "error")
)
ERRORS: Final = _counter(
    "errors_total",
    "errors",
    "Failed requests and symbol-days, by kind of error. rate_limited: lower alpaca.rate_limit_per_min. credentials: "
    "renew the keys. symbol_day_failed: marketpipe coverage names them, and the next run requests them again.",
    kind=ERROR_KINDS,
)
RETRIES: Final = _counter(
    "retries_total", "requests", "Requests that were repeated after a failure. Many: the provider is in trouble."
)
ATTEMPTS_LOST: Final = _counter(
    "attempts_lost_total",
    "batches",
    "Batches that were begun by a worker of Dask which was killed or lost its connection, and begun again by another. "
    "Many: workers lack memory, or machines come and go.",
)
LATENCY: Final = Series(
    "request_latency_seconds",
    SeriesType.HISTOGRAM,
    Origin.RUN,
    "seconds",
    "Time from sending a request to the end of its response, without waits for the rate limit.",
)
RATE_LIMIT_WAITS: Final = _counter(
    "rate_limit_waits_total", "waits", "Waits of requests for the rate limit, counted as a wait begins."
)
RATE_LIMIT_WAIT_SECONDS: Final = _counter(
    "rate_limit_wait_seconds_total",
    "seconds",
    "Time that requests have waited for the rate limit, counted as a wait begins. It grows by more than 0.5 a second "
    "for long: the limit decides how long a run takes; raise alpaca.rate_limit_per_min if your plan allows more.",
)
BARS_INGESTED: Final = _counter("bars_ingested_total", "bars", "Minute bars written to day files.")
BARS_REJECTED: Final = _counter(
    "bars_rejected_total",
    "bars",
    "Bars that validation moved to quarantine. Rising: marketpipe_rule_violations_total names the rules.",
)
RULE_VIOLATIONS: Final = _counter(
    "rule_violations_total",
    "bars",
    "Fetched bars that break a validation rule. Of severity error they are in quarantine, with their raw values; of "
    "severity warning they are stored. A bar that breaks two rules counts for both.",
    rule=RULES,
    severity=("error", "warning"),
)
PARTITIONS: Final = _counter("partitions_written_total", "files", "Day files written.")
FILES_SYNCED: Final = _counter("files_synced_total", "files", "Files synced to the disk before they were published.")
RESTATEMENTS_FOUND: Final = _counter(
    "restatements_found_total",
    "symbol-days",
    "Symbol-days that the provider has changed since they were stored, by what found them: an audit, a changed "
    "official day, or a new adjustment of prices. After an audit: marketpipe audit --adopt takes the new bars.",
    source=SOURCES_OF_RESTATEMENTS,
)
RESTATEMENTS_ADOPTED: Final = _counter(
    "restatements_adopted_total",
    "symbol-days",
    "Restated symbol-days whose new bars were stored; the former bars are kept as revisions.",
    source=SOURCES_OF_RESTATEMENTS,
)
LEASE_WAITS: Final = _counter(
    "lease_waits_total", "waits", "Waits of a run for symbol-days that another process works on."
)
LEASE_WAIT_SECONDS: Final = _counter(
    "lease_wait_seconds_total",
    "seconds",
    "Time that runs have waited for symbol-days of other processes, counted every ten seconds of a wait. Rising for "
    "long: find out whether the other process hangs; its leases end with it.",
)
JOBS: Final = _counter(
    "jobs_total",
    "jobs",
    "Jobs that ended, by kind and state. failed: marketpipe status names the job; run the same command again.",
    job_kind=JOB_KINDS,
    state=JOB_STATES,
)

JOB_SECONDS: Final = _counter(
    "job_seconds_total",
    "seconds",
    "Time that ended jobs took, by kind. Compare its rise with that of marketpipe_rate_limit_wait_seconds_total.",
    job_kind=JOB_KINDS,
)

# --- how far a run is
BACKLOG: Final = _gauge(
    Origin.PROGRESS,
    "backlog_symbol_days",
    "symbol-days",
    "Symbol-days that running jobs have planned and not recorded yet. It should fall; 0 if no job runs.",
)
RATE_LIMIT: Final = _gauge(
    Origin.PROGRESS,
    "rate_limit_requests_per_second",
    "requests per second",
    "The most requests a second that the configuration allows. Near to the rate of marketpipe_requests_total: the "
    "limit is saturated.",
)
RATE_LIMIT_REMAINING: Final = _gauge(
    Origin.PROGRESS,
    "rate_limit_remaining_requests",
    "requests",
    "Requests that the provider still allows at once, as its latest response stated.",
)

# --- the last jobs
JOB_SUCCESS: Final = _gauge(
    Origin.JOBS,
    "job_last_success_timestamp_seconds",
    "Unix seconds",
    "When the last job of this kind was completed. Older than its schedule: see the log of the timer, then run it.",
    job_kind=JOB_KINDS,
)
JOB_SUCCESS_DURATION: Final = _gauge(
    Origin.JOBS,
    "job_last_success_duration_seconds",
    "seconds",
    "How long the last completed job of this kind took.",
    job_kind=JOB_KINDS,
)
JOB_END: Final = _gauge(
    Origin.JOBS,
    "job_last_end_timestamp_seconds",
    "Unix seconds",
    "When the last job of this kind ended, in whatever state.",
    job_kind=JOB_KINDS,
)
JOB_STATE: Final = _gauge(
    Origin.JOBS,
    "job_last_state",
    "1 or 0",
    "1 for the state in which the last job of this kind ended, else 0. failed: marketpipe status names what failed.",
    job_kind=JOB_KINDS,
    state=JOB_STATES,
)
UNADOPTED: Final = _gauge(
    Origin.JOBS,
    "audit_unadopted_symbol_days",
    "symbol-days",
    "Symbol-days that the last audit found to differ from the provider and did not adopt; days of which the provider "
    "has no bars any more are left out. The next audit replaces it, whatever it compares. Above 0: repeat the audit of "
    "the same symbols and dates, and with --adopt to take the new bars.",
)

# --- what the store has
BUILD_INFO: Final = _gauge(
    Origin.STORE, "build_info", "always 1", "The version of MarketPipe that measured the store, in a label.", version=()
)
STORE_INFO: Final = _gauge(
    Origin.STORE,
    "store_info",
    "always 1",
    "The dataset of the store, in labels.",
    feed=(),
    adjustment=(),
    asof=(),
)
STORE_SYMBOL_DAYS: Final = _gauge(
    Origin.STORE,
    "store_symbol_days",
    "symbol-days",
    "Symbol-days on record, by outcome of their last request. failed: the next run requests them again.",
    outcome=OUTCOMES,
)
STORE_MISSING: Final = _gauge(
    Origin.STORE,
    "store_missing_symbol_days",
    "symbol-days",
    "Symbol-days whose recorded file is gone. Above 0: marketpipe verify lists them, marketpipe ingest requests them.",
)
STORE_SYMBOLS: Final = _gauge(Origin.STORE, "store_symbols", "symbols", "Symbols that were ever requested.")
STORE_BARS: Final = _gauge(Origin.STORE, "store_bars", "bars", "Minute bars in the day files that exist.")
STORE_OFFICIAL: Final = _gauge(
    Origin.STORE, "store_official_days", "symbol-days", "Official daily bars of the exchange that are stored."
)
STORE_REJECTED: Final = _gauge(
    Origin.STORE,
    "store_rejected_bars",
    "bars",
    "Bars in quarantine, with rule and reason. Rising: marketpipe_rule_violations_total names the rules.",
)
STORE_BYTES: Final = _gauge(Origin.STORE, "store_bytes", "bytes", "Size of the day files that exist.")
STORE_COVERAGE: Final = _gauge(
    Origin.STORE,
    "store_coverage_symbol_days",
    "symbol-days",
    "Symbol-days of the configured range, by verdict. missing, partial: marketpipe ingest requests them. suspect: "
    "marketpipe coverage explains each; ingest --retry-suspect requests them again. short: the provider has no more.",
    verdict=VERDICTS,
)
STORE_SUSPECT: Final = _gauge(
    Origin.STORE,
    "store_suspect_symbol_days",
    "symbol-days",
    "Suspect symbol-days by reason, such as holes or file_altered. marketpipe coverage shows each with its evidence.",
    suspicion=(),
)
STORE_OVERDUE: Final = _gauge(
    Origin.STORE,
    "store_overdue_symbol_days",
    "symbol-days",
    "Symbol-days that are missing (or partial) or suspect, of sessions before those that metrics.max_lag_sessions lets "
    "lag. /readyz counts them. Missing above 0: marketpipe coverage shows each with its reason.",
    verdict=("missing", "suspect"),
)
STORE_NEWEST_COMPLETE: Final = _gauge(
    Origin.STORE,
    "store_newest_complete_session_timestamp_seconds",
    "Unix seconds",
    "The close of the newest session in which no symbol is missing, partial or pending. Absent if there is none.",
)
STORE_NEWEST_FINAL: Final = _gauge(
    Origin.STORE,
    "store_newest_final_session_timestamp_seconds",
    "Unix seconds",
    "The close of the newest session that is final and wanted: what a fresh store has.",
)
STORE_LAG: Final = _gauge(
    Origin.STORE,
    "store_lag_sessions",
    "sessions",
    "Final sessions after the newest complete one. 0: the store is fresh. Above 1: marketpipe update has not run or "
    "has failed; see marketpipe_job_last_state.",
)
STORE_LAGGING_SYMBOLS: Final = _gauge(
    Origin.STORE,
    "store_lagging_symbols",
    "symbols",
    "Symbols that lack the newest final session. All of them: no update has run; a few: marketpipe coverage says why.",
)
STORE_LEASED: Final = _gauge(
    Origin.STORE,
    "store_leased_symbol_days",
    "symbol-days",
    "Symbol-days that running processes have leased now. Above 0 for hours without bars: a process hangs.",
)
STORE_STALE_AGGREGATES: Final = _gauge(
    Origin.STORE,
    "store_stale_aggregate_symbol_days",
    "symbol-days",
    "Symbol-days whose bars an aggregate file does not have as they are now. Above 0: run marketpipe aggregate.",
)
STORE_READ_COPIES: Final = _gauge(
    Origin.STORE,
    "store_read_copies",
    "files",
    "Read copies, one a symbol and month. stale, absent: run marketpipe aggregate --timeframes 1m.",
    condition=FRESHNESS,
)
STORE_LOST_FILES: Final = _gauge(
    Origin.STORE,
    "store_lost_files",
    "files",
    "Recorded files other than day files that are gone, such as revisions. Above 0: marketpipe verify names them.",
)
STORE_DISK_FREE: Final = _gauge(
    Origin.STORE,
    "store_filesystem_free_bytes",
    "bytes",
    "Free space on the file system of the bars. Nearly none: a run stops before it harms the store; make space.",
)
STORE_DISK_SIZE: Final = _gauge(
    Origin.STORE, "store_filesystem_size_bytes", "bytes", "Size of the file system of the bars."
)
STORE_READY: Final = _gauge(
    Origin.STORE,
    "store_ready",
    "1 or 0",
    "1 if the store is as fresh and as complete as configured, as /readyz answers, else 0; /readyz gives the reason.",
)
STORE_MEASURED: Final = _gauge(
    Origin.STORE,
    "store_measured_timestamp_seconds",
    "Unix seconds",
    "When the series marketpipe_store_* were measured; coverage, which costs more, is measured less often. Much older "
    "than metrics.refresh_seconds: no process serves or delivers its metrics. Absent: the store cannot be read.",
    part=PARTS,
)
STORE_MEASURING: Final = _gauge(
    Origin.STORE,
    "store_measuring_duration_seconds",
    "seconds",
    "How long it took to measure the store.",
    part=PARTS,
)

ALL: Final = tuple(each for each in list(globals().values()) if isinstance(each, Series))
"""The whole table, in the order of this file."""


def of_origin(*origins: Origin) -> Iterator[Series]:
    return (series for series in ALL if series.origin in origins)
