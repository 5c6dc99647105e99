"""A provider that allows ten requests a minute, or asks for a pause: no request is too early, and all bars arrive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from marketpipe.integration.infrastructure.rate_limits.rate_limiter import LONGEST_PAUSE
from marketpipe.reports import IngestionReport
from marketpipe.shared_kernel.domain.errors import CredentialsError, ProviderUnreachableError
from marketpipe.testing import FakeClock, Response
from tests.support.alpaca_loopback import AlpacaLoopback
from tests.support.provider_faults import WEEK, all_days, ingested, market, wrongly_stored

SYMBOLS, DATES = ("AAPL", "MSFT"), WEEK[:3]
BARS, DAYS = market(SYMBOLS, DATES, 10), all_days(SYMBOLS, DATES)
SCOPE: dict[str, Any] = {"symbols": SYMBOLS, "first": DATES[0], "last": DATES[-1]}
TOO_MANY = b'{"message":"too many requests."}'
Headers = Callable[[FakeClock], Mapping[str, str]]


class TenAMinute:
    """Refuses the eleventh request of a minute with a 429 whose header has the end of the minute, as Alpaca does."""

    def __init__(self, clock: FakeClock, limit: int = 10) -> None:
        self.clock, self.limit, self.refused = clock, limit, 0
        self.moments: list[float] = []
        self._lock = threading.Lock()

    def __call__(self, _: int, __: Mapping[str, str]) -> Response | None:
        with self._lock:
            now = self.clock.now().epoch_micros / 1e6
            self.moments.append(now)
            used = sum(moment // 60 == now // 60 for moment in self.moments)
            self.refused += used > self.limit
            reset = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(now // 60 + 1) * 60)}
            headers = {"Date": _http_date(self.clock, 0), **reset}
            return Response(429, TOO_MANY, headers) if used > self.limit else None


def test_ten_requests_a_minute_are_never_exceeded(tmp_path: Path) -> None:
    clock = FakeClock()
    limit = TenAMinute(clock)
    with AlpacaLoopback(BARS, page_size=1, fault=limit) as loopback:
        report = ingested(tmp_path, loopback, clock=clock, rate=10, **SCOPE)

    assert (report.ok, wrongly_stored(tmp_path, BARS, DAYS)) == (True, [])
    assert (len(limit.moments), limit.refused) == (60, 0)
    assert min(b - a for a, b in zip(limit.moments, limit.moments[10:], strict=False)) >= 60
    assert 300 <= report.seconds <= 360


def test_a_limit_below_the_configured_one_is_waited_out(tmp_path: Path) -> None:
    clock = FakeClock()
    limit = TenAMinute(clock)
    with AlpacaLoopback(BARS, page_size=2, fault=limit) as loopback:
        report = ingested(tmp_path, loopback, clock=clock, rate=1000, **SCOPE)

    assert (report.ok, wrongly_stored(tmp_path, BARS, DAYS)) == (True, [])
    assert 0 < limit.refused <= 4
    assert report.seconds <= 240


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, lambda _: {"Retry-After": "37"}, 37),
        (503, lambda _: {"Retry-After": "37"}, 37),
        (429, lambda clock: {"Retry-After": _http_date(clock, 90)}, 90),
        (503, lambda clock: {"Retry-After": _http_date(clock, 90)}, 90),
        (429, lambda clock: {"X-RateLimit-Reset": str(clock.now().epoch_micros // 1_000_000 + 42)}, 42),
        (429, lambda _: {"Retry-After": "37", "X-RateLimit-Reset": "99999999999"}, 37),
        (429, lambda _: {"Retry-After": "86400"}, LONGEST_PAUSE),
        (429, lambda clock: {"Retry-After": _http_date(clock, 86_400)}, LONGEST_PAUSE),
        (429, lambda clock: {"Retry-After": _http_date(clock, -3600)}, 0.5),
        (429, lambda _: {"Retry-After": "soon"}, 0.5),
        (429, lambda _: {}, 0.5),
    ],
)
def test_no_request_is_sent_before_the_end_of_a_pause(
    tmp_path: Path, status: int, headers: Headers, seconds: float
) -> None:
    clock, moments = FakeClock(), list[float]()

    def fault(number: int, _: Mapping[str, str]) -> Response | None:
        moments.append(clock.monotonic())
        sent = {"Date": _http_date(clock, 0), **headers(clock)}
        return Response(status, TOO_MANY, sent) if number == 0 else None

    with AlpacaLoopback(BARS, fault=fault) as loopback:
        report = ingested(tmp_path, loopback, clock=clock, **SCOPE)

    assert (report.ok, wrongly_stored(tmp_path, BARS, DAYS)) == (True, [])
    (waited,) = [after - before for before, after in pairwise(moments)]
    assert seconds - 0.001 <= waited <= seconds + 1.5


def _http_date(clock: FakeClock, seconds: int) -> str:
    return format_datetime(clock.now().plus(timedelta(seconds=seconds)).moment.astimezone(UTC), usegmt=True)


def refused_for_ever(root: Path, status: int, **headers: str) -> tuple[IngestionReport, int]:
    answer = Response(status, TOO_MANY, headers)
    with AlpacaLoopback(BARS, fault=lambda *_: answer) as loopback:
        return ingested(root, loopback, **SCOPE), len(loopback.requests)


def test_a_rate_limit_that_never_ends_is_a_clear_failure_of_every_day(tmp_path: Path) -> None:
    report, requests = refused_for_ever(tmp_path, 429, **{"Retry-After": "60"})
    assert set(report.failures) == set(DAYS)
    assert set(report.failures.values()) == {"alpaca answered 429: too many requests"}
    assert requests == 8
    assert report.seconds <= 8 * 60 + 60


def test_a_provider_that_is_down_is_a_clear_failure_of_every_day_after_a_few_minutes(tmp_path: Path) -> None:
    report, requests = refused_for_ever(tmp_path, 503)
    assert set(report.failures) == set(DAYS)
    assert set(report.failures.values()) == {"alpaca answered 503: too many requests"}
    assert requests < 80
    assert report.seconds < 600


def test_a_provider_that_cannot_be_reached_ends_the_job_after_seconds_with_the_reason(tmp_path: Path) -> None:
    with AlpacaLoopback(BARS) as gone:
        pass
    clock = FakeClock()
    with pytest.raises(ProviderUnreachableError, match=r"cannot connect to 127\.0\.0\.1:\d+ \(Connection refused\)"):
        ingested(tmp_path, gone, clock=clock, **SCOPE)
    assert sum(clock.slept) < 10


def test_refused_keys_end_the_job_at_once(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="Check the key and the secret"):
        refused_for_ever(tmp_path, 401)
