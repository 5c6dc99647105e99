from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.ingestion.domain.batch_packing import PackingLimits, Rectangle, pack
from marketpipe.shared_kernel.domain.symbol import Symbol

Missing = dict[Symbol, list[int]]

NAMES = [Symbol(f"S{number}") for number in range(12)]
POSITIONS = st.sets(st.integers(0, 25), min_size=1).map(sorted)
MISSING = st.dictionaries(st.sampled_from(NAMES), POSITIONS, max_size=12)
LIMITS = st.builds(
    PackingLimits,
    bars_per_page=st.integers(1, 20_000),
    symbols_per_request=st.integers(1, 15),
    workers=st.integers(1, 16),
)
BARS_PER_DAY = st.floats(0.001, 5000)


def cells(rectangles: list[Rectangle]) -> list[tuple[Symbol, int]]:
    return [(s, position) for symbols, (first, last) in rectangles for s in symbols for position in _span(first, last)]


def _span(first: int, last: int) -> range:
    return range(first, last + 1)


def all_missing(symbols: int, days: int) -> Missing:
    return {Symbol(f"S{number:04d}"): list(range(days)) for number in range(symbols)}


@given(missing=MISSING, bars_per_day=BARS_PER_DAY, limits=LIMITS)
def test_every_missing_symbol_day_is_in_exactly_one_rectangle_and_nothing_else_is(
    missing: Missing, bars_per_day: float, limits: PackingLimits
) -> None:
    packed = Counter(cells(list(pack(missing, bars_per_day, limits))))

    assert packed == Counter((symbol, position) for symbol, positions in missing.items() for position in positions)


@given(missing=MISSING, bars_per_day=BARS_PER_DAY, limits=LIMITS)
def test_no_rectangle_names_more_symbols_than_a_request_may(
    missing: Missing, bars_per_day: float, limits: PackingLimits
) -> None:
    for symbols, (first, last) in pack(missing, bars_per_day, limits):
        assert 1 <= len(symbols) <= limits.symbols_per_request
        assert symbols == tuple(sorted(set(symbols)))
        assert first <= last


@given(missing=MISSING, bars_per_day=BARS_PER_DAY, limits=LIMITS)
def test_a_rectangle_of_more_than_one_symbol_day_is_expected_to_fit_its_batch(
    missing: Missing, bars_per_day: float, limits: PackingLimits
) -> None:
    total = bars_per_day * sum(map(len, missing.values()))
    for symbols, (first, last) in pack(missing, bars_per_day, limits):
        symbol_days = len(symbols) * (last - first + 1)
        if symbol_days > 1:
            assert symbol_days * bars_per_day <= limits.bars_per_batch(total) * (1 + 1e-9)


@given(missing=MISSING, bars_per_day=BARS_PER_DAY, limits=LIMITS)
def test_packing_the_same_twice_gives_the_same(missing: Missing, bars_per_day: float, limits: PackingLimits) -> None:
    backwards = dict(reversed(missing.items()))

    assert list(pack(missing, bars_per_day, limits)) == list(pack(backwards, bars_per_day, limits))


def test_nothing_missing_is_no_batch() -> None:
    assert list(pack({}, 500.0, PackingLimits(10_000, 200))) == []


def test_days_apart_are_asked_for_apart() -> None:
    missing = {NAMES[0]: [0, 1, 4, 6, 7]}

    packed = list(pack(missing, 500.0, PackingLimits(10_000, 200)))

    assert packed == [((NAMES[0],), (0, 1)), ((NAMES[0],), (4, 4)), ((NAMES[0],), (6, 7))]


def test_symbols_that_lack_the_same_days_are_asked_for_together() -> None:
    missing = {NAMES[2]: [0, 1], NAMES[0]: [0, 1], NAMES[1]: [1]}

    packed = list(pack(missing, 500.0, PackingLimits(10_000, 200)))

    assert packed == [((NAMES[0], NAMES[2]), (0, 1)), ((NAMES[1],), (1, 1))]


def test_a_symbol_day_that_is_larger_than_a_batch_still_gets_one() -> None:
    packed = list(pack(all_missing(2, 2), 1000.0, PackingLimits(bars_per_page=1, symbols_per_request=5)))

    assert [(len(symbols), run) for symbols, run in packed] == [(1, (0, 0)), (1, (1, 1))] * 2


@pytest.mark.parametrize(("total", "workers", "pages"), [(0, 4, 4), (640_000, 4, 8), (1e9, 4, 16), (640_000, 1, 16)])
def test_batches_grow_with_the_work_and_shrink_with_the_workers(total: float, workers: int, pages: int) -> None:
    assert PackingLimits(10_000, 200, workers).bars_per_batch(total) == pages * 10_000


@pytest.mark.parametrize("limits", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_limits_below_one_are_refused(limits: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must be >= 1"):
        PackingLimits(*limits)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5])
def test_scattered_days_of_many_symbols_take_a_rectangle_for_each_date(share: float) -> None:
    """Two days in a row that one symbol lacks are no reason for a request of its own."""
    random = Random(7)
    missing = {Symbol(f"S{number:03d}"): [day for day in range(20) if random.random() < share] for number in range(150)}
    missing = {symbol: days for symbol, days in missing.items() if days}

    found = list(pack(missing, 20.0, PackingLimits(10_000, 200)))

    assert len(found) == len({day for days in missing.values() for day in days})
    assert all(first == last for _, (first, last) in found)


def test_a_stretch_that_fills_a_page_stays_whole_beside_scattered_days() -> None:
    missing = {Symbol("LONG"): list(range(40)), **{Symbol(f"S{n}"): [n, n + 1, n + 9] for n in range(30)}}

    found = {run: symbols for symbols, run in pack(missing, 390.0, PackingLimits(10_000, 200))}

    assert found.pop((0, 39)) == (Symbol("LONG"),)
    assert all(first == last for first, last in found)


def test_what_fits_into_few_rectangles_is_not_cut_into_days() -> None:
    missing = {Symbol("AAPL"): list(range(5)), Symbol("MSFT"): list(range(2, 5))}

    assert len(list(pack(missing, 390.0, PackingLimits(10_000, 200)))) == 2
