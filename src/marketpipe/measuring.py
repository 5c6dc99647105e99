"""Measures what a store has: how fresh and complete it is, for metrics and for /readyz.

The files are listed at each measurement. A verdict on every symbol-day costs much more for a store of years: it is kept
in the state, and found again only if checkpoints were written since, or after an hour.
"""

from __future__ import annotations

import shutil
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

from attrs import evolve, frozen

from marketpipe.config import LATEST, PipelineConfig, StoreConfig, is_on_disk
from marketpipe.ingestion.domain.coverage.verdict import Suspicion, Verdict
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.metrics import StoreLabels, series
from marketpipe.metrics.exposition import Sample
from marketpipe.parts import Parts, installed_version
from marketpipe.reports import CoverageReport, HealthReason, HealthReport, StatusReport
from marketpipe.scoping import Symbols, resolved
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StateError, count_of
from marketpipe.shared_kernel.domain.store_inventory import TotalKey
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import AnyDate, TradingDate, TradingSession

from . import composition, place_parts
from .coverage_parts import new_gap_finder

FILES, COVERAGE = series.PARTS
ASSESSMENT = "coverage_assessment"
"""The name of kept figures that are no series: when, of what and how coverage was found."""
OUTDATED: Final[Mapping[TotalKey, float]] = {(ASSESSMENT, ("question",)): -1.0}
"""Replaces what was kept of the last time, so that verdicts are found again: a run has written since."""
COVERAGE_MAX_AGE_SECONDS: Final = 3600.0
PAUSE: Final = 10.0
"""What takes long is done again only after this many times as long as it took: it costs a tenth of a core at most."""
FIRST_SESSIONS, GROWTH = 16, 8
"""The newest sessions are looked at first, then so many times more, until a complete one is found."""
NOT_ASSESSED: Final = "what is missing is not known: coverage was not assessed yet; 'marketpipe metrics' assesses it"
PACKAGE: Final = __name__.partition(".")[0]
MICROS: Final = 1_000_000
Sessions = Sequence[TradingSession]


class MeasuredStore(Protocol):
    """What measuring needs of a ``Store``."""

    @property
    def config(self) -> StoreConfig: ...

    @property
    def _parts(self) -> Parts: ...

    def status(self) -> StatusReport: ...

    def coverage(self) -> CoverageReport: ...

    def _known_scope(self, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None) -> IngestionScope: ...

    def _latest_final(self) -> TradingDate: ...


@frozen
class Measurement:
    """What was found: the values of the series of origin store, and whether the store is ready."""

    samples: tuple[Sample, ...]
    health: HealthReport


@frozen
class Freshness:
    """``newest`` is the last session that is complete, ``wanted`` the newest that is final and wanted."""

    newest: TradingSession | None
    wanted: TradingSession | None
    lag: int
    lagging_symbols: int


def labels_of(store: MeasuredStore) -> StoreLabels:
    """Return the labels of the series of this store: its dataset as recorded, or else as configured."""
    recorded = place_parts.known_state(store._parts).dataset()
    if recorded is None:
        return configured_labels(store.config)
    return StoreLabels(store.config.store_name, recorded[0].provider, str(recorded[1]))


def configured_labels(config: StoreConfig) -> StoreLabels:
    """Return the labels of the series of a store whose dataset is not known."""
    return StoreLabels(config.store_name, getattr(config, "provider", ""), str(config.session))


def measure(store: MeasuredStore, *, assess: bool) -> Measurement:
    """Measure the store. Without ``assess`` the verdicts of the last time count, however old they are.

    Raises ``MarketPipeError`` if the store cannot be read.
    """
    parts, started = store._parts, store._parts.clock.monotonic()
    now, status = parts.clock.now(), store.status()
    try:
        fresh = _freshness(store, store._known_scope(None, None, None))
    except ConfigurationError as error:  # nothing was ever ingested here
        return _unready(now, HealthReason("fresh", str(error)))
    found = _coverage(store, assess=assess)
    seconds = parts.clock.monotonic() - started
    health = _health(store.config, fresh, found, _gone(store, status), now)
    samples = (
        Sample(series.BUILD_INFO, 1, (installed_version(PACKAGE),)),
        *_of_status(status),
        *_of_freshness(fresh),
        *_of_coverage(found),
        *_of_disk(store.config),
        Sample(series.STORE_READY, health.ok),
        Sample(series.STORE_MEASURED, now.epoch_micros / MICROS, (FILES,)),
        Sample(series.STORE_MEASURING, seconds, (FILES,)),
    )
    return Measurement(samples, health)


def unreadable(error: Exception, now: Timestamp) -> Measurement:
    """Return the measurement of a store that cannot be read."""
    return _unready(now, HealthReason("readable", f"the store cannot be read: {error}"))


def not_measured(now: Timestamp) -> Measurement:
    """Return what is known before the first measurement has ended."""
    return _unready(now, HealthReason("readable", "the store is being measured for the first time; ask again"))


def _unready(now: Timestamp, reason: HealthReason) -> Measurement:
    return Measurement((Sample(series.STORE_READY, 0),), HealthReport((reason,), now))


# --- freshness
def _freshness(store: MeasuredStore, scope: IngestionScope) -> Freshness:
    parts = store._parts
    wanted, recorded = _newest_wanted(store, scope), place_parts.known_state(parts)
    sessions = list(composition.calendar(parts).reaching(scope.first, wanted))
    if not sessions:
        return Freshness(None, None, 0, 0)
    finder, by_day = new_gap_finder(parts), composition.holds_imported_bars(recorded)
    count = FIRST_SESSIONS
    while True:
        part, last = sessions[-count:], sessions[-1].trading_date
        gaps = finder.gaps(evolve(scope, first=part[0].trading_date, last=last), (), by_day=by_day)
        complete = _without(part, {(gap.first, gap.last) for gap in gaps})
        if complete or count >= len(sessions):
            break
        count *= GROWTH
    newest, lagging = complete[-1] if complete else None, {gap.symbol for gap in gaps if gap.last == last}
    lag = len(sessions) if newest is None else len([each for each in part if each.trading_date > newest.trading_date])
    return Freshness(newest, sessions[-1], lag, len(lagging))


def _without(sessions: Sessions, spans: Collection[tuple[TradingDate, TradingDate]]) -> Sessions:
    """Return the sessions that are in none of the spans, whose dates are those of sessions."""
    places, dates = {each.trading_date: i for i, each in enumerate(sessions)}, set[TradingDate]()
    for first, last in spans:
        dates.update(each.trading_date for each in sessions[places[first] : places[last] + 1])
    return [each for each in sessions if each.trading_date not in dates]


def _newest_wanted(store: MeasuredStore, scope: IngestionScope) -> TradingDate:
    """Return the date of the newest session that a fresh store has.

    It is the newest final one, or the configured end, if no update has ever gone beyond that. A store of imported bars
    has what the last import had: sessions after it can come from the user's files only.
    """
    config, latest = store.config, store._latest_final()
    if composition.holds_imported_bars(place_parts.known_state(store._parts)):
        return min(scope.last, latest)
    if isinstance(config, PipelineConfig) and config.end != LATEST:
        end = resolved(config.end, lambda: latest)
        return min(end, latest) if scope.last <= end else latest
    return latest


# --- coverage
def _coverage(store: MeasuredStore, *, assess: bool) -> Mapping[TotalKey, float]:
    """Return the figures of coverage by the names of series, found now or kept in the state; none if there are none."""
    recorded = place_parts.known_state(store._parts)
    kept, clock = recorded.runs.totals(), store._parts.clock
    figures = {key: value for key, value in kept.items() if key[0] in _KEPT_NAMES}
    now, position = clock.now().epoch_micros / MICROS, recorded.leases.position()
    question = _question(store)
    if not assess or _is_recent(figures, now, position, question):
        return figures
    started = clock.monotonic()
    try:
        wanted = _newest_wanted(store, store._known_scope(None, None, None))
        found = _figures(store.coverage(), wanted, store.config.metrics.max_lag_sessions)
    except ConfigurationError:  # no session of the range has begun: nothing is overdue
        return {(series.STORE_OVERDUE.name, (name,)): 0 for name in series.STORE_OVERDUE.values["verdict"]}
    assessment = {"at": now, "position": position, "question": question, "seconds": clock.monotonic() - started}
    found.update({(ASSESSMENT, (name,)): value for name, value in assessment.items()})
    with suppress(StateError):  # a store that can only be read: nothing is kept, and all is found again
        recorded.runs.replace_totals(found)
    return found


def _question(store: MeasuredStore) -> int:
    """Return a number, at least 0, that changes with what is asked: symbols, dates, calendar, thresholds."""
    scope, config = store._known_scope(None, None, None), store.config
    asked = (scope.symbols, scope.first, scope.last, scope.session_kind, store._latest_final(), config.coverage)
    return zlib.crc32(repr((*asked, config.calendar, config.metrics.max_lag_sessions)).encode())


def _is_recent(figures: Mapping[TotalKey, float], now: float, position: int, question: int) -> bool:
    kept = {name: figures.get((ASSESSMENT, (name,)), -1.0) for name in ("at", "position", "question", "seconds")}
    age = now - kept["at"]
    if kept["question"] != question or not 0 <= age < COVERAGE_MAX_AGE_SECONDS:
        return False
    return kept["position"] == position or age < PAUSE * kept["seconds"]


def _figures(report: CoverageReport, wanted: TradingDate, lag: int) -> dict[TotalKey, float]:
    """``wanted`` is the newest session that is final and wanted; the last ``lag`` up to it may be missing."""
    suspicions, older = Counter[Suspicion](), Counter[Verdict]()
    due = max(0, bisect_right(report.dates, wanted) - lag)
    for each in report.symbols:
        suspicions.update(each.suspicions())
        older.update(each.verdicts[:due])
    missing = older[Verdict.MISSING] + older[Verdict.PARTIAL]
    return {
        **{(series.STORE_COVERAGE.name, (str(verdict),)): report.count(verdict) for verdict in Verdict},
        **{(series.STORE_SUSPECT.name, (each.name.lower(),)): suspicions[each] for each in Suspicion},
        (series.STORE_STALE_AGGREGATES.name, ()): suspicions[Suspicion.STALE_AGGREGATE],
        (series.STORE_LOST_FILES.name, ()): len(report.lost),
        (series.STORE_OVERDUE.name, ("missing",)): missing,
        (series.STORE_OVERDUE.name, ("suspect",)): older[Verdict.SUSPECT],
    }


_SERIES_OF_COVERAGE: Final = {
    each.name: each
    for each in (
        series.STORE_COVERAGE,
        series.STORE_SUSPECT,
        series.STORE_OVERDUE,
        series.STORE_STALE_AGGREGATES,
        series.STORE_LOST_FILES,
    )
}
_KEPT_NAMES: Final = frozenset({*_SERIES_OF_COVERAGE, ASSESSMENT})


# --- samples and health
def _of_status(status: StatusReport) -> Iterator[Sample]:
    symbols, identity = status.symbols, status.identity
    if identity is not None:
        yield Sample(series.STORE_INFO, 1, (identity.feed, identity.adjustment, identity.asof))
    for outcome in Outcome:
        yield Sample(series.STORE_SYMBOL_DAYS, sum(getattr(each, str(outcome)) for each in symbols), (str(outcome),))
    yield Sample(series.STORE_MISSING, status.missing)
    yield Sample(series.STORE_SYMBOLS, len(symbols))
    yield Sample(series.STORE_BARS, sum(each.bars for each in symbols))
    yield Sample(series.STORE_OFFICIAL, sum(each.official_days for each in symbols))
    yield Sample(series.STORE_REJECTED, sum(each.rejected for each in symbols))
    yield Sample(series.STORE_BYTES, sum(each.size_bytes for each in symbols))
    if status.read_copies is not None:
        for condition in series.FRESHNESS:
            yield Sample(series.STORE_READ_COPIES, getattr(status.read_copies, condition), (condition,))


def _of_freshness(fresh: Freshness) -> Iterator[Sample]:
    yield Sample(series.STORE_LAG, fresh.lag)
    yield Sample(series.STORE_LAGGING_SYMBOLS, fresh.lagging_symbols)
    for each, session in ((series.STORE_NEWEST_COMPLETE, fresh.newest), (series.STORE_NEWEST_FINAL, fresh.wanted)):
        if session is not None:
            yield Sample(each, session.regular.end.epoch_micros / MICROS)


def _of_coverage(found: Mapping[TotalKey, float]) -> Iterator[Sample]:
    for (name, labels), value in found.items():
        if name in _SERIES_OF_COVERAGE:
            yield Sample(_SERIES_OF_COVERAGE[name], value, labels)
    if (at := found.get((ASSESSMENT, ("at",)))) is not None:
        yield Sample(series.STORE_MEASURED, at, (COVERAGE,))
        yield Sample(series.STORE_MEASURING, found[ASSESSMENT, ("seconds",)], (COVERAGE,))


def _of_disk(config: StoreConfig) -> Sequence[Sample]:
    if not is_on_disk(config.output_path):
        return ()
    place = next((each for each in (config.output_path, *config.output_path.absolute().parents) if each.exists()), None)
    if place is None:
        return ()
    usage = shutil.disk_usage(place)
    return Sample(series.STORE_DISK_FREE, usage.free), Sample(series.STORE_DISK_SIZE, usage.total)


def _gone(store: MeasuredStore, status: StatusReport) -> int:
    """Return how many files are gone of the symbols that are wanted now: others may have been deleted on purpose."""
    wanted = set(store._known_scope(None, None, None).symbols)
    return sum(each.missing for each in status.symbols if each.symbol in wanted)


def _health(
    config: StoreConfig, fresh: Freshness, found: Mapping[TotalKey, float], gone: int, now: Timestamp
) -> HealthReport:
    """``gone`` recorded files do not exist: that is known now, even if the verdicts were found before."""
    limits, reasons = config.metrics, list[HealthReason]()
    missing, suspect = (
        int(value) if (value := found.get((series.STORE_OVERDUE.name, (name,)))) is not None else None
        for name in series.STORE_OVERDUE.values["verdict"]
    )
    missing = max(missing or 0, gone) if gone else missing
    if fresh.lag > limits.max_lag_sessions:
        until = f"the last complete one is {fresh.newest.trading_date}" if fresh.newest else "none is complete"
        message = f"{count_of(fresh.lag, 'session')} missing: {until}; run 'marketpipe update', or see its log"
        reasons.append(HealthReason("fresh", message, fresh.lag, limits.max_lag_sessions))
    for limit, count, advice in (
        (limits.max_missing, missing, "missing or partial; 'marketpipe ingest' requests them"),
        (limits.max_suspect, suspect, "suspect; 'marketpipe coverage' explains each"),
    ):
        if limit is not None and (count or 0) > limit:
            reasons.append(HealthReason("complete", f"{count:,} symbol-days are {advice}", count, limit))
    if suspect is None and (limits.max_missing, limits.max_suspect) != (None, None):
        reasons.append(HealthReason("complete", NOT_ASSESSED))
    at = found.get((ASSESSMENT, ("at",)))
    assessed = None if at is None else Timestamp.from_epoch_micros(round(at * MICROS))
    return HealthReport(tuple(reasons), now, fresh.lag, missing, suspect, assessed)
