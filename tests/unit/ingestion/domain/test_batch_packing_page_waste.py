"""How many pages a plan costs, when what it asks for has the volumes of real stocks and nothing was known before."""

from __future__ import annotations

import math
import random
from functools import cache

import pytest

from marketpipe.ingestion.application.job_scheduler import UNKNOWN_BARS_PER_DAY
from marketpipe.ingestion.domain.batch_packing import PackingLimits, pack
from marketpipe.shared_kernel.domain.symbol import Symbol

PAGE = 10_000
SYMBOLS, DAYS = 500, 20
UNKNOWN = UNKNOWN_BARS_PER_DAY
MIX = {(750, 960): 0.15, (350, 700): 0.45, (120, 350): 0.25, (5, 120): 0.15}
"""Minute bars of an extended day with how many of the stocks have them: from the busiest to the forgotten."""

Volumes = dict[tuple[Symbol, int], int]


@cache
def mixed_volumes(seed: int, symbols: int = SYMBOLS, days: int = DAYS) -> Volumes:
    draw = random.Random(seed)
    volumes: Volumes = {}
    for number in range(symbols):
        ((least, most),) = draw.choices(list(MIX), weights=list(MIX.values()))
        symbol, usual = Symbol(f"S{number:04d}"), draw.uniform(least, most)
        for position in range(days):
            volumes[symbol, position] = min(960, round(usual * draw.uniform(0.75, 1.25)))
    return volumes


def missing_of(volumes: Volumes) -> dict[Symbol, list[int]]:
    missing: dict[Symbol, list[int]] = {}
    for symbol, position in volumes:
        missing.setdefault(symbol, []).append(position)
    return missing


def pages_and_batches(volumes: Volumes, bars_per_day: float, limits: PackingLimits) -> tuple[int, int]:
    batches = list(pack(missing_of(volumes), bars_per_day, limits))
    bars = [
        sum(volumes[symbol, position] for symbol in symbols for position in range(first, last + 1))
        for symbols, (first, last) in batches
    ]
    return sum(max(1, math.ceil(count / PAGE)) for count in bars), len(batches)


def waste(volumes: Volumes, bars_per_day: float, limits: PackingLimits) -> float:
    pages, _ = pages_and_batches(volumes, bars_per_day, limits)
    return 1 - sum(volumes.values()) / (pages * PAGE)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("workers", [1, 4, 16])
def test_unknown_volumes_waste_at_most_fifteen_percent_of_the_pages(seed: int, workers: int) -> None:
    assert waste(mixed_volumes(seed), UNKNOWN, PackingLimits(PAGE, 200, workers)) <= 0.15


@pytest.mark.parametrize("seed", range(4))
def test_known_volumes_waste_no_more_than_unknown_ones_may(seed: int) -> None:
    volumes = mixed_volumes(seed)
    mean = sum(volumes.values()) / len(volumes)

    assert waste(volumes, mean, PackingLimits(PAGE, 200, 4)) <= 0.15


def test_the_number_of_batches_is_sensible() -> None:
    pages, batches = pages_and_batches(mixed_volumes(0), UNKNOWN, PackingLimits(PAGE, 200, workers=4))

    assert 2 * 4 <= batches <= pages / 8


def test_one_new_day_of_many_symbols_is_a_handful_of_batches() -> None:
    """The daily update: 500 symbols that lack one day are not 500 requests."""
    pages, batches = pages_and_batches(mixed_volumes(0, days=1), UNKNOWN, PackingLimits(PAGE, 200, workers=4))

    assert (batches, pages) == (4, 24)  # as many as there are workers
