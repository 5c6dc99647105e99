"""Faults of market data, each at three severities, that are put into drawn bars to see whether coverage finds them.

A fault changes the bars of one or several sessions of a symbol in place and returns the sessions that it changed. It
picks none if the bars that would be lost are too few to be missed by anyone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from attrs import frozen
from benchmarks.drawn_market import CLOSE, MINUTES, OPEN, Array, DrawnBars

FEWEST_LOST = 20
"""Bars: a fault that loses fewer in a usual session is not counted."""


@frozen
class Injection:
    """A fault in one session: ``row`` of ``bars``. ``traded`` are its minutes before any fault, ``other`` the bars of
    another symbol.
    """

    bars: DrawnBars
    traded: Array
    row: int
    severity: float
    other: DrawnBars

    @property
    def closes(self) -> int:
        return self.bars.closes[self.row]

    def usual(self, first: int, end: int) -> float:
        """Return how many bars a session usually has in these minutes."""
        return float(np.median(self.traded[:, first:end].sum(1)))

    def lose(self, first: int, end: int) -> bool:
        self.bars.traded[self.row, first:end] = False
        return self.usual(first, end) >= FEWEST_LOST


@frozen
class Fault:
    """``change`` puts it into one session and returns whether it is one that counts.

    ``sessions`` in a row get it. ``common`` puts it into every symbol in the same session, ``lasting`` into every
    session of every symbol. ``official``: the official day alone shows it. ``severities`` go from severe to slight.
    """

    change: Callable[[Injection], bool]
    severities: tuple[float, float, float]
    sessions: int = 1
    common: bool = False
    lasting: bool = False
    official: bool = True


def _hole(it: Injection) -> bool:
    start = 400 + 7 * it.row % 100
    return it.lose(start, start + int(it.severity))


def _stops(it: Injection) -> bool:
    return it.lose(it.closes - int(it.severity), MINUTES)


def _begins(it: Injection) -> bool:
    return it.lose(0, OPEN + int(it.severity))


def _evening(it: Injection) -> bool:
    lost = it.closes + 1, MINUTES
    it.lose(*lost)
    return it.closes == CLOSE and it.usual(*lost) >= it.severity


def _morning(it: Injection) -> bool:
    it.lose(0, OPEN)
    return it.usual(0, OPEN) >= it.severity


def _random_loss(it: Injection) -> bool:
    traded = it.bars.traded[it.row]
    usual = it.usual(OPEN, CLOSE)
    traded &= np.random.default_rng(it.row).uniform(size=MINUTES) > it.severity
    return usual * it.severity >= 5 * FEWEST_LOST


def _withheld(it: Injection) -> bool:
    it.bars.traded[it.row] = False
    return it.usual(OPEN, CLOSE) >= it.severity


def _scaled(it: Injection) -> bool:
    for values in (it.bars.open, it.bars.high, it.bars.low, it.bars.close):
        values[it.row] = np.round(values[it.row] * it.severity, 4)
    return it.usual(OPEN, CLOSE) >= 5


def _another_security(it: Injection) -> bool:
    ratio = it.other.official[it.row, 3] / it.bars.official[it.row, 3]
    if not (max(ratio, 1 / ratio) >= it.severity and it.other.traded[it.row].any() and it.bars.traded[it.row].any()):
        return False
    _copy(it.bars, it.row, it.other, it.row)
    return it.usual(OPEN, CLOSE) >= 5


def _repeated(it: Injection) -> bool:
    before = it.row - int(it.severity)
    if before < 0 or it.bars.closes[before] != it.closes or it.bars.traded[before].sum() < 5:
        return False
    _copy(it.bars, it.row, it.bars, before)
    return True


def _shifted(it: Injection) -> bool:
    by = int(it.severity)
    for values in (it.bars.traded, it.bars.open, it.bars.high, it.bars.low, it.bars.close, it.bars.volume):
        values[it.row] = np.roll(values[it.row], by)
    return it.usual(OPEN, CLOSE) >= 350 and it.closes == CLOSE


def _frozen(it: Injection) -> bool:
    price = it.bars.close[it.row, OPEN]
    for values in (it.bars.open, it.bars.high, it.bars.low, it.bars.close):
        values[it.row] = price
    it.bars.volume[it.row] = it.severity
    return it.usual(OPEN, CLOSE) >= FEWEST_LOST


def _lots(it: Injection) -> bool:
    it.bars.volume[it.row] = np.maximum(it.severity, np.round(it.bars.volume[it.row] / it.severity) * it.severity)
    return it.usual(OPEN, CLOSE) >= FEWEST_LOST


def _nearly_all(it: Injection) -> bool:
    at = np.flatnonzero(it.bars.traded[it.row])
    usual = it.usual(OPEN, CLOSE)
    it.bars.traded[it.row] = False
    it.bars.traded[it.row, at[: int(it.severity)]] = True
    it.bars.traded[it.row, at[at >= OPEN][: int(it.severity)]] = True
    return usual >= 200


def _minutes(it: Injection) -> bool:
    chosen = np.random.default_rng([it.row, 9]).choice(np.arange(OPEN + 5, 530), int(it.severity), replace=False)
    it.bars.traded[it.row, chosen] = False
    return it.usual(OPEN, CLOSE) >= 350


def _resumed(it: Injection) -> bool:
    """A silence of thirty sessions, then another price level until the end."""
    if not 40 <= it.row < len(it.bars.traded) - 40 or it.usual(OPEN, CLOSE) < 5:
        return False
    it.bars.traded[it.row - 30 : it.row] = False
    it.bars.official[it.row - 30 : it.row] = np.nan
    factor = it.severity * it.bars.close[it.row - 31, OPEN] / it.bars.close[it.row, OPEN]
    for values in (it.bars.open, it.bars.high, it.bars.low, it.bars.close, it.bars.official[:, :4]):
        values[it.row :] = np.round(values[it.row :] * factor, 2)
    return True


def _copy(bars: DrawnBars, row: int, source: DrawnBars, from_row: int) -> None:
    for name in ("traded", "open", "high", "low", "close", "volume"):
        getattr(bars, name)[row] = getattr(source, name)[from_row]


FAULTS: Mapping[str, Fault] = {
    "hole": Fault(_hole, (120, 60, 30)),
    "stops early": Fault(_stops, (120, 60, 30)),
    "begins late": Fault(_begins, (120, 60, 30)),
    "random loss": Fault(_random_loss, (0.8, 0.6, 0.4)),
    "withheld": Fault(_withheld, (300, 100, 20)),
    "withheld week": Fault(_withheld, (300, 100, 20), sessions=5),
    "lasting loss": Fault(_nearly_all, (1, 20, 100), sessions=11),
    "other scale": Fault(_scaled, (100, 10, 0.25)),
    "other security": Fault(_another_security, (5, 2, 1.0)),
    "repeated day": Fault(_repeated, (1, 5, 20)),
    "shifted": Fault(_shifted, (60, 30, 1)),
    "frozen": Fault(_frozen, (0, 0, 0)),
    "lots of 100": Fault(_lots, (100, 100, 100), official=False),
    "evening lost": Fault(_evening, (100, 50, 20)),
    "morning lost": Fault(_morning, (100, 50, 20)),
    "silence, other price": Fault(_resumed, (10, 3, 0.5), official=False),
    "common minutes": Fault(_minutes, (9, 3, 1), common=True, official=False),
    "common outage": Fault(_hole, (60, 30, 15), common=True),
    "cut at the end": Fault(_stops, (240, 60, 15), lasting=True),
    "cut at the beginning": Fault(_begins, (120, 60, 15), lasting=True),
}
