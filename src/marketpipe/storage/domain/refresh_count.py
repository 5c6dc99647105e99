from __future__ import annotations

from attrs import frozen


@frozen
class RefreshCount:
    """Aggregate files ``written`` anew and those ``unchanged`` because they agree with their minutes."""

    written: int
    unchanged: int

    def __add__(self, other: RefreshCount) -> RefreshCount:
        return RefreshCount(self.written + other.written, self.unchanged + other.unchanged)
