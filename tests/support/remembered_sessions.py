"""The sessions of the exchange beside the state of a new store, so that processes of a test need not compute them.

Computing them, with pandas, takes more than half of the time of a short ingestion in a new interpreter.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from marketpipe.composition import CALENDAR_DAYS_AHEAD
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.exchange_calendar import CalendarCache
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles


def remember_sessions(root: Path) -> None:
    """Write what the first ingestion into the store below ``root`` would write."""
    name, content = _as_written()
    (root / "state").mkdir(parents=True, exist_ok=True)
    (root / "state" / name).write_bytes(content)


@cache
def _as_written() -> tuple[str, bytes]:
    latest = TradingDate.of(SystemClock().now()).plus_days(CALENDAR_DAYS_AHEAD)
    with TemporaryDirectory() as folder:
        state = Path(folder, "marketpipe.sqlite")
        state.touch()
        CalendarCache.beside(state, version("exchange_calendars"), DurableFiles().publish)(latest.day.year)
        (file,) = Path(folder).glob("sessions-*")
        return file.name, file.read_bytes()
