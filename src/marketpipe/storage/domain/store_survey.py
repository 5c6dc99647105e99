"""What a survey of a store finds besides its bars: restated days, bars that broke rules, stale aggregates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from attrs import field, frozen

from marketpipe.shared_kernel.domain.ohlcv_bar import ArrowStream
from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp


class RuleKey(NamedTuple):
    """A rule, its severity, and the kind of bars that broke it: "rejected", "official day" or "stored"."""

    rule: str
    severity: str
    kind: str


@frozen
class RuleCount:
    """How many bars broke a rule, and on how many symbol-days."""

    key: RuleKey
    bars: int
    symbol_days: int


@frozen
class QualitySurvey:
    """The bars that broke a rule: counts, and a few ``examples`` of each rule with their raw values.

    ``examples`` has the columns of bars, and symbol, trading_date (a date), rule, severity, kind, reason and raw.
    ``read`` of ``all_days`` symbol-days were read. ``unreadable`` are files that could not be, with the reason.
    """

    counts: tuple[RuleCount, ...]
    examples: ArrowStream = field(repr=False)
    read: int
    all_days: int
    unreadable: tuple[str, ...] = ()


@frozen
class RestatedDay:
    """A version of a symbol-day that the store had from ``since`` to ``until``, compared with the one that followed.

    ``until`` is None if it cannot be read. Counts are those of ``DayComparison``: "new" are the bars of the version
    that followed, which has none if the provider withdrew the day.
    """

    comparison: DayComparison
    since: Timestamp
    until: Timestamp | None


@frozen
class RestatementSurvey:
    """The newest ``days`` that were restated, of ``found`` former versions; the newest first."""

    days: tuple[RestatedDay, ...]
    found: int


@frozen
class TimeframeFreshness:
    """How the aggregate files of a timeframe compare with the minutes: numbers of files. Those of 1m are read copies.

    ``stale`` must be rebuilt, ``absent`` do not exist. ``names`` has the first of both, each with its condition.
    """

    timeframe: Timeframe
    fresh: int
    stale: int
    absent: int
    names: Mapping[str, str] = field(factory=dict, repr=lambda names: f"<{len(names)} files>")


@frozen
class CopyFiles:
    """The files of read copies that exist, whether fresh or not.

    ``configured`` is the form that the store is to have: parquet, arrow or none. ``made`` is the form that an
    aggregation of minutes makes. ``numbers`` are those of the files of
    each form that exists, ``size_bytes`` is their size together, ``folder`` is where they are.
    """

    configured: str
    made: str
    folder: str
    numbers: Mapping[str, int]
    size_bytes: int
