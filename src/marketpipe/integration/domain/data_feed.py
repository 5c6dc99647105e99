from __future__ import annotations

from datetime import timedelta

from attrs import frozen

USUAL_DELAY = timedelta(minutes=15)


@frozen
class DataFeed:
    """Where a provider's bars come from. ``delay``: how long after it ends a minute may first be asked for."""

    name: str
    delay: timedelta = USUAL_DELAY
