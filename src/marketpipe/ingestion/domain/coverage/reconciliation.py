"""Comparing the minutes of a symbol with the exchange's official days: volume, open, high, low and close.

Minutes do not add up to the official day exactly. Minutes in which no eligible trade printed have no bar, some trades
count in one of the two only, and a store of regular hours lacks the volume around them. So each symbol-day is compared
with the symbol's own usual difference, and alone where that is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from statistics import median
from typing import Final, NamedTuple

from attrs import define, field, frozen

from marketpipe.ingestion.domain.coverage.baseline import Profiles, SessionGrid, longest_silence
from marketpipe.shared_kernel.domain.ohlcv_bar import LOT, DayFigures, OfficialDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate

FEWEST_SHARES: Final = 200.0
"""Fewer missing shares are odd lots and corrections, whatever part of the volume they are."""
SMALLEST_LOSS, SMALLEST_CONFIRMED_LOSS = 0.03, 0.01
"""Parts of the usual volume: the least that counts alone, and with another sign of a loss."""
SPREADS_ALONE, SPREADS_CONFIRMED = 6.0, 3.0
"""The same in robust standard deviations of the symbol's own ratios."""
SPREADS_WITH_A_WEAK_SIGN: Final = 4.0
"""The other sign is weaker than far too few bars: a price, a missing bar, or the longest silence of twenty sessions."""
BUSIEST: Final = 1.5
"""A busy session has so many times the mean number of bars."""
VOLUME_OF_BARS, VOLUME_OF_MANY_BARS, MANY_BARS = 0.2, 0.4, 25.0
"""The volume of lost bars, as a part of the volume, is at least so many times their part of the bars; the second of so
many bars, which cannot all be small ones: the quietest half hour of a day has half of a mean one's volume."""
NO_LOSS, SPREADS_WITHOUT_LOSS = 0.001, 1.5
"""A smaller part of the volume, alone or in such deviations, is not missing."""
MOST_TIMES_USUAL: Final = 1.6
"""More than so many times the usual volume is another security's, or in another scale. A day on which an index was
rebalanced had 1.42."""
EXACT: Final = 2e-4
"""Prices that differ by less are equal: figures are rounded, and adjusted prices are rounded to cents."""
SHARE_OF_DAYS: Final = 0.9
"""A difference that so many of the symbol's days do not exceed is usual."""
PRICE_TOLERANCE, TIMES_USUAL = 0.01, 4.0
"""Prices may differ by one per cent and four times what is usual. The smallest split, 21:20, moves them by five."""
TICK: Final = 0.01
MOST_SHARES: Final = 10_000.0
"""More volume than the official one matters from so many shares on."""
MOST, ALWAYS = 0.9, 0.98
"""Parts of the sessions."""
FEWEST_DAYS, FEWEST_SYMBOLS = 5, 5
WINDOW: Final = 10
"""The ratio of a day is compared with the median of so many days before it that were not short themselves."""
LEAST_ALONE, LEAST_OF_REGULAR_HOURS = 0.85, 0.5
"""The least ratio of a day if too few others are known, in a store of extended hours and in one of regular hours."""
LEAST_OF_DENSE, DENSE = 0.9, 0.6
"""The least ratio of a session with a bar in so many of its minutes, whatever is usual. Real ones are 0.98 and more."""
FIELDS: Final = ("open", "high", "low", "close")
NO_DIFFERENCES: Final = (0.0, 0.0, 0.0, 0.0)


class Comparison(NamedTuple):
    """One day's minutes compared with its official day. A tuple: hundreds of thousands are made for a report.

    ``ratio`` is the minutes' volume over the official volume, ``inner`` that of the regular session with its closing
    auction. ``prices`` are the relative differences of open, high, low and close; that of the high or the low
    is less than zero if it was not reached.
    """

    ratio: float
    prices: tuple[float, float, float, float]
    official: OfficialDay
    figures: DayFigures

    @property
    def inner(self) -> float:
        return (self.figures.volume + self.figures.auction_volume) / self.official.volume

    @classmethod
    def of(cls, figures: DayFigures, official: OfficialDay) -> Comparison:
        late, auction = figures.late_volume, figures.auction_volume
        ratio = (figures.early_volume + figures.volume + late) / official.volume
        if not figures.open or not official.low:  # the regular session has no bar: there are no prices to compare
            return cls(ratio, NO_DIFFERENCES, official, figures)
        high, low, close = figures.high, figures.low, figures.close
        if auction:
            close = figures.auction_open
            high = max(high, min(figures.auction_high, official.high))
            low = min(low, max(figures.auction_low, official.low))
        prices = (
            figures.open / official.open - 1,
            high / official.high - 1,
            1 - low / official.low,
            close / official.close - 1,
        )
        return cls(ratio, prices, official, figures)


@frozen(slots=False)
class Habit:
    """What is usual of one symbol: the median ratio, its robust standard deviation, and how far prices differ."""

    ratio: float
    spread: float
    prices: tuple[float, ...]
    highest: float
    """Only one ratio of twenty is higher."""

    @classmethod
    def of(cls, compared: Sequence[Comparison]) -> Habit | None:
        """Return None for too few days."""
        if len(compared) < FEWEST_DAYS:
            return None
        ratios, usual = sorted([each.ratio for each in compared]), int(SHARE_OF_DAYS * (len(compared) - 1))
        columns = zip(*[each.prices for each in compared], strict=True)
        differences = tuple(sorted(map(abs, column))[usual] for column in columns)
        return cls(*_robust(ratios), differences, ratios[int(0.95 * (len(ratios) - 1))])

    @cached_property
    def limits(self) -> tuple[float, ...]:
        """The differences of prices below which nothing is odd."""
        return tuple(EXACT if usual <= EXACT else PRICE_TOLERANCE + TIMES_USUAL * usual for usual in self.prices)

    def least_without(self, part: float, bars: float = 0.0) -> float:
        """Return the least ratio that shows that such a part of the bars, which are so many, was not lost."""
        share = VOLUME_OF_MANY_BARS if bars >= MANY_BARS else VOLUME_OF_BARS
        hidden = share * part - SPREADS_CONFIRMED * self.spread
        loss = min(hidden, max(NO_LOSS, SPREADS_WITHOUT_LOSS * self.spread))
        return self.ratio * (1 - loss) if loss > 0 else math.inf

    @property
    def most(self) -> float:
        """The greatest usual ratio. A greater one, as when an index was rebalanced, does not show how much is lost."""
        return self.ratio * (1 + max(SMALLEST_LOSS, SPREADS_CONFIRMED * self.spread))

    def is_exact(self, number: int) -> bool:
        return self.prices[number] <= EXACT


def _robust(values: Sequence[float]) -> tuple[float, float]:
    """Return the median, and what would be the standard deviation of normal values with the same typical distance."""
    middle = median(values)
    return middle, 1.4826 * median([abs(value - middle) for value in values])


@frozen
class Reconciliation:
    """The sessions of one symbol that could be compared, and those that fall short, each with a sentence.

    ``accounted`` are those whose volume agrees so closely that no silence can hide as many lost bars as count.
    """

    compared: Mapping[int, Comparison] = field(repr=False, factory=dict)
    short: Mapping[int, str] = field(factory=dict)
    accounted: frozenset[int] = field(repr=False, factory=frozenset)
    habit: Habit | None = field(repr=False, default=None)
    """None if volume refutes nothing: too few days, or a store without extended hours."""

    def refutes(self, position: int, part: float, bars: float = 0.0) -> bool:
        """Whether the volume shows that such a part of the usual bars, or more, was not lost; ``bars`` is their number,
        0 if it is unknown.
        """
        if self.habit is None or position not in self.compared or position in self.short:
            return False
        return self.habit.least_without(part, bars) <= self.compared[position].ratio <= self.habit.most


NOTHING_COMPARED: Final = Reconciliation()
Figures = Sequence[DayFigures | None]
OfficialByDate = Mapping[TradingDate, OfficialDay | None]


@frozen
class Reconciler:
    """Reconciles symbols one after another.

    ``extended``: the store has all hours, so that nearly all of the official volume should be in the minutes.
    ``market_ratio`` is the lowest usual ratio among the symbols of the store, None if there are too few.
    """

    grid: SessionGrid
    extended: bool
    market_ratio: float | None = None
    least_bars: float = 9.0
    """The fewest bars that make a silence suspect."""

    def reconcile(self, figures: Figures, profiles: Profiles, official: OfficialByDate) -> Reconciliation:
        """Compare the sessions that have figures and an official day. ``figures`` has an entry for each session."""
        compared = self.compared(figures, official) if official else {}
        if not compared:
            return NOTHING_COMPARED
        judged = _ComparedSymbol(self.grid, self.extended, self.market_ratio, self.least_bars, compared, profiles)
        short = judged.short()
        refuting = judged.habit if self.extended else None
        return Reconciliation(compared, short, frozenset(judged.accounted(short)), refuting)

    def compared(self, figures: Figures, official: OfficialByDate) -> dict[int, Comparison]:
        """Return the comparisons by position, ascending. Figures that were made with other hours are left out."""
        found = dict[int, Comparison]()
        for position, (sums, date, item) in enumerate(zip(figures, self.grid.dates, self.grid.sessions, strict=True)):
            if sums is None or (day := official.get(date)) is None or day.volume < LOT:  # no minute need have a bar
                continue
            if sums.opens == item.opens and sums.closes - sums.opens == item.length:
                found[position] = Comparison.of(sums, day)
        return found


@frozen(slots=False)
class _ComparedSymbol:
    grid: SessionGrid
    extended: bool
    market_ratio: float | None
    least_bars: float
    compared: Mapping[int, Comparison]
    profiles: Profiles

    @cached_property
    def habit(self) -> Habit | None:
        return Habit.of(list(self.compared.values()))

    @cached_property
    def _inner(self) -> tuple[float, float]:
        return _robust([each.inner for each in self.compared.values()])

    def short(self) -> dict[int, str]:
        """Return the sessions whose minutes fall short of the official day, each with a sentence that says how."""
        found, good, habit = dict[int, str](), list[float](), self.habit
        enough, most = (habit.highest * (1 - SMALLEST_CONFIRMED_LOSS), habit.ratio * 1.2) if habit else (1.0, 0.0)
        enough = max(enough, LEAST_OF_DENSE)
        limits = habit.limits if habit else NO_DIFFERENCES
        at_open, at_high, at_low, at_close = limits
        for position, each in self.compared.items():
            opened, high, low, closed = each.prices  # one by one: a generator for each day takes several times as long
            is_usual = (
                enough <= each.ratio <= most
                and -at_open <= opened <= at_open
                and -at_high <= high <= at_high
                and -at_low <= low <= at_low
                and -at_close <= closed <= at_close
            )
            if not is_usual and (reason := self._reason(position, each, good)):
                found[position] = reason
            else:
                good.append(each.ratio)
        return found

    def accounted(self, short: Mapping[int, str]) -> list[int]:
        habit, bars = self.habit, [minutes.bit_count() for minutes in self.profiles if minutes is not None]
        if habit is None or not self.extended or not sum(bars):
            return []
        least = habit.least_without(self.least_bars / (BUSIEST * sum(bars) / len(bars)))
        return [i for i, each in self.compared.items() if least <= each.ratio <= habit.most and i not in short]

    def _reason(self, position: int, each: Comparison, good: Sequence[float]) -> str | None:
        if reason := self._of_prices(each):
            return reason
        usual = self._usual(good)
        loss = 1 - each.ratio / usual
        is_too_much = each.ratio > usual * MOST_TIMES_USUAL + SPREADS_ALONE * self._spread
        if (is_too_much and -loss * each.official.volume > MOST_SHARES) or self._is_lost(position, each, loss):
            return f"minutes hold {each.ratio:.0%} of the official volume; {usual:.0%} is usual"
        return self._of_parts(position, each)

    @property
    def _spread(self) -> float:
        return self.habit.spread if self.habit else 0.0

    def _usual(self, good: Sequence[float]) -> float:
        if len(good) >= FEWEST_DAYS:
            return median(good[-WINDOW:])
        return self.habit.ratio if self.habit else self.market_ratio or 1.0

    def _is_lost(self, position: int, each: Comparison, loss: float) -> bool:
        if self._is_below_all(position, each):
            return True
        if self.habit is None or loss * each.official.volume < FEWEST_SHARES:
            return False
        if self.extended and loss > max(SMALLEST_LOSS, SPREADS_ALONE * self._spread):
            return True
        if loss <= max(SMALLEST_CONFIRMED_LOSS, SPREADS_CONFIRMED * self._spread):
            return False
        if self._has_few_bars(position):
            return True
        if loss <= SPREADS_WITH_A_WEAK_SIGN * self._spread:
            return False
        if self._lacks_open_or_auction(position) or any(self._is_inexact(each, i) for i in range(len(FIELDS))):
            return True
        return self.extended and self._is_quietest(position)

    def _lacks_open_or_auction(self, position: int) -> bool:
        """Whether the bar at the open, or the one of the closing auction, is missing, though it hardly ever is."""
        if self._opens_late(position) and self._part(lambda i: not self._opens_late(i)) >= ALWAYS:
            return True
        return not self._has_auction(position) and self._part(self._has_auction) >= ALWAYS

    def _is_below_all(self, position: int, each: Comparison) -> bool:
        """Whether less is there than any symbol has, whatever is usual of this one, or if that is not known."""
        if (1 - each.ratio) * each.official.volume < FEWEST_SHARES:
            return False
        bars, length = (self.profiles[position] or 0).bit_count(), self.grid.sessions[position].length
        if self.extended and bars >= DENSE * length and each.ratio < LEAST_OF_DENSE - SPREADS_ALONE * self._spread:
            return True
        least = LEAST_ALONE if self.extended else LEAST_OF_REGULAR_HOURS
        if self.market_ratio is not None:
            least = min(least, self.market_ratio * LEAST_ALONE)
        return self.habit is None and each.ratio < least

    def _is_inexact(self, each: Comparison, number: int) -> bool:
        return self.habit is not None and self.habit.is_exact(number) and abs(each.prices[number]) > EXACT

    def _has_few_bars(self, position: int) -> bool:
        """Whether the session has far fewer bars than the symbol has in any session around it."""
        length = self.grid.sessions[position].length
        bars = sorted(minutes.bit_count() * length / other for minutes, other in self._around(position))
        if len(bars) < FEWEST_DAYS:
            return False
        lowest, middle = bars[0], bars[len(bars) // 2]
        return (self.profiles[position] or 0).bit_count() < lowest - 2 * (middle - lowest) - 3

    def _is_quietest(self, position: int) -> bool:
        """Whether no session around this one has so few bars, or none has so long a silence."""
        length, minutes = self.grid.sessions[position].length, self.profiles[position] or 0
        around = self._around(position)
        if len(around) < FEWEST_DAYS:
            return False
        if all(minutes.bit_count() * other < some.bit_count() * length for some, other in around):
            return True
        longest = longest_silence(minutes, length)
        return all(longest > longest_silence(some, other) for some, other in around)

    def _around(self, position: int) -> list[tuple[int, int]]:
        """Return the minutes and the length of the sessions around one that are known."""
        around = range(max(0, position - WINDOW), min(len(self.profiles), position + WINDOW + 1))
        return [
            (minutes, self.grid.sessions[i].length)
            for i in around
            if i != position and (minutes := self.profiles[i]) is not None
        ]

    def _of_prices(self, each: Comparison) -> str | None:
        """Return a sentence if a price differs more than any honest difference, or all but one that usually agree."""
        usual = self.habit.prices if self.habit else NO_DIFFERENCES
        for name, difference, typical in zip(FIELDS, each.prices, usual, strict=True):
            official: float = getattr(each.official, name)
            ticks = 2 * (TICK if official >= 1 else TICK / 100) / official
            if abs(difference) > PRICE_TOLERANCE + ticks + TIMES_USUAL * typical:
                found = official * (1 - difference if name == "low" else 1 + difference)
                return f"the {name} of the minutes is {found:g}, the official one {official:g}"
        inexact = [name for number, name in enumerate(FIELDS) if self._is_inexact(each, number)]
        if len(inexact) < len(FIELDS) - 1:
            return None
        return f"{', '.join(inexact)} of the minutes differ from the official ones, which they usually equal"

    def _of_parts(self, position: int, each: Comparison) -> str | None:
        """Return a sentence if the open or the close is lost, or if the bars are of other hours."""
        habit, figures, official = self.habit, each.figures, each.official
        odd_open, odd_close = self._is_inexact(each, 0), self._is_inexact(each, 3)
        if habit is None or not (odd_open or odd_close):
            return None
        if odd_open and self._opens_late(position) and self._part(lambda i: not self._opens_late(i)) >= MOST:
            return (
                f"no bar at the open, and the first price is {figures.open:g}; the official open is {official.open:g}"
            )
        if odd_close and not self._has_auction(position) and self._part(self._has_auction) >= MOST:
            return (
                f"no bar of the closing auction, and the last price is {figures.close:g}; the official close is "
                f"{official.close:g}"
            )
        least_loss = SMALLEST_LOSS if odd_open and odd_close else 3 * SMALLEST_LOSS
        inner, spread = self._inner
        if 1 - each.inner / inner <= max(least_loss, SPREADS_CONFIRMED * spread):
            return None
        return (
            f"regular hours hold {each.inner:.0%} of the official volume, {inner:.0%} is usual, and the "
            f"{'open' if odd_open else 'close'} is not the official one: are the bars those of other hours?"
        )

    def _opens_late(self, position: int) -> bool:
        return not (self.profiles[position] or 0) & 1

    def _has_auction(self, position: int) -> bool:
        return self.compared[position].figures.auction_volume > 0

    def _part(self, holds: Callable[[int], bool]) -> float:
        """Return the part of the compared sessions of which it holds."""
        return sum(map(holds, self.compared)) / len(self.compared)


@define
class UsualRatios:
    """Collects which ratio of volumes is usual of each symbol of a store."""

    grid: SessionGrid
    _ratios: list[float] = field(factory=list)

    def add(self, figures: Figures, official: OfficialByDate) -> None:
        compared = Reconciler(self.grid, extended=True).compared(figures, official) if official else {}
        if len(compared) >= FEWEST_DAYS:
            self._ratios.append(median(each.ratio for each in compared.values()))

    def lowest(self) -> float | None:
        """Return the lowest; None if too few symbols can be compared.

        The lowest of twenty symbols is left out: its bars may be the ones that are lost.
        """
        return sorted(self._ratios)[len(self._ratios) // 20] if len(self._ratios) >= FEWEST_SYMBOLS else None
