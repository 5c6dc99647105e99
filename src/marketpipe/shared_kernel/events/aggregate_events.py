from __future__ import annotations

from attrs import frozen

from marketpipe.shared_kernel.events.event import Event


@frozen
class AggregatesRefreshed(Event):
    """Counts are aggregate files: those written anew, those that already agreed with their minutes."""

    written: int
    unchanged: int
