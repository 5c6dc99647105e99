from __future__ import annotations

from datetime import timedelta

from attrs import frozen


@frozen
class DataFeed:
    """Where a provider's bars come from. ``delay``: how long after it ends a minute may first be asked for."""

    name: str
    delay: timedelta = timedelta(minutes=15)
