from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from attrs import frozen

from marketpipe.shared_kernel.domain.timestamp import Timestamp


@frozen
class RateLimitReport:
    """What a response says of the caller's budget; None where it says nothing or nothing readable."""

    remaining: int | None = None
    seconds_to_reset: float | None = None
    retry_after: float | None = None

    @property
    def seconds_to_wait(self) -> float | None:
        return self.retry_after if self.retry_after is not None else self.seconds_to_reset


def read_rate_limit(headers: Mapping[str, str], now: Timestamp) -> RateLimitReport:
    """``X-RateLimit-Reset`` in epoch seconds; ``Retry-After`` in seconds or as an HTTP date."""
    remaining, reset = _number(headers.get("x-ratelimit-remaining")), _number(headers.get("x-ratelimit-reset"))
    return RateLimitReport(
        remaining=None if remaining is None else int(remaining),
        seconds_to_reset=None if reset is None else max(0.0, reset - now.epoch_micros / 1e6),
        retry_after=_retry_after(headers.get("retry-after"), now),
    )


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else None


def _retry_after(text: str | None, now: Timestamp) -> float | None:
    if text is None or (seconds := _number(text)) is not None:
        return None if text is None else seconds
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now.moment).total_seconds())
