"""What watches a pipeline's events: the log, and the counters behind reports. Events come on several threads at once.

Metrics are in metrics/. An observer changes nothing: the bus keeps its errors from the pipeline.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

from attrs import field, frozen

from marketpipe.reports import ValidationReport
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.symbol import SymbolDay, range_as_text, ranges_alike
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    AggregatesPrepared,
    AttemptLost,
    BarsExhausted,
    BarsStored,
    BarsValidated,
    Event,
    JobFinished,
    JobStarted,
    LeasesAwaited,
    MetricsNotDelivered,
    MetricsNotServed,
    MetricsServed,
    OfficialDaysChanged,
    OfficialDaysStored,
    PartitionFoundDamaged,
    RateLimitWaited,
    RequestCompleted,
    RequestRetried,
    RuleFinding,
    StoredBarsValidated,
    SymbolDaysRecorded,
)

logger = logging.getLogger("marketpipe.ingestion")
isolation_logger = logging.getLogger("marketpipe.observers")
logging.getLogger("marketpipe").addHandler(logging.NullHandler())  # without a set-up, nothing goes to standard error


class Isolation:
    """Makes the context manager around each call of an observer, and knows which threads are in one."""

    def __init__(self) -> None:
        self._calls = threading.local()

    def __call__(self, event: Event, observer: Callable[[Any], None]) -> LoggedIsolation:
        return LoggedIsolation(event, observer, self._calls)

    @property
    def is_observing(self) -> bool:
        """Whether an observer has been called on this thread, and has not returned yet."""
        return getattr(self._calls, "depth", 0) > 0


@frozen
class LoggedIsolation:
    """A context manager that keeps an observer's error from the pipeline: it is logged with its traceback.

    ``calls.depth`` is the number of observers that have been called on this thread and have not returned yet.
    """

    event: Event
    observer: Callable[[Any], None]
    calls: threading.local = field(factory=threading.local, repr=False)

    def __enter__(self) -> LoggedIsolation:
        self.calls.depth = getattr(self.calls, "depth", 0) + 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        self.calls.depth -= 1
        if kind is None or not issubclass(kind, Exception):
            return False
        isolation_logger.error("the observer %r failed on %r", self.observer, self.event, exc_info=error)
        return True


def log_event(event: Event) -> None:
    """Log what an operator looks for under ``marketpipe.ingestion``: jobs and waits as info, failures as warnings.

    It configures nothing: levels and handlers belong to the application.
    """
    match event:
        case JobStarted():
            logger.info(
                "job %d: %d symbol-days to request from %s, in %d batches; %d need no request",
                *(event.job_id, event.planned, event.provider, event.batches, event.settled),
            )
        case JobFinished():
            logger.info("job %d: %s", event.job_id, event.state)
        case SymbolDaysRecorded():
            for days, reason in _failed_ranges({each.symbol_day: each.error for each in event.outcomes}):
                logger.warning("job %d: %s failed: %s", event.job_id, days, reason)
        case OfficialDaysChanged():
            for change in event.changes:
                logger.info("the official day of %s has changed: its minutes are requested again", change.symbol_day)
        case OfficialDaysStored():
            _log_failed_official_days(event)
        case RequestRetried():
            logger.info(
                "attempt %d failed (%s); next attempt in %.1f s", event.attempt, event.reason, event.wait_seconds
            )
        case AttemptLost():
            logger.warning("%s: a worker was lost after %d requests", event.request, event.requests)
        case RateLimitWaited():
            logger.info("waiting %.1f s for the rate limit of %s", event.seconds, event.provider)
        case MetricsServed():
            logger.info("metrics are served at %s", event.address)
        case MetricsNotServed():
            logger.warning("no metrics are served: %s", event.reason)
        case MetricsNotDelivered():
            logger.warning("the metrics of the run did not reach %s: %s", event.place, event.reason)
        case LeasesAwaited():
            what = "official days, requested by" if event.official else "symbol-days, leased by"
            logger.info("waiting for %d %s %s, for %.0f s by now", event.symbol_days, what, event.others, event.seconds)
        case BarsExhausted() if event.unrequested:
            logger.warning(
                "the provider returned %d bars that were not requested; they were dropped", event.unrequested
            )


def _failed_ranges(reasons: Mapping[SymbolDay, str | None]) -> Iterator[tuple[str, str]]:
    """Yield days of a symbol together that failed for one reason, as text; a day without a reason ends a range."""
    if any(reason is not None for reason in reasons.values()):  # rarely: the days are sorted for it
        for days, reason in ranges_alike(reasons, reasons.get):
            yield range_as_text(days), reason


def _log_failed_official_days(event: OfficialDaysStored) -> None:
    for year in event.years:
        if year.error is not None:
            logger.warning("official days of %s in %d cannot be stored: %s", year.symbol, year.year, year.error)
        for days, reason in _failed_ranges({SymbolDay(year.symbol, date): why for date, why in year.failed.items()}):
            logger.warning("%s: %s", days, reason)
    for refused in event.refused:
        logger.warning("official days of %s were refused: %s", refused.symbol, refused.reason)


class IngestionCounter:
    """Counts requests, what went wrong with them, and warnings since ``reset``, from all worker threads.

    ``rate_limit_seconds`` are those in which at least one request waited for the rate limit. ``prepared`` are the files
    of aggregates that were made before the refresh, ``prepared_copies`` those of them that are read copies, and
    ``rejected_without_session`` the rejected bars of symbol-days that were not requested, such as those of a holiday.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lock, self._monotonic = threading.Lock(), monotonic
        self.reset()

    def reset(self) -> None:
        self.requests, self.retries, self.rate_limit_seconds = 0, 0, 0.0
        self.prepared, self.prepared_copies, self._without_session = 0, 0, dict[SymbolDay, int]()
        self._warnings, self._faults, self._limited_until = Counter[str](), Counter[str](), -math.inf

    def observe(self, bus: EventBus) -> None:
        bus.observe(RequestCompleted, self._on_request)
        bus.observe(RequestRetried, self._on_retry)
        bus.observe(RateLimitWaited, self._on_wait)
        bus.observe(BarsValidated, self._on_validated)
        bus.observe(AggregatesPrepared, self._on_prepared)
        bus.observe(BarsStored, self._on_stored)

    @property
    def rejected_without_session(self) -> int:
        return sum(self._without_session.values())

    @property
    def warnings(self) -> Mapping[str, int]:
        """Return by rule the number of bars that break it and are stored nevertheless."""
        return dict(self._warnings)

    @property
    def faults(self) -> Mapping[str, int]:
        """Return by ``ProviderError.kind`` the number of requests that failed, whether sent again or not."""
        return dict(self._faults)

    def _on_request(self, event: RequestCompleted) -> None:
        with self._lock:
            self.requests += 1
            if event.error_kind is not None:
                self._faults[event.error_kind] += 1

    def _on_retry(self, _: RequestRetried) -> None:
        with self._lock:
            self.retries += 1

    def _on_wait(self, event: RateLimitWaited) -> None:
        now = self._monotonic()
        with self._lock:
            until = max(self._limited_until, now + event.seconds)
            self.rate_limit_seconds += until - max(self._limited_until, now)
            self._limited_until = until

    def _on_prepared(self, event: AggregatesPrepared) -> None:
        with self._lock:
            self.prepared += event.files
            self.prepared_copies += event.copies

    def _on_stored(self, event: BarsStored) -> None:
        if not (rejected := [day for day in event.days if day.rejected]):  # as nearly always
            return
        requested = {asked.trading_date for asked in event.request.sessions}
        found = [day for day in rejected if day.symbol_day.trading_date not in requested]
        with self._lock:  # not added up: a request that failed brings the same bars again when it is repeated
            self._without_session.update((day.symbol_day, day.rejected) for day in found)

    def _on_validated(self, event: BarsValidated) -> None:
        with self._lock:
            for finding in event.findings:
                if finding.severity is Severity.WARNING:
                    self._warnings[finding.rule] += finding.count


class ReviewCollector:
    """Collects what a validation of stored bars has found since ``reset``. It runs on one thread."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._bars, self._symbol_days = 0, 0
        self._findings: list[RuleFinding] = []
        self._damaged: dict[SymbolDay, str] = {}

    def observe(self, bus: EventBus) -> None:
        bus.subscribe(StoredBarsValidated, self._on_validated)
        bus.subscribe(PartitionFoundDamaged, self._on_damaged)

    def report(self) -> ValidationReport:
        return ValidationReport(self._bars, self._symbol_days, tuple(self._findings), self._damaged)

    def _on_validated(self, event: StoredBarsValidated) -> None:
        self._bars += event.bars
        self._symbol_days += event.symbol_days
        self._findings.extend(event.findings)

    def _on_damaged(self, event: PartitionFoundDamaged) -> None:
        self._damaged[event.symbol_day] = event.reason
