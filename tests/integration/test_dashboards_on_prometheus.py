"""A real Prometheus scrapes a run with faults; every query of every panel, alert and rule answers with what it did.

Two targets are scraped, as the example of a configuration has them: the run while it goes on, and the server of the
store's metrics, which has the totals of ended runs. Run it with ``-s`` to see the table of panels and values.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from prometheus_client import CollectorRegistry

from marketpipe import CoverageReport, CredentialsError, HealthReport, IngestionReport, Pipeline, StatusReport
from marketpipe.config import ClientConfig, Credentials
from marketpipe.ingestion.domain.coverage.verdict import Suspicion, Verdict
from marketpipe.shared_kernel.domain.trading_date import TradingSession
from marketpipe.testing import LoopbackRequest, Response, sessions
from tests.support.alpaca_loopback import AlpacaLoopback, Record, record
from tests.support.child_processes import wait_until
from tests.support.clients import KEY, SECRET
from tests.support.dashboard_files import RULES, dashboard, queries, replaced, rules
from tests.support.installed import needs
from tests.support.pipeline_ring import config
from tests.support.prometheus_server import Labels, PrometheusServer, free_port, prometheus

pytestmark = needs("prometheus")

STORE, SYMBOLS, BARS_A_DAY = "us", ("AAPL", "MSFT", "NVDA"), 40
BEFORE_UPDATE = 3
"""Of the newest five final sessions: all symbols get these, and NVDA lacks the others."""
PER_MINUTE, REMAINING, BROKEN = 1000, 137, 8
PAGES_BEFORE_SCRAPES = 10
SEEN, LIVE = "marketpipe", "marketpipe-run"
"""Jobs of Prometheus: the totals of ended runs, and the run that goes on."""
BACKLOG = "marketpipe_backlog_symbol_days"
LAST = (
    f'marketpipe_audit_unadopted_symbol_days{{job="{SEEN}"}} == 1',
    f'marketpipe_store_overdue_symbol_days{{job="{SEEN}",verdict="suspect"}} == 1',
    'count(ALERTS{alertname=~"MarketPipeRestatementNotAdopted|MarketPipeSuspectDaysFound"}) == 2',
)
"""Queries whose answers show that Prometheus has seen, and judged, all that the runs did."""
WITHOUT_JOB = ("store:marketpipe_complete_symbol_days:ratio", "store:marketpipe_filesystem_free:ratio")
WINDOW = 60
Values = dict[str, float]
"""By the values of their labels, in alphabetical order of the labels."""


class FaultyProvider(AlpacaLoopback):
    """A provider that is slow, fails some requests, and sends some bars that break a rule."""

    def __init__(self, days: Sequence[TradingSession]) -> None:
        self.dates = [str(day.trading_date) for day in days]
        self.served = {symbol: [bar for day in days for bar in _bars_from_the_open(day)] for symbol in SYMBOLS}
        for bar in self.served["MSFT"][BEFORE_UPDATE * BARS_A_DAY :][:BROKEN]:
            bar["h"] = bar["l"] - 1
        super().__init__(self.served, page_size=30, fault=self._fault)
        self.seconds, self.refuses_keys, self.refusals = 0.1, False, 0
        self.was_scraped = threading.Event()

    def answer(self, request: LoopbackRequest) -> Response:
        time.sleep(self.seconds)
        found = super().answer(request)
        return evolve(found, headers={**found.headers, "X-RateLimit-Remaining": str(REMAINING)})

    def _fault(self, number: int, _: Mapping[str, str]) -> Response | None:
        if number >= PAGES_BEFORE_SCRAPES:
            self.was_scraped.wait(60)
        if self.refuses_keys:
            self.refusals += 1
            return Response(401, {"message": "forbidden"})
        if number == 3:
            return Response(429, {"message": "too many requests"}, {"Retry-After": "1"})
        return Response(500, {"message": "internal server error"}) if number == 6 else None


def _bars_from_the_open(day: TradingSession) -> list[Record]:
    moments = [day.regular.start.plus(timedelta(minutes=number)) for number in range(BARS_A_DAY)]
    return [record(str(moment), 100.0 + number / 4) for number, moment in enumerate(moments)]


@frozen
class Observed:
    """What the runs did, and the server that watched: at ``during`` the first went on, at ``after`` all had ended."""

    server: PrometheusServer
    provider: FaultyProvider
    runs: tuple[IngestionReport, ...]
    coverage: CoverageReport
    status: StatusReport
    health: HealthReport
    place: Path
    during: float
    after: float


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    root, ports = tmp_path_factory.mktemp("observed"), {SEEN: free_port(), LIVE: free_port()}
    with (
        prometheus(root, ports, RULES) as server,
        FaultyProvider(_newest_final_sessions(root)) as provider,
        _pipeline(root, provider) as store,
    ):
        store.coverage()  # it loads the calendar, so that the first measurement is quick
        store.health()
        with store.serve_metrics(port=ports[SEEN]):
            wait_until(lambda: server.query(f'up{{job="{SEEN}"}} == 1'))
            with _pipeline(root, provider, enabled=True, port=ports[LIVE]) as made:
                first, during = _watched(made, provider, server)
                runs = first, _run_the_rest(made, provider)
            wait_until(lambda: store.health().missing == 1, 60)
            for is_seen in (f'up{{job="{LIVE}"}} == 0', f'marketpipe_store_ready{{job="{SEEN}"}}', *LAST):
                wait_until(lambda query=is_seen: server.query(query), 60)
            evaluated = f'timestamp(store:marketpipe_requests:rate5m{{job="{SEEN}"}}) > {time.time()}'
            wait_until(lambda: server.query(evaluated), 60)
            facts = store.coverage(), store.status(), store.health()
            yield Observed(server, provider, runs, *facts, root, during, time.time())


def _newest_final_sessions(root: Path) -> Sequence[TradingSession]:
    """Return five sessions by the real time, as ``update`` goes on to the newest one, and Prometheus knows no other."""
    settings = config(root, SYMBOLS, str(datetime.now(UTC).date() - timedelta(days=20)), "latest", provider="synthetic")
    with Pipeline(settings, registry=CollectorRegistry()) as made:
        found = made.coverage()
    return sessions(str(found.first), str(found.last))[-5:]


@contextmanager
def _pipeline(root: Path, provider: FaultyProvider, **metrics: Any) -> Iterator[Pipeline]:
    settings = config(
        root,
        SYMBOLS,
        provider.dates[0],
        provider.dates[-1],
        provider="alpaca",
        read_copies="parquet",
        alpaca=ClientConfig(base_url=provider.url, rate_limit_per_min=PER_MINUTE),
        metrics={"store": STORE, "refresh_seconds": 1, **metrics},
    )
    with Pipeline(settings, credentials=Credentials(KEY, SECRET), registry=CollectorRegistry()) as made:
        yield made


def _watched(made: Pipeline, provider: FaultyProvider, server: PrometheusServer) -> tuple[IngestionReport, float]:
    """Ingest, and let the last pages wait for Prometheus. Return the report, and the time of a scrape of the run."""
    end, reports = provider.dates[BEFORE_UPDATE - 1], list[IngestionReport]()
    thread = threading.Thread(target=lambda: reports.append(made.ingest(end=end)))
    thread.start()
    wait_until(lambda: server.query(f"count_over_time({BACKLOG}[1m]) >= 3"), 60)
    (during,) = server.query(f"timestamp({BACKLOG})").values()
    provider.was_scraped.set()
    thread.join()
    return reports[0], during


def _run_the_rest(made: Pipeline, provider: FaultyProvider) -> IngestionReport:
    """Fail to update because of the keys, ingest more, and audit a session that the provider has restated."""
    provider.seconds, provider.refuses_keys = 0.0, True
    with pytest.raises(CredentialsError):
        made.update()
    provider.refuses_keys = False
    report = made.ingest(symbols=["AAPL", "MSFT"])
    provider.served["AAPL"][3]["c"] += 0.1
    assert len(made.audit(symbols=["AAPL"], start=provider.dates[0], end=provider.dates[0]).restatements) == 1
    return report


def about(value: float, share: float = 0.05) -> Any:
    return pytest.approx(value, rel=share)


def between(low: float, high: float) -> Any:
    return pytest.approx((low + high) / 2, abs=(high - low) / 2)


def rise(count: float) -> Any:
    """A rise from 0, which Prometheus extrapolates by the time between two scrapes at most: a busy machine has few."""
    return between(0.95 * count, 1.6 * count)


def each_second(count: float) -> Any:
    return rise(count / WINDOW)


def of_store(value: Any) -> Values:
    return {STORE: value}


def _values(found: Mapping[Labels, float]) -> Values:
    return {" ".join(value for _, value in labels): number for labels, number in found.items()}


def _free_share(seen: Observed) -> float:
    disk = shutil.disk_usage(seen.place)
    return disk.free / disk.total


def _bars(seen: Observed) -> int:
    return sum(run.bars for run in seen.runs)


def _of_the_store(seen: Observed) -> dict[str, list[Values]]:
    """What panels show of the store: fresh, complete, and its size."""
    coverage = seen.coverage
    missing = coverage.count(Verdict.MISSING) + coverage.count(Verdict.PARTIAL)
    settled = coverage.count(Verdict.COMPLETE) + coverage.count(Verdict.EMPTY)
    due = len(SYMBOLS) * len(seen.provider.dates) - coverage.count(Verdict.PENDING) - coverage.count(Verdict.UNLISTED)
    (newest,) = sessions(*[seen.provider.dates[BEFORE_UPDATE - 1]] * 2)
    closes = newest.closes.epoch_micros / 1000
    suspicions = {
        each.name.lower(): count
        for each in Suspicion
        if (count := sum(of.suspicions().get(each, 0) for of in coverage.symbols))
    }
    table = [2, closes, missing, coverage.count(Verdict.SUSPECT), between(seen.during * 1000, seen.after * 1000)]
    stored = seen.status.symbols
    size, official = sum(each.size_bytes for each in stored), sum(each.official_days for each in stored)
    table += [len(SYMBOLS), sum(each.bars for each in stored), BROKEN, official, size]
    return {
        "Sessions behind": [of_store(2)],
        "Newest complete session": [of_store(closes)],
        "Complete symbol-days": [of_store(about(settled / due, 0.001))],
        "Missing symbol-days": [of_store(missing)],
        "Ready": [of_store(0)],
        "Stores": [{f"alpaca {STORE}": value} for value in table],
        "Sessions behind over time": [{f"alpaca extended {STORE}": 2}],
        "Symbols that lack the newest session": [{f"alpaca extended {STORE}": 1}],
        "Symbol-days by verdict": [{str(verdict): coverage.count(verdict) for verdict in Verdict}],
        "Suspect symbol-days by reason": [suspicions],
        "Overdue symbol-days": [{f"{STORE} missing": 1, f"{STORE} suspect": seen.health.suspect or 0}],
        "Files that are gone": [of_store(0)],
        "Stale aggregates": [of_store(0), of_store(0)],
        "Free disk space": [of_store(pytest.approx(_free_share(seen), abs=0.05))],
        "Size of the bars": [of_store(size)],
        "Leased symbol-days": [of_store(0)],
        "Datasets": [{f"raw - sip alpaca extended {STORE}": 1}],
        "Versions": [{version("marketpipe"): 1}],
        "Age of the measurement": [{f"coverage {STORE}": between(0, 60), f"files {STORE}": between(0, 60)}],
        "Duration of the measurement": [{f"coverage {STORE}": between(0, 30), f"files {STORE}": between(0, 30)}],
    }


def _of_the_runs(seen: Observed) -> dict[str, list[Values]]:
    """What panels show of the runs that have ended."""
    first, second = seen.runs
    refused, later = seen.provider.refusals, len(SYMBOLS) * len(seen.provider.dates[BEFORE_UPDATE:])
    errors = {"credentials": refused, "rate_limited": 1, "symbol_day_failed": later, "unavailable": 1}
    requests, failed = len(seen.provider.requests) + len(seen.provider.official), 2 + refused
    stored = len(first.outcomes) + len(second.outcomes)
    return {
        "Failed jobs": [of_store(1)],
        "Time since the last success": [{f"{kind} {STORE}": between(0, 60) for kind in ("audit", "ingest")}],
        "How the last jobs ended": [{f"audit {STORE}": 1, f"ingest {STORE}": 1, f"update {STORE}": 3}],
        "Duration of the last completed job": [{f"{kind} {STORE}": between(0, 30) for kind in ("audit", "ingest")}],
        "Restatements": [{f"audit {STORE}": rise(1)}, {}],
        "Restated, not adopted": [of_store(1)],
        "Bars written and rejected": [of_store(each_second(_bars(seen))), of_store(each_second(BROKEN))],
        "Files written and synced": [of_store(each_second(stored)), of_store(between(stored / WINDOW, stored))],
        "Backlog": [{}],
        "Requests and the rate limit": [of_store(each_second(requests)), of_store(about(PER_MINUTE / 60, 0.001))],
        "Waits for the rate limit": [of_store(each_second(1))],
        "Jobs": [
            {
                f"audit completed {STORE}": rise(1),
                f"ingest completed {STORE}": rise(2),
                f"update failed {STORE}": rise(1),
            }
        ],
        "Requests that fail": [{f"alpaca {STORE}": about(failed / requests)}],
        "Errors by kind": [{f"{kind} {STORE}": rise(count) for kind, count in errors.items()}],
        "Violations of rules": [
            {
                **{f"{rule} error {STORE}": rise(BROKEN) for rule in ("high_is_highest", "low_is_lowest")},
                **{f"{rule} warning {STORE}": rise(count) for rule, count in second.warnings.items()},
            }
        ],
        "Waits for other processes": [of_store(0)],
        "Requests by outcome": [
            {"error": each_second(failed), "success": each_second(requests - failed)},
            {"": each_second(first.retries + second.retries)},
            {"": 0.0},
        ],
        "Latency": [{"": between(0, 1)}] * 3,
        "Errors of alpaca": [{kind: rise(count) for kind, count in errors.items()}],
        "Requests that are still allowed": [{}],
        "Share of job time that waited for the rate limit": [{"": between(0.01, 1)}],
    }


def test_every_panel_shows_what_the_runs_did(observed: Observed) -> None:
    expected = _of_the_store(observed) | _of_the_runs(observed)
    found = _panels(observed, SEEN, observed.after)
    heatmap = found.pop("Latency of all requests")[0]
    _print_table(found)

    assert {title: found[title] for title in expected} == expected
    assert found.keys() == expected.keys()
    assert heatmap["+Inf"] == rise(len(observed.provider.requests) + len(observed.provider.official))


def _panels(seen: Observed, job: str, at: float) -> dict[str, list[Values]]:
    found = dict[str, list[Values]]()
    for query in queries(job=job, store=STORE, provider="alpaca", __rate_interval=f"{WINDOW}s"):
        found.setdefault(query.panel.replace("$provider", "alpaca"), []).append(
            _values(seen.server.query(query.expression, at))
        )
    return found


def _print_table(found: Mapping[str, list[Values]]) -> None:
    for title, answers in found.items():
        for values in answers:
            shown = ", ".join(f"{name or '-'}: {value:g}" for name, value in values.items())
            print(f"{title:50} {shown or 'nothing'}")  # noqa: T201


def test_the_variables_list_what_was_scraped(observed: Observed) -> None:
    found = dict[str, set[str]]()
    for each in dashboard()["templating"]["list"]:
        if asked := re.fullmatch(r"label_values\((.+), (\w+)\)", each.get("definition", "")):
            found[each["name"]] = observed.server.label_values(replaced(asked[1], {"store": STORE}), asked[2])

    assert found == {"job": {SEEN, LIVE}, "store": {STORE}, "provider": {"alpaca"}}


def test_panels_of_a_run_that_goes_on_show_how_far_it_is(observed: Observed) -> None:
    found = _panels(observed, LIVE, observed.during)

    assert 0 < found["Backlog"][0][STORE] <= len(SYMBOLS) * BEFORE_UPDATE
    assert found["Requests that are still allowed"] == [of_store(REMAINING)]
    assert 0 < found["Requests by outcome"][0]["success"] * WINDOW < len(observed.provider.requests)
    assert all(between(0.1, 1) == each[""] for each in found["Latency"])
    assert found["Share of job time that waited for the rate limit"] == [{}]
    assert found["Leased symbol-days"][0][STORE] > 0


def test_every_alert_judges_what_the_runs_did(observed: Observed) -> None:
    free = _free_share(observed)
    expected = {
        "MarketPipeStoreStale": {f"alpaca extended {STORE}": 2},
        "MarketPipeSessionsMissing": {f"alpaca extended {STORE}": 1},
        "MarketPipeJobFailing": {f"update alpaca extended {STORE}": 1},
        "MarketPipeRestatementFound": {f"alpaca extended audit {STORE}": rise(1)},
        "MarketPipeRestatementNotAdopted": {f"alpaca extended {STORE}": 1},
        "MarketPipeBarsRejected": {f"alpaca extended {STORE}": about(BROKEN / (_bars(observed) + BROKEN))},
        "MarketPipeSuspectDaysFound": {f"alpaca extended {STORE}": rise(1)},
        **({"MarketPipeDiskNearlyFull": {f"alpaca extended {STORE}": between(0, 0.15)}} if free < 0.1 else {}),
        **({"MarketPipeDiskFull": {f"alpaca extended {STORE}": between(0, 0.05)}} if free < 0.02 else {}),
    }

    for name, rule in rules("alert").items():
        assert _values(observed.server.query(rule["expr"], observed.after)) == expected.get(name, {}), name
    wait_until(lambda: {rule["name"] for rule in observed.server.rules() if rule.get("alerts")} >= {*expected}, 60)
    evaluated = {rule["name"]: rule for rule in observed.server.rules()}
    assert {rule["health"] for rule in evaluated.values()} == {"ok"}
    assert {name for name, rule in evaluated.items() if rule.get("alerts")} == {*expected}
    assert {*evaluated} == {*rules("alert"), *rules("record")}


def test_every_recorded_ratio_and_rate_is_that_of_the_runs(observed: Observed) -> None:
    rates = len(observed.provider.requests) + len(observed.provider.official), 1, _bars(observed)
    requests, waits, bars = (rise(count / (5 * 60)) for count in rates)
    expected = {
        "store:marketpipe_requests:rate5m": requests,
        "store:marketpipe_request_errors:ratio_rate30m": about((2 + observed.provider.refusals) / rates[0]),
        "store:marketpipe_request_latency_seconds:p95_rate5m": between(0.1, 1),
        "store:marketpipe_rate_limit_use:ratio_rate5m": rise(rates[0] / (5 * PER_MINUTE)),
        "store:marketpipe_rate_limit_wait_seconds:rate5m": waits,
        "store:marketpipe_bars_ingested:rate5m": bars,
        "store:marketpipe_bars_rejected:ratio_rate1h": about(BROKEN / (rates[2] + BROKEN)),
        "store:marketpipe_complete_symbol_days:ratio": about(12 / 15, 0.001),
        "store:marketpipe_filesystem_free:ratio": pytest.approx(_free_share(observed), abs=0.05),
    }

    assert {*expected} == {*rules("record")}
    for name, value in expected.items():
        selected = name if name in WITHOUT_JOB else f'{name}{{job="{SEEN}"}}'
        assert _values(observed.server.query(selected, observed.after)) == {f"alpaca extended {STORE}": value}, name
