from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateLimitReport, read_rate_limit
from marketpipe.shared_kernel.domain.timestamp import Timestamp

NOW = Timestamp.parse("2025-06-02T12:00:00Z")
EPOCH = 1748865600


def test_without_headers_the_report_is_empty() -> None:
    assert read_rate_limit({}, NOW) == RateLimitReport(None, None, None)
    assert read_rate_limit({}, NOW).seconds_to_wait is None


def test_reset_is_a_time_in_epoch_seconds() -> None:
    report = read_rate_limit({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(EPOCH + 42)}, NOW)
    assert report == RateLimitReport(remaining=0, seconds_to_reset=42.0, retry_after=None)
    assert report.seconds_to_wait == 42.0


def test_a_reset_within_the_running_second_keeps_its_fraction() -> None:
    now = Timestamp.parse("2025-06-02T12:00:00.250Z")
    assert read_rate_limit({"x-ratelimit-reset": str(EPOCH + 1)}, now).seconds_to_reset == pytest.approx(0.75)


def test_a_reset_that_has_passed_is_no_wait() -> None:
    assert read_rate_limit({"x-ratelimit-reset": str(EPOCH - 5)}, NOW).seconds_to_wait == 0.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Mon, 02 Jun 2025 12:00:30 GMT", 30.0),
        ("Mon, 02 Jun 2025 14:00:30 +0200", 30.0),
        ("Mon, 02 Jun 2025 12:00:30 -0000", 30.0),
        ("Monday, 02-Jun-25 12:01:00 GMT", 60.0),
        ("Mon, 02 Jun 2025 11:59:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_an_http_date(text: str, seconds: float) -> None:
    assert read_rate_limit({"retry-after": text}, NOW).retry_after == seconds


def test_retry_after_has_priority_over_the_reset() -> None:
    report = read_rate_limit({"retry-after": "3", "x-ratelimit-reset": str(EPOCH + 42)}, NOW)
    assert (report.seconds_to_wait, report.seconds_to_reset) == (3.0, 42.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "soon",
        "-5",
        "1.5",
        "1e9",
        "٣",
        "²",
        "9" * 16,
        "Mon, 99 Jun 2025 12:00:00 GMT",
        "Mon, 02 Jun 99999999999999999999 12:00:00 GMT",
        "Mon, 02 Jun 2025 12:00:00 +9999999999999999",
    ],
)
def test_a_header_that_cannot_be_read_counts_as_absent(text: str) -> None:
    headers = dict.fromkeys(("retry-after", "x-ratelimit-reset", "x-ratelimit-remaining"), text)
    assert read_rate_limit(headers, NOW) == RateLimitReport(None, None, None)


WORDS = st.sampled_from(
    [
        "Mon,",
        "02",
        "Jun",
        "2025",
        "12:00:00",
        "12:00",
        "GMT",
        "+0000",
        "-9999",
        "+99999",
        "9" * 11,
        ":",
        "(",
        "²",
        "-0000",
    ]
)


@given(text=st.text(max_size=40) | st.lists(WORDS, max_size=7).map(" ".join))
def test_no_header_is_an_error_and_no_wait_is_negative(text: str) -> None:
    headers = dict.fromkeys(("retry-after", "x-ratelimit-reset", "x-ratelimit-remaining"), text)
    report = read_rate_limit(headers, NOW)
    assert report.seconds_to_wait is None or report.seconds_to_wait >= 0
    assert report.remaining is None or report.remaining >= 0
