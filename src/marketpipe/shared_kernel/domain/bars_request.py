"""What ingestion asks of a provider: bars of some symbols in some consecutive sessions."""

from __future__ import annotations

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import TimeWindow
from marketpipe.shared_kernel.domain.trading_date import SessionHours, SessionKind, TradingDate, TradingSession


@frozen
class AskedSession:
    """One session of a request. ``window`` is the part of the day that is asked for.

    ``final`` is True if the session ended long enough ago that the provider's answer will not grow any more.
    """

    session: TradingSession
    window: TimeWindow
    final: bool

    @property
    def trading_date(self) -> TradingDate:
        return self.session.trading_date

    @property
    def hours(self) -> SessionHours:
        """The parts of the day that the window overlaps."""
        early = SessionHours.EARLY if self.window.start < self.session.opens else SessionHours.NONE
        late = SessionHours.LATE if self.window.end > self.session.closes else SessionHours.NONE
        within = self.window.start < self.session.closes and self.window.end > self.session.opens
        return early | late | (SessionHours.REGULAR if within else SessionHours.NONE)


@frozen
class BarsRequest:
    """A request for the bars of every symbol in every session; sessions are ascending and consecutive.

    ``timeframe`` is one minute, or one day for the exchange's official daily bars. These are stamped New York midnight,
    and the windows of their sessions are the calendar days in New York, from midnight to midnight.

    ``batch_id`` numbers the requests of a job. ``probing`` marks a part of a request that failed: it is sent with few
    retries, to find the symbol-days that fail. ``lease`` numbers the lease on its symbol-days; None before it is taken.
    Without one nothing can be stored; an audit needs none. Raises ``ValidationError`` for no symbols or no sessions.
    """

    batch_id: int
    symbols: tuple[Symbol, ...] = field()
    sessions: tuple[AskedSession, ...] = field(repr=lambda sessions: f"<{len(sessions)} sessions>")
    session_kind: SessionKind = SessionKind.EXTENDED
    probing: bool = False
    lease: int | None = field(default=None, eq=False, repr=False)
    timeframe: Timeframe = Timeframe.MINUTE_1

    @symbols.validator
    @sessions.validator
    def _not_empty(self, _: object, value: tuple[object, ...]) -> None:
        if not value:
            raise ValidationError("a request for bars names at least one symbol and one session")

    @property
    def patient(self) -> bool:
        """The opposite of ``probing``, by its former name."""
        return not self.probing

    @property
    def claim(self) -> int | None:
        """The former name of ``lease``."""
        return self.lease

    @property
    def window(self) -> TimeWindow:
        """From the start of the first session's window to the end of the last one's, closed hours included."""
        return TimeWindow(self.sessions[0].window.start, self.sessions[-1].window.end)

    @property
    def symbol_days(self) -> list[SymbolDay]:
        return [SymbolDay(symbol, asked.trading_date) for symbol in self.symbols for asked in self.sessions]

    def __str__(self) -> str:
        names = ", ".join(map(str, self.symbols[:3])) + (", …" if len(self.symbols) > 3 else "")
        return f"{names} from {self.sessions[0].trading_date} to {self.sessions[-1].trading_date}"
