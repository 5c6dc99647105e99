"""What has happened in a run so far, and what it waits for, counted from its events."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence

from attrs import define

from marketpipe.shared_kernel.domain.symbol import SymbolDayOutcome
from marketpipe.shared_kernel.events import (
    AggregatesRefreshed,
    AuditStarted,
    BarsCompared,
    Event,
    JobFinished,
    JobStarted,
    LeasesAwaited,
    OfficialDaysRequested,
    OfficialDaysStored,
    RateLimitWaited,
    RequestCompleted,
    RequestRetried,
    SymbolDaysRecorded,
)

SHORTEST_SHOWN = 1.0
"""Seconds of a wait that is shown: pacing consists of many shorter ones."""
RATE_WINDOW = 60.0
"""Providers count requests over so many seconds: if no wait begins so soon after another one, none is to come."""
LONGEST_REASON = 32
"""Characters of a provider's error that are shown on one line."""
STATUS = re.compile(r"answered (\d{3})\b")
UNREACHABLE = re.compile(r"cannot connect to \S+ \(([^)]*)")


@define
class RunCounts:
    """Counts of one run. ``planned``, ``settled``, ``done`` and ``failed`` are symbol-days, or what ``unit`` is.

    ``planned`` is None until the minutes are planned. ``settled`` needed no request. ``official`` is the number of
    official days that were answered. Moments are monotonic, in seconds.
    """

    now: Callable[[], float] = time.monotonic
    activity: str = "planning"
    unit: str = "symbol-day"
    planned: int | None = None
    settled: int = 0
    done: int = 0
    bars: int = 0
    rejected: int = 0
    failed: int = 0
    official: int = 0
    requests: int = 0
    retries: int = 0
    _started: float | None = None
    _finished: float | None = None
    _limited_until: float = -math.inf
    _expected_end: float = -math.inf
    _expected_until: float = -math.inf
    _trouble: str | None = None
    _tried_at: float = -math.inf
    _others: str | None = None
    _awaited_since: float = -math.inf

    def add(self, event: Event) -> bool:
        """Return whether the event is one of those that are counted."""
        match event:
            case JobStarted():
                self._start("ingesting", event.planned)  # an audit with --adopt ends with an ingestion
                self.settled = event.settled
            case AuditStarted():
                self._start("auditing", event.planned)
            case BarsCompared():
                self.done += len(event.days)
                self.bars += sum(day.unchanged + day.changed + day.added for day in event.days)
            case SymbolDaysRecorded():
                self._add_outcomes(event.outcomes)
            case OfficialDaysRequested():
                self.activity = "requesting official days"
            case OfficialDaysStored():
                self.official += len(event.request.symbols) * len(event.request.sessions)
            case LeasesAwaited():
                self._others, self._awaited_since = event.others, self.now() - event.seconds
                return True
            case JobFinished():
                self._trouble, self._limited_until, self._expected_until = None, -math.inf, -math.inf
                self._finished = self._finished or self.now()
                self.activity = "interrupted" if event.state == "interrupted" else "refreshing aggregates"
            case AggregatesRefreshed():
                self.activity = "ingested"
            case _:
                return self._add_request(event)
        self._others = None  # the run has gone on
        if self.all_done and self._finished is None:
            self._finished = self.now()
        return True

    def step(self, done: int, planned: int) -> None:
        """Count what has no events."""
        if self._started is None:
            self._start(self.activity, planned)
        self.done, self._finished = done, self.now() if done >= planned else None

    def _start(self, activity: str, planned: int) -> None:
        self.activity, self.planned, self.done, self.bars = activity, planned, 0, 0
        self._started, self._finished, self._expected_until = self.now(), None, -math.inf

    def _add_outcomes(self, outcomes: Sequence[SymbolDayOutcome]) -> None:
        self.done += len(outcomes)
        self.bars += sum(outcome.rows for outcome in outcomes)
        self.rejected += sum(outcome.rejected for outcome in outcomes)
        self.failed += sum(outcome.error is not None for outcome in outcomes)

    def _add_request(self, event: Event) -> bool:
        match event:
            case RequestCompleted():
                self.requests += 1
                if event.error_kind is None:
                    self._trouble = None
            case RequestRetried():
                self.retries += 1
                self._trouble = f"provider: {_short(event.reason)}, try {event.attempt + 1}"
                self._tried_at = self.now() + event.wait_seconds
            case RateLimitWaited():
                self._limited_until = max(self._limited_until, self.now() + event.seconds)
                if event.seconds >= SHORTEST_SHOWN and self.done:
                    self._expect()
            case _:
                return False
        return True

    @property
    def all_done(self) -> bool:
        return self.planned is not None and self.done >= self.planned

    @property
    def has_ended(self) -> bool:
        """Whether no more symbol-days come: all are done, or the job was interrupted or has failed."""
        return self._finished is not None

    @property
    def share(self) -> float:
        return min(1.0, self.done / self.planned) if self.planned else 1.0

    @property
    def percent(self) -> int:
        return int(100 * self.share)

    def elapsed(self) -> float:
        """Return the seconds since the first request, until the last symbol-day was done or the job ended."""
        end = self.now() if self._finished is None else self._finished
        return 0.0 if self._started is None else end - self._started

    def seconds_left(self) -> float | None:
        """Return how long the rest takes at the pace so far, and the present wait; None if there is no pace yet.

        With a rate limit, bursts and waits take turns, and the pace swings. So it is measured when a wait begins, and
        from there this goes down until the next wait does.
        """
        if not self.done or self.planned is None:
            return None
        if self.now() < self._expected_until:
            return max(0.0, self._expected_end - self.now())
        return self.elapsed() / self.done * self._rest + self.longest_wait()

    @property
    def _rest(self) -> int:
        return max(0, (self.planned or 0) - self.done)

    def _expect(self) -> None:
        """Expect the end at the pace up to the end of this wait, which belongs to what is done: others will come."""
        now, wait = self.now(), self._limited_until - self.now()
        self._expected_end = now + max(wait, (self.elapsed() + wait) / self.done * self._rest)
        self._expected_until = self._limited_until + RATE_WINDOW

    def pace(self) -> float | None:
        """Return the bars per second so far. None at the end: the summary has the pace of the whole run."""
        return None if self.has_ended or not self.bars else self.bars / max(0.001, self.elapsed())

    def longest_wait(self) -> float:
        """Return for how many seconds from now it is known that a request waits."""
        until = self._limited_until if self._trouble is None else max(self._limited_until, self._tried_at)
        return max(0.0, until - self.now())

    def waits(self) -> Iterator[str]:
        """Yield what the run waits for now, each with its seconds."""
        limited, retried = self._limited_until - self.now(), self._tried_at - self.now()
        if self._others is not None:
            yield f"waiting for {self._others}: {math.floor(self.now() - self._awaited_since)} s"
        if limited >= SHORTEST_SHOWN:
            yield f"rate limit: {math.ceil(limited)} s"
        if self._trouble is not None:
            yield f"{self._trouble} in {math.ceil(retried)} s" if retried >= SHORTEST_SHOWN else self._trouble


def _short(reason: str) -> str:
    """Return such as "HTTP 503" for a status, what the network reports, or the beginning of the reason."""
    if status := STATUS.search(reason):
        return f"HTTP {status[1]}"
    if unreachable := UNREACHABLE.match(reason):
        reason = unreachable[1]
    first = reason.partition(" (")[0].splitlines()[0] if reason else "no answer"
    return first if len(first) <= LONGEST_REASON else f"{first[: LONGEST_REASON - 1]}…"
