"""Model a store on objects that one machine does not hold: requests, objects, rows of the catalog, hours and dollars.

    python benchmarks/scale_model.py [--symbols 8000] [--years 10] [--rate-limit 200 10000] [--times 1 10]

It asks no provider and writes nothing. The market is drawn: each symbol is of a kind with so many bars a day, and many
were listed later than the first year. What is requested is planned by the product's own packing of batches, so that
pages are as full as they are in practice. What follows from a page, such as objects and rows, are figures that were
measured on real servers; each is below, with what measured it. ``--times 10`` models so many times the symbols.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attrs import define, frozen
from benchmarks.comparison import parse_options

from marketpipe.ingestion.domain.batch_packing import PackingLimits, pack
from marketpipe.shared_kernel.domain.symbol import Symbol

KINDS: Final = ((0.06, 700), (0.19, 390), (0.375, 100), (0.375, 15))
"""Shares of the symbols, and their bars in a session of 04:00 to 20:00. The mean is 160."""
LISTED_LATER: Final = 0.3
"""So many of the symbols were listed at some session after the first."""
SESSIONS_A_YEAR, SESSIONS_A_MONTH = 252, 21
PAGE_BARS, SYMBOLS_A_REQUEST, WORKERS = 10_000, 1_000, 16

OBJECTS_A_PAGE: Final = 1.1
"""benchmarks/fewest_writes.py: 105 writes for a million bars of liquid symbols and 110 for thin ones, official days and
aggregates included; a page has 10,000 bars."""
OFFICIAL_DAYS_A_REQUEST: Final = 10_000
DAY_FILE_BYTES: Final = 14.3, 106.1
"""For a bar of a day file with 390 bars and with 20: a file has bytes that do not depend on how many bars it has."""
STORED_BYTES, COMPACTED_BYTES = (22.8, 185.4), (24.8, 249.0)
"""The same of all objects: bars, aggregates and official days as they are by default, and the ends of the objects. Half
a year of 8 and of 100 symbols, after ``gc``. The bytes of day files stay as they are in an object of a month, which
lists each day as a table of its own."""
OBJECT_DAYS, OBJECT_BYTES = 16_384, 128 * 2**20
"""Days and bytes of day files that an object of a month has at most."""
INTRADAY_TIMEFRAMES: Final = 3
STATE_BYTES, COMPACTED_STATE_BYTES = 1_050, 900
"""Of PostgreSQL 15 for a symbol-day, with indexes, just vacuumed, before and after: its place, its checkpoint and its
version, of which only the place goes when its month is compacted."""
GET_OF_A_MILLION, PUT_OF_A_MILLION, GIGABYTE_MONTH = 0.40, 5.00, 0.023
"""Dollars: list prices of S3 Standard; write requests and listings cost the same."""


@frozen
class DrawnSymbols:
    """Bars a day by symbol, and the first session that each has, counted from 0."""

    bars: Mapping[Symbol, int]
    first: Mapping[Symbol, int]


@define
class Cost:
    """What a store takes. Counts are of the whole history, if no request has to be repeated."""

    symbol_days: int = 0
    bars: float = 0.0
    requests: int = 0
    objects: float = 0.0
    months: int = 1
    day_file_bytes: float = 0.0
    bytes_stored: float = 0.0
    compacted_bytes: float = 0.0
    symbol_months: int = 0
    symbol_years: int = 0

    @property
    def catalog_rows(self) -> int:
        """Of all files before a compaction: day files, aggregates and official years."""
        return self.symbol_days + INTRADAY_TIMEFRAMES * self.symbol_months + 2 * self.symbol_years

    @property
    def compacted_rows(self) -> int:
        return (1 + INTRADAY_TIMEFRAMES) * self.symbol_months + 2 * self.symbol_years

    @property
    def month_objects(self) -> int:
        days, size = self.symbol_days / self.months, self.day_file_bytes / self.months
        return self.months * max(math.ceil(days / OBJECT_DAYS), math.ceil(size / OBJECT_BYTES))

    @property
    def gets_to_compact(self) -> float:
        """One for each part of a month that is in one object."""
        return self.symbol_months + self.bars / PAGE_BARS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=8000)
    parser.add_argument("--years", type=int, default=10)
    parser.add_argument("--rate-limit", type=int, nargs="+", default=[200, 10_000], help="requests a minute")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10], help="times the symbols")
    parser.add_argument("--seed", type=int, default=7)
    options = parse_options(parser)
    sessions = options.years * SESSIONS_A_YEAR
    drawn = [draw(options.symbols * times, sessions, options.seed) for times in options.times]
    titles = [f"{len(each.bars):,} symbols" for each in drawn]
    print(f"{f'{options.years} years, whole history':<44}" + "".join(f"{title:>18}" for title in titles))
    _print_rows([history(each, sessions) for each in drawn], options.rate_limit)
    print(f"\n{'one more session, every day':<44}" + "".join(f"{title:>18}" for title in titles))
    _print_rows([one_day(each) for each in drawn], options.rate_limit)


def draw(count: int, sessions: int, seed: int) -> DrawnSymbols:
    """Draw a market; the same for a seed."""
    chance = random.Random(seed)
    names = [Symbol(name) for name in _names(count)]
    shares, sizes = zip(*KINDS, strict=True)
    bars = dict(zip(names, chance.choices(sizes, shares, k=count), strict=True))
    first = {name: chance.randrange(sessions) if chance.random() < LISTED_LATER else 0 for name in names}
    return DrawnSymbols(bars, first)


def history(drawn: DrawnSymbols, sessions: int) -> Cost:
    """Return what it costs to ingest all sessions of all symbols into an empty store."""
    return _cost(drawn, {name: range(first, sessions) for name, first in drawn.first.items()})


def one_day(drawn: DrawnSymbols) -> Cost:
    """Return what one session of all symbols costs."""
    return _cost(drawn, {name: range(1) for name in drawn.bars})


def _cost(drawn: DrawnSymbols, wanted: Mapping[Symbol, Sequence[int]]) -> Cost:
    cost = Cost(months=math.ceil(max(map(len, wanted.values())) / SESSIONS_A_MONTH))
    for name, positions in wanted.items():
        days, bars = len(positions), drawn.bars[name] * len(positions)
        cost.symbol_days += days
        cost.bars += bars
        cost.day_file_bytes += bars * _bytes_a_bar(drawn.bars[name], DAY_FILE_BYTES)
        cost.bytes_stored += bars * _bytes_a_bar(drawn.bars[name], STORED_BYTES)
        cost.compacted_bytes += bars * _bytes_a_bar(drawn.bars[name], COMPACTED_BYTES)
        cost.symbol_months += math.ceil(days / SESSIONS_A_MONTH)
        cost.symbol_years += math.ceil(days / SESSIONS_A_YEAR)
    limits = PackingLimits(PAGE_BARS, SYMBOLS_A_REQUEST, WORKERS)
    for symbols, (first, last) in pack(wanted, cost.bars / cost.symbol_days, limits):
        bars = sum(drawn.bars[name] for name in symbols) * (last - first + 1)
        cost.requests += max(1, math.ceil(bars / PAGE_BARS))
    official = math.ceil(cost.symbol_days / OFFICIAL_DAYS_A_REQUEST)
    cost.objects = cost.requests * OBJECTS_A_PAGE
    cost.requests += official
    return cost


def _bytes_a_bar(bars: int, measured: tuple[float, float]) -> float:
    """Return the bytes of a bar of a day of so many, of which a part is for each bar and the rest for each day."""
    many, few = measured
    fixed = (few - many) / (1 / 20 - 1 / 390)
    return many - fixed / 390 + fixed / bars


def _print_rows(costs: Sequence[Cost], limits: Sequence[int]) -> None:
    for title, shown in _rows(costs, limits):
        print(f"{title:<44}" + "".join(f"{text:>18}" for text in shown))


def _rows(costs: Sequence[Cost], limits: Sequence[int]) -> Iterator[tuple[str, list[str]]]:
    yield "symbol-days", [f"{c.symbol_days:,}" for c in costs]
    yield "bars", [f"{c.bars / 1e6:,.0f} million" for c in costs]
    yield "requests to the provider", [f"{c.requests:,}" for c in costs]
    for limit in limits:
        yield f"  hours at {limit:,} a minute", [f"{c.requests / limit / 60:,.1f}" for c in costs]
    yield "write requests", [f"{c.objects:,.0f}" for c in costs]
    yield "  a million bars", [f"{c.objects / c.bars * 1e6:,.0f}" for c in costs]
    yield "  dollars", [f"{c.objects / 1e6 * PUT_OF_A_MILLION:,.2f}" for c in costs]
    yield "gigabytes", [f"{c.bytes_stored / 1e9:,.1f}" for c in costs]
    yield "  dollars a month", [f"{c.bytes_stored / 1e9 * GIGABYTE_MONTH:,.2f}" for c in costs]
    yield "rows of the catalog", [f"{c.catalog_rows:,}" for c in costs]
    yield "  gigabytes of PostgreSQL", [f"{c.symbol_days * STATE_BYTES / 1e9:,.1f}" for c in costs]
    yield "compacted: month objects", [f"{c.month_objects:,}" for c in costs]
    yield "  rows of the catalog", [f"{c.compacted_rows:,}" for c in costs]
    yield "  reads to compact", [f"{c.gets_to_compact:,.0f}" for c in costs]
    yield "  dollars to compact", [f"{_dollars_to_compact(c):,.2f}" for c in costs]
    yield "  gigabytes", [f"{c.compacted_bytes / 1e9:,.1f}" for c in costs]
    yield "  gigabytes of PostgreSQL", [f"{c.symbol_days * COMPACTED_STATE_BYTES / 1e9:,.1f}" for c in costs]


def _dollars_to_compact(cost: Cost) -> float:
    return (cost.gets_to_compact * GET_OF_A_MILLION + cost.month_objects * PUT_OF_A_MILLION) / 1e6


def _names(count: int) -> Iterator[str]:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for number in range(count):
        name = ""
        for _ in range(4):
            number, place = divmod(number, 26)
            name = letters[place] + name
        yield name


if __name__ == "__main__":
    main()
