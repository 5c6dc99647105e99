from __future__ import annotations

from enum import Enum

from attrs import frozen

from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp


class Verdict(Enum):
    """What can be said of one symbol in one session of the exchange."""

    COMPLETE = "complete"
    """Asked for after the session was final, and stored whole."""
    EMPTY = "empty"
    """Asked for after the session was final; the provider had nothing."""
    PARTIAL = "partial"
    """Asked for before the session was final, or for fewer hours than are wanted."""
    MISSING = "missing"
    """Never asked for, or failed, or its file is gone."""
    SUSPECT = "suspect"
    """Asked for, but something is off: see ``Suspicion``."""
    UNLISTED = "unlisted"
    """Before the symbol's first bars or after its last: the provider was asked there too, and had nothing."""
    PENDING = "pending"
    """Not asked for, and the session is not final yet."""

    def __str__(self) -> str:
        return self.value

    @property
    def is_gap(self) -> bool:
        return self in (Verdict.MISSING, Verdict.PARTIAL, Verdict.SUSPECT)

    @property
    def disproves(self) -> bool:
        """A store in which this is found is not complete."""
        return self in (Verdict.MISSING, Verdict.SUSPECT)


class Suspicion(Enum):
    """Why a symbol-day is suspect."""

    HOLES = "holes"
    STOPS_EARLY = "stops early"
    SPARSE = "too few bars"
    WITHHELD = "withheld"
    OUTAGE = "provider outage"
    REJECTED = "all rejected"
    ALTERED = "file altered"
    UNRECORDED = "file not recorded"
    STALE_AGGREGATE = "stale aggregate"

    def __str__(self) -> str:
        return self.value

    @property
    def asking_helps(self) -> bool:
        """Whether the provider's answer may settle it."""
        return self not in (Suspicion.STALE_AGGREGATE, Suspicion.UNRECORDED)


@frozen
class Finding:
    """A verdict with its reason. ``detail`` is a sentence for people, None where the verdict says it all."""

    verdict: Verdict
    detail: str | None = None
    suspicion: Suspicion | None = None


@frozen
class SessionVerdict:
    """A finding with its evidence.

    ``bars`` lie in the store, ``rejected`` in quarantine; ``first`` and ``last`` are the minutes of the first and last
    stored bar, None where there is none or nobody has noted them.
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
