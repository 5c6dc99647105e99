from __future__ import annotations

from attrs import frozen

from marketpipe.shared_kernel.events.event import Event


@frozen
class RequestCompleted(Event):
    """One HTTP exchange. ``error_kind`` is None on success; ``rate_limit_remaining`` is None where it was not said."""

    provider: str
    seconds: float
    bars: int = 0
    error_kind: str | None = None
    rate_limit_remaining: int | None = None


@frozen
class RequestRetried(Event):
    provider: str
    attempt: int
    wait_seconds: float
    reason: str


@frozen
class RateLimitWaited(Event):
    provider: str
    seconds: float
