"""The verdict on each session of a symbol, and a symbol's coverage: the sum of them."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum, Flag
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from attrs import Factory, field, frozen

from marketpipe.shared_kernel.domain.store_inventory import VersionCondition
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate

if TYPE_CHECKING:  # every import of a store needs the verdicts, and only a report on coverage needs what finds them
    from marketpipe.ingestion.domain.coverage.baseline import SessionGrid
    from marketpipe.ingestion.domain.coverage.market import SymbolDays


class Verdict(Enum):
    """The state of one symbol in one session of the exchange."""

    COMPLETE = "complete"
    """Requested after the session was final, and stored completely."""
    EMPTY = "empty"
    """Requested after the session was final; the provider had no bars."""
    PARTIAL = "partial"
    """Requested before the session was final, or for fewer hours than are wanted."""
    MISSING = "missing"
    """Never requested, or failed, or its file is gone."""
    SUSPECT = "suspect"
    """Requested and stored, but something is wrong or unlikely: see ``Suspicion``."""
    SHORT = "short"
    """The provider repeated its answer, so it has no more; the evidence is still against it: see ``Suspicion``."""
    UNLISTED = "unlisted"
    """Before the symbol's first bars or after its last: requested, and the provider had no bars.

    Or of imported bars: before the symbol's first or after its last, if no dates are named.
    """
    PENDING = "pending"
    """Not requested, and the session is not final yet."""

    def __str__(self) -> str:
        return self.value

    @property
    def is_gap(self) -> bool:
        return self in (Verdict.MISSING, Verdict.PARTIAL, Verdict.SUSPECT, Verdict.SHORT)

    @property
    def disproves(self) -> bool:
        """Whether a store with this verdict is not complete."""
        return self in (Verdict.MISSING, Verdict.SUSPECT)


class Evidence(Flag):
    """What a verdict rests on; several together are possible. Its text is stable: "official+neighbours+market"."""

    NOTHING = 0
    """The provider's answer alone: nothing was found to compare it with."""
    OFFICIAL = 1
    """The exchange's official day, which the provider publishes apart from the minutes."""
    NEIGHBOURS = 2
    """The symbol's own sessions before and after."""
    MARKET = 4
    """The other symbols of the store in the same session."""
    RECORD = 8
    """What was recorded of requests and files: it needs no comparison."""

    def __str__(self) -> str:
        return "+".join(str(part.name).lower() for part in Evidence if part in self) or "nothing"


class Suspicion(Enum):
    """Why a symbol-day is suspect."""

    HOLES = "holes"
    STOPS_EARLY = "stops early"
    SPARSE = "too few bars"
    WITHHELD = "withheld"
    OUTAGE = "provider outage"
    CUT = "cut at the same minute"
    CHANGED = "lasting change"
    EXTENDED_HOURS = "no extended hours"
    PRICE_LEVEL = "other price level"
    ANOTHER_SECURITY = "another security?"
    FROZEN = "frozen"
    REPEATED = "repeats another day"
    COPIED = "bars of another symbol"
    SHIFTED = "times are off"
    ROUNDED = "rounded volumes"
    REJECTED = "all rejected"
    ALTERED = "file altered"
    UNRECORDED = "file not recorded"
    UNREADABLE = "cannot be read"
    CLOCK = "clock was ahead"
    STALE_AGGREGATE = "stale aggregate"
    FORMER_SCALE = "former scale"
    UNRECONCILED = "differs from official day"
    UNOFFICIAL = "no official day"

    def __str__(self) -> str:
        return self.value

    @property
    def asking_helps(self) -> bool:
        """Whether ``--retry-suspect`` requests it again.

        A stale aggregate is rebuilt instead; bars that are dated by a clock that was ahead are right by themselves. A
        session with an unrecorded file needs no retry: it is planned anyway. What cannot be read may be good.
        """
        others = Suspicion.STALE_AGGREGATE, Suspicion.UNRECORDED, Suspicion.FORMER_SCALE, Suspicion.CLOCK
        return self not in (*others, Suspicion.UNREADABLE)

    @property
    def evidence(self) -> Evidence:
        """What the suspicion rests on."""
        return _EVIDENCE.get(self, Evidence.NEIGHBOURS)


_EVIDENCE = {
    Suspicion.WITHHELD: Evidence.NEIGHBOURS | Evidence.MARKET,
    Suspicion.OUTAGE: Evidence.NEIGHBOURS | Evidence.MARKET,
    Suspicion.COPIED: Evidence.NEIGHBOURS | Evidence.MARKET,
    Suspicion.REJECTED: Evidence.RECORD,
    Suspicion.ALTERED: Evidence.RECORD,
    Suspicion.UNRECORDED: Evidence.RECORD,
    Suspicion.UNREADABLE: Evidence.RECORD,
    Suspicion.CLOCK: Evidence.RECORD,
    Suspicion.STALE_AGGREGATE: Evidence.RECORD,
    Suspicion.FORMER_SCALE: Evidence.RECORD,
    Suspicion.UNRECONCILED: Evidence.OFFICIAL,
    Suspicion.UNOFFICIAL: Evidence.OFFICIAL,
}
"""Of the suspicions that do not rest on the symbol's own sessions alone."""


def _evidence_of(finding: Finding) -> Evidence:
    if finding.suspicion is not None:
        return finding.suspicion.evidence
    rests_on_the_record = finding.verdict in (Verdict.MISSING, Verdict.PARTIAL, Verdict.PENDING)
    return Evidence.RECORD if rests_on_the_record else Evidence.NOTHING


@frozen
class Finding:
    """A verdict with its reason. ``detail`` is a sentence for people, None if the verdict needs none.

    ``evidence`` follows from the suspicion, or from the record, if it is not given. Findings are equal whatever they
    rest on, so that sessions in a row with one verdict and reason are one gap.
    """

    verdict: Verdict
    detail: str | None = None
    suspicion: Suspicion | None = None
    evidence: Evidence = field(default=Factory(_evidence_of, takes_self=True), eq=False)


@frozen
class SessionVerdict:
    """A finding on one symbol in one session, with the bars that it is about.

    ``bars`` are stored, ``rejected`` are in quarantine; ``first`` and ``last`` are the timestamps of the first and
    last stored bar (UTC, left edge of the minute), None if there is none or they were never recorded.
    """

    symbol_day: SymbolDay
    finding: Finding
    bars: int = 0
    rejected: int = 0
    first: Timestamp | None = None
    last: Timestamp | None = None

    @property
    def verdict(self) -> Verdict:
        return self.finding.verdict

    @property
    def evidence(self) -> Evidence:
        """What the verdict rests on."""
        return self.finding.evidence


def suspect(suspicion: Suspicion, detail: str) -> Finding:
    return Finding(Verdict.SUSPECT, detail, suspicion)


STRAY = Finding(
    Verdict.SUSPECT,
    "the exchange had no session on this date, and its file makes aggregates of the month wrong: move the file away",
    Suspicion.UNRECORDED,
)
_VERDICTS = tuple(Verdict)
_CODES = {verdict: code for code, verdict in enumerate(_VERDICTS)}
_EVIDENCES = tuple(map(Evidence, range(16)))


@frozen
class Gap:
    """Consecutive sessions of one symbol with the same verdict and reason; both dates are inclusive.

    ``sessions`` is 0 for a file on a date without a session.
    """

    symbol: Symbol
    first: TradingDate
    last: TradingDate
    sessions: int
    finding: Finding

    def __str__(self) -> str:
        span = f"{self.first}" if self.sessions <= 1 else f"{self.first} to {self.last} ({self.sessions:,} sessions)"
        kind = f" ({self.finding.suspicion})" if self.finding.suspicion else ""
        reason = f": {self.finding.detail}" if self.finding.detail else ""
        return f"{self.symbol} {span} {self.finding.verdict}{kind}{reason}"


def gaps_in(symbol: Symbol, dates: Sequence[TradingDate], findings: Mapping[TradingDate, Finding]) -> list[Gap]:
    """Join findings on a symbol into gaps: equal ones on ``dates`` that follow one another are one gap.

    ``dates`` are the sessions, ascending; a session without a finding ends a gap.
    """
    gaps = []
    for finding, group in groupby(dates, key=findings.get):
        if finding is not None:
            first, *rest = group
            gaps.append(Gap(symbol, first, rest[-1] if rest else first, 1 + len(rest), finding))
    return gaps


class CoverageColumns(NamedTuple):
    """The verdicts on one symbol as columns, with an entry for each session: objects would be slow for many symbols.

    ``verdicts`` are positions in ``Verdict``, ``evidence`` the values of ``Evidence``. ``minutes`` has two entries for
    each session: the first and the last minute with a bar, counted from 04:00 New York; -1 if there is none.
    """

    verdicts: bytes
    evidence: bytes
    bars: Sequence[int]
    rejected: Sequence[int]
    minutes: Sequence[int]


@frozen
class SymbolCoverage:
    """The verdicts on one symbol, one for each session of the range that has begun; dates ascend.

    They are kept in columns, so that a report over years of hundreds of symbols stays small; ``days`` builds them.
    """

    symbol: Symbol
    grid: SessionGrid = field(repr=False)
    _verdicts: bytes = field(repr=False)
    _bars: Sequence[int] = field(repr=False)
    _rejected: Sequence[int] = field(repr=False)
    _minutes: Sequence[int] = field(repr=False)
    """First and last minute after 04:00, two entries for each session; -1 if there is none."""
    _evidence: bytes = field(repr=False)
    _findings: Mapping[int, Finding] = field(repr=False)

    strays: tuple[TradingDate, ...] = ()
    """Dates without a session for which an unrecorded file exists."""

    @classmethod
    def of(
        cls, days: SymbolDays, grid: SessionGrid, findings: Sequence[Finding], strays: Iterable[TradingDate] = ()
    ) -> SymbolCoverage:
        bars, rejected, minutes = array("l"), array("l"), array("h")
        for record, date in zip(days.records, grid.dates, strict=True):
            is_stored = not days.conditions or days.conditions.get(date) is not VersionCondition.GONE
            bars.append(record.rows if record and is_stored else 0)
            rejected.append(record.rejected if record else 0)
            bits = record.minutes.bits if record and record.minutes and is_stored else 0
            minutes.append((bits & -bits).bit_length() - 1)
            minutes.append(bits.bit_length() - 1)
        verdicts = bytes(_CODES[finding.verdict] for finding in findings)
        evidence = bytes(finding.evidence.value for finding in findings)
        explained = {i: finding for i, finding in enumerate(findings) if finding.detail is not None}
        return cls(days.symbol, grid, verdicts, bars, rejected, minutes, evidence, explained, tuple(sorted(strays)))

    @property
    def columns(self) -> CoverageColumns:
        return CoverageColumns(self._verdicts, self._evidence, self._bars, self._rejected, self._minutes)

    @property
    def verdicts(self) -> list[Verdict]:
        return [_VERDICTS[code] for code in self._verdicts]

    @property
    def bars(self) -> int:
        return sum(self._bars)

    @property
    def rejected(self) -> int:
        return sum(self._rejected)

    def count(self, verdict: Verdict) -> int:
        """Return the number of sessions with this verdict; stray files count as suspect."""
        return self._verdicts.count(_CODES[verdict]) + (len(self.strays) if verdict is Verdict.SUSPECT else 0)

    def suspicions(self) -> Mapping[Suspicion, int]:
        """Return how many sessions are suspect for each reason; stray files count as not recorded."""
        found = Counter(
            finding.suspicion
            for finding in self._findings.values()
            if finding.verdict is Verdict.SUSPECT and finding.suspicion is not None
        )
        found[Suspicion.UNRECORDED] += len(self.strays)
        return found

    def days(self) -> Iterator[SessionVerdict]:
        """Yield the verdicts; dates ascend."""
        for i, date in enumerate(self.grid.dates):
            yield SessionVerdict(
                SymbolDay(self.symbol, date),
                self._finding(i),
                self._bars[i],
                self._rejected[i],
                self._moment(i, self._minutes[2 * i]),
                self._moment(i, self._minutes[2 * i + 1]),
            )

    def runs(self) -> Iterator[Gap]:
        """Yield all sessions, joined while neighbours have the same verdict and reason."""
        for finding, group in groupby(range(len(self.grid)), key=self._finding):
            positions = list(group)
            first, last = self.grid.dates[positions[0]], self.grid.dates[positions[-1]]
            yield Gap(self.symbol, first, last, len(positions), finding)

    def gaps(self) -> list[Gap]:
        """Return the runs of sessions that are missing, partial, suspect or short, and the stray files."""
        strays = [Gap(self.symbol, date, date, 0, STRAY) for date in self.strays]
        return [*(run for run in self.runs() if run.finding.verdict.is_gap), *strays]

    def notes(self) -> list[Gap]:
        """Return the complete sessions whose finding has a detail, such as a likely split; dates ascend."""
        noted = ((i, self._finding(i)) for i in sorted(self._findings))
        dates = self.grid.dates
        return [Gap(self.symbol, dates[i], dates[i], 1, f) for i, f in noted if f.verdict is Verdict.COMPLETE]

    def _finding(self, position: int) -> Finding:
        evidence = _EVIDENCES[self._evidence[position]]
        return self._findings.get(position) or Finding(_VERDICTS[self._verdicts[position]], evidence=evidence)

    def _moment(self, position: int, minute: int) -> Timestamp | None:
        return None if minute < 0 else self.grid.moment(position, minute)
