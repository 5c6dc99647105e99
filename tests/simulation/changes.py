"""The kinds of changes of a market: each says what it does to the trades, to the answers and to the official day."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from attrs import evolve, frozen

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingSession
from tests.simulation.answers import MINUTE, Minutes, Official
from tests.simulation.exchange import session_before
from tests.simulation.story import Step

if TYPE_CHECKING:
    from tests.simulation.market import Market


@frozen
class Change:
    """One event in the history of the market. ``what`` may have a ``symbol``, a ``date`` and an end, ``until``."""

    number: int
    kind: str
    moment: Timestamp
    what: Mapping[str, Any]
    seed: str

    @classmethod
    def of(cls, step: Step, seed: str) -> Change:
        """Read a step, whose kind is one of ``CHANGES``."""
        return cls(step.number, step.kind, Timestamp.parse(step.at), step.what, seed)

    def holds(self, symbol: str, date: str, at: Timestamp) -> bool:
        """Return whether this changes what is known at that moment of that symbol and date."""
        until = self.what.get("until")
        if at < self.moment or (until is not None and at >= Timestamp.parse(until)):
            return False
        return CHANGES[self.kind].concerns(self, symbol, date)

    def random(self, *more: object) -> np.random.Generator:
        return np.random.default_rng(list("/".join(map(str, (self.seed, *more))).encode()))

    def text(self) -> str:
        said = ", ".join(f"{name} {value}" for name, value in self.what.items())
        return f"{self.kind}: {said}"


@frozen
class Place:
    """One symbol-day of a market whose provider adjusts prices like this: raw or split."""

    market: Market
    symbol: str
    session: TradingSession
    adjustment: str

    @property
    def date(self) -> str:
        return str(self.session.trading_date)


Reshape = Callable[[Change, Place, Minutes], Minutes]
Restate = Callable[[Change, Place, Official | None], Official | None]


def _same(change: Change, place: Place, minutes: Minutes) -> Minutes:
    return minutes


def _same_day(change: Change, place: Place, official: Official | None) -> Official | None:
    return official


def _on_its_date(change: Change, symbol: str, date: str) -> bool:
    what = change.what
    last = what.get("last", what["date"])
    return what.get("symbol", symbol) == symbol and what["date"] <= date <= last


def _from_its_date(change: Change, symbol: str, date: str) -> bool:
    return bool(change.what["symbol"] == symbol and date >= change.what["date"])


def _before_its_date(change: Change, symbol: str, date: str) -> bool:
    return bool(change.what["symbol"] == symbol and date < change.what["date"])


def _renamed(change: Change, symbol: str, date: str) -> bool:
    """The former symbol has no bars from the date on, the new one none before."""
    is_new = date >= change.what["date"]
    return bool(symbol == change.what["symbol"] and is_new) or bool(symbol == change.what["to"] and not is_new)


def _of_its_symbol(change: Change, symbol: str, date: str) -> bool:
    return bool(change.what["symbol"] == symbol)


@frozen
class Kind:
    """``traded`` changes what happened, and so the official day too; ``answered`` only the minutes of an answer."""

    traded: Reshape = _same
    answered: Reshape = _same
    official: Restate = _same_day
    concerns: Callable[[Change, str, str], bool] = _on_its_date


def _nothing(change: Change, place: Place, minutes: Minutes) -> Minutes:
    return minutes.none()


def _no_official(change: Change, place: Place, official: Official | None) -> Official | None:
    return None


def _official_if_kept(change: Change, place: Place, official: Official | None) -> Official | None:
    return official if change.what.get("official", True) else None


def _of_a_halted_day(change: Change, place: Place, official: Official | None) -> Official | None:
    """Return a day without trades at the last price, or none."""
    if not change.what.get("official", False):
        return None
    price = place.market.symbols[place.symbol].price
    midnight = place.session.trading_date.midnight.epoch_micros
    return Official(midnight, price, price, price, price, 0.0, 0, price)


def _window(change: Change, place: Place, minutes: Minutes) -> np.ndarray:
    """Return which bars are in the minutes ``minute`` to ``minute + minutes`` after the open."""
    start = place.session.opens.epoch_micros + int(change.what["minute"]) * MINUTE
    return (minutes.times >= start) & (minutes.times < start + int(change.what["minutes"]) * MINUTE)


def _halted(change: Change, place: Place, minutes: Minutes) -> Minutes:
    return minutes.kept(~_window(change, place, minutes))


def _thin(change: Change, place: Place, minutes: Minutes) -> Minutes:
    return minutes.kept(np.arange(0, len(minutes), int(change.what["every"])))


def _split(change: Change, place: Place, minutes: Minutes) -> Minutes:
    """New prices from the date of the split on; an adjusted history has them on all dates."""
    is_new = place.date >= change.what["date"] or place.adjustment != "raw"
    return minutes.scaled(1 / float(change.what["ratio"])) if is_new else minutes


def _chosen(change: Change, place: Place, minutes: Minutes) -> np.ndarray:
    """Return the positions of ``bars`` bars, ascending: of the regular session, if it has so many."""
    closes = place.session.closes.epoch_micros
    regular = np.flatnonzero((minutes.times >= place.session.opens.epoch_micros) & (minutes.times < closes))
    count = int(change.what["bars"])
    among = regular if len(regular) >= count else np.arange(len(minutes))
    random = change.random(place.symbol, place.date)
    return np.sort(random.permutation(among)[:count])


def _corrected(change: Change, place: Place, minutes: Minutes) -> Minutes:
    """Another volume, and another close between low and high."""
    closes, volumes = minutes.closes.copy(), minutes.volumes.copy()
    for position in _chosen(change, place, minutes):
        low, high = minutes.lows[position], minutes.highs[position]
        closes[position] = low if closes[position] != low else high
        volumes[position] += 1
    return evolve(minutes, closes=closes, volumes=volumes)


def _lacking(change: Change, place: Place, minutes: Minutes) -> Minutes:
    lacking = np.zeros(len(minutes), np.bool_)
    lacking[_chosen(change, place, minutes)] = True
    return minutes.kept(~lacking)


def _withheld(change: Change, place: Place, minutes: Minutes) -> Minutes:
    """Every second bar, or what comes before or after the middle of the day: the same part on each date."""
    half, count = len(minutes) // 2, np.arange(len(minutes))
    kept = {"odd": count % 2 == 0, "late": count < half, "early": count >= half}
    return minutes.kept(kept[change.what["how"]])


def _rejected(change: Change, place: Place, minutes: Minutes) -> Minutes:
    """A high below the low: no rule lets such a bar pass."""
    highs = minutes.highs.copy()
    highs[_chosen(change, place, minutes)] = 0.01
    return evolve(minutes, highs=highs)


def _scaled(change: Change, place: Place, minutes: Minutes) -> Minutes:
    scaled = minutes.scaled(float(change.what["factor"]))
    return evolve(scaled, volumes=minutes.volumes)


def _repeated(change: Change, place: Place, minutes: Minutes) -> Minutes:
    """The bars of the session before, at the times of this one."""
    before = session_before(place.session)
    found = place.market.base(place.symbol, before)
    return found.shifted(place.session.opens.epoch_micros - before.opens.epoch_micros)


def _of_another(change: Change, place: Place, minutes: Minutes) -> Minutes:
    return place.market.base(change.what["of"], place.session)


def _other_close(change: Change, place: Place, official: Official | None) -> Official | None:
    if official is None:
        return None
    close = round(official.close * float(change.what["factor"]), 2)
    return evolve(official, close=close, high=max(official.high, close), low=min(official.low, close))


def _other_volume(change: Change, place: Place, official: Official | None) -> Official | None:
    factor = float(change.what["factor"])
    return official and evolve(official, volume=round(official.volume * factor))


CHANGES: Final[Mapping[str, Kind]] = {
    "listed": Kind(traded=_nothing, concerns=_before_its_date),
    "delisted": Kind(traded=_nothing, concerns=_from_its_date),
    "renamed": Kind(traded=_nothing, concerns=_renamed),
    "silent": Kind(traded=_nothing),
    "halted": Kind(traded=_halted),
    "halted all day": Kind(traded=_nothing, official=_of_a_halted_day),
    "thin day": Kind(traded=_thin),
    "split": Kind(traded=_split, concerns=_of_its_symbol),
    "corrected": Kind(answered=_corrected),
    "bars lacking": Kind(answered=_lacking),
    "day lacking": Kind(answered=_nothing, official=_official_if_kept),
    "bars withheld": Kind(answered=_withheld),
    "bars rejected": Kind(answered=_rejected),
    "outage": Kind(answered=_halted),
    "scaled": Kind(answered=_scaled),
    "day repeated": Kind(answered=_repeated),
    "bars of another": Kind(answered=_of_another),
    "official absent": Kind(official=_no_official),
    "official close": Kind(official=_other_close),
    "official volume": Kind(official=_other_volume),
}
"""By the kind of a step. With an end, ``until``, what is late comes then."""
