from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge


@frozen(kw_only=True)
class CoverageThresholds:
    """When a symbol-day is suspect. Times are minutes of the regular session; see docs/adr/0008.

    A silence inside the session counts from ``hole_minutes`` on where at least ``hole_bars`` would be expected in it,
    one before the close or of the whole market from ``stop_minutes`` and ``stop_bars`` on; and only where it is more
    than ``habit_factor`` times as long as the symbol's usual longest silence. ``neighbours`` sessions on either side
    teach what is expected and usual. ``unlisted_sessions`` silent sessions in a row at an end of the range show
    that a symbol was not listed; ``confirmations`` equal answers in a row settle any other doubt about an answer.
    """

    hole_minutes: int = field(default=30, validator=ge(1))
    hole_bars: float = field(default=15, validator=ge(1))
    stop_minutes: int = field(default=10, validator=ge(1))
    stop_bars: float = field(default=9, validator=ge(1))
    habit_factor: float = field(default=3.0, validator=ge(1))
    neighbours: int = field(default=10, validator=ge(1))
    unlisted_sessions: int = field(default=5, validator=ge(1))
    confirmations: int = field(default=2, validator=ge(2))
