from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from attrs import field, frozen

from marketpipe.shared_kernel.domain.store_inventory import FileAppearance
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionHours


@frozen
class DayOutlines:
    """Of a symbol's days as little as says whether anything is left to do: most have been settled long ago.

    ``settled``: the hours that need no further request, of the days that have any. ``files``: how the recorded files
    have to appear.
    """

    settled: Mapping[TradingDate, SessionHours] = field(repr=False)
    files: Mapping[date, FileAppearance] = field(repr=False)
