from __future__ import annotations

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.timestamp import Timestamp


@frozen
class TimeWindow:
    """``start`` is in, ``end`` is out."""

    start: Timestamp
    end: Timestamp = field()

    @end.validator
    def _not_before_start(self, _: object, end: Timestamp) -> None:
        if end < self.start:
            raise ValidationError(f"a window cannot end ({end}) before it starts ({self.start})")

    def contains(self, moment: Timestamp) -> bool:
        return self.start <= moment < self.end

    def until(self, moment: Timestamp) -> TimeWindow:
        """Cut short at ``moment``, where that lies inside."""
        return TimeWindow(self.start, max(self.start, min(self.end, moment)))
