"""Validation's handlers on the bus: for bars and official days just fetched, and for bars read back from the store.

The split of good bars from bad ones is made by ``validate``, which the composition root passes in
(infrastructure/columnar_validator.py): the columns are Arrow tables, which the application does not import.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    BarsFetched,
    BarsValidated,
    OfficialDaysFetched,
    OfficialDaysValidated,
    RuleFinding,
    StoredBarsRead,
    StoredBarsValidated,
)


@frozen
class ValidationResult:
    """Bars split by the rules, as in ``BarsValidated``: each bar is in exactly one of the two, in the order it came.

    ``rejected`` has slices only for symbol-days with rejected bars. A warning alone does not reject a bar.
    """

    accepted: ColumnarBars = field(repr=False)
    rejected: ColumnarBars = field(repr=False)
    findings: tuple[RuleFinding, ...] = ()


Validate = Callable[[ColumnarBars, Timestamp], ValidationResult]
"""Check every bar against the schema and all rules in force. The moment is now: bars after it are in the future."""


class BarValidator:
    """Validate fetched bars before they are stored and, on request, bars that are already stored."""

    def __init__(self, validate: Validate, bus: EventBus, clock: Clock) -> None:
        self._validate, self._bus, self._clock = validate, bus, clock

    def on_bars_fetched(self, event: BarsFetched) -> None:
        """Publish ``BarsValidated`` under the same request; storage stores both parts: the store and the quarantine."""
        result = self._validate(event.bars, self._clock.now())
        self._bus.publish(BarsValidated(event.request, result.accepted, result.rejected, result.findings))

    def on_stored_bars_read(self, event: StoredBarsRead) -> None:
        """Publish ``StoredBarsValidated``. Only counts and findings: validating the store changes no file."""
        result = self._validate(event.bars, self._clock.now())
        self._bus.publish(StoredBarsValidated(event.bars.num_rows, len(event.bars.slices), result.findings))


class OfficialDayValidator:
    """Validate official days before they are stored, by rules of their own."""

    def __init__(self, validate: Validate, bus: EventBus, clock: Clock) -> None:
        self._validate, self._bus, self._clock = validate, bus, clock

    def on_official_days_fetched(self, event: OfficialDaysFetched) -> None:
        result = self._validate(event.bars, self._clock.now())
        parts = result.accepted, result.rejected, event.refused, result.findings
        self._bus.publish(OfficialDaysValidated(event.request, *parts))
