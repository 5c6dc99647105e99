from __future__ import annotations

from itertools import product
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketpipe.ingestion.domain.official_days import OfficialLimits, official_day_of
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.testing import sessions

LIMITS = OfficialLimits(bars_per_page=10_000, symbols_per_request=2_000)


def symbols(count: int) -> list[Symbol]:
    return [Symbol(f"S{number:04d}") for number in range(count)]


@pytest.mark.parametrize(
    ("count", "days", "pages", "requests"),
    [
        (500, 250, 13, 1),
        (500, 1_250, 63, 4),
        (2_000, 5, 1, 1),
        (5_000, 5, 3, 3),
        (1, 1, 1, 1),
        (40, 250, 1, 1),
        (8_000, 1, 4, 4),
        (3, 9_000, 3, 1),
    ],
)
def test_all_days_of_all_symbols_take_the_fewest_pages(count: int, days: int, pages: int, requests: int) -> None:
    bundles = list(LIMITS.bundles({key: list(range(days)) for key in symbols(count)}))
    assert sum(each for _, each in bundles) == pages
    assert len(bundles) == requests


def test_scattered_days_are_joined_with_days_that_are_not_missing() -> None:
    one, other, third = symbols(3)
    missing = {one: [0, 7, 249], other: [3], third: list(range(100, 120))}
    assert list(LIMITS.bundles(missing)) == [(((one, other, third), (0, 249)), 1)]


def test_what_would_need_another_page_is_not_joined() -> None:
    few, *many = symbols(2_001)
    bundles = list(LIMITS.bundles({few: list(range(250)), **{key: [249] for key in many}}))
    assert [each for _, each in bundles] == [1, 1]


def test_nothing_missing_is_no_request() -> None:
    assert list(LIMITS.bundles({})) == []


@settings(max_examples=60)
@given(
    missing=st.dictionaries(
        st.sampled_from(symbols(12)), st.lists(st.integers(0, 60), min_size=1, unique=True).map(sorted), max_size=12
    ),
    page=st.integers(1, 80),
    width=st.integers(1, 5),
)
def test_every_missing_day_is_requested_and_never_with_more_pages_than_alone(
    missing: dict[Symbol, list[int]], page: int, width: int
) -> None:
    limits = OfficialLimits(page, width)
    bundles = list(limits.bundles(missing))
    covered = {day for (some, (first, last)), _ in bundles for day in product(some, range(first, last + 1))}
    wanted = {(symbol, position) for symbol, positions in missing.items() for position in positions}
    assert wanted <= covered
    assert all(len(some) <= width for (some, _), _ in bundles)
    assert all(each == ceil(len(some) * (last - first + 1) / page) for (some, (first, last)), each in bundles)
    assert sum(each for _, each in bundles) <= len(wanted)


@pytest.mark.parametrize(
    ("date", "start", "end"),
    [
        ("2024-03-08", "2024-03-08T05:00:00Z", "2024-03-09T05:00:00Z"),
        ("2024-03-11", "2024-03-11T04:00:00Z", "2024-03-12T04:00:00Z"),
        ("2024-11-01", "2024-11-01T04:00:00Z", "2024-11-02T04:00:00Z"),
        ("2024-11-29", "2024-11-29T05:00:00Z", "2024-11-30T05:00:00Z"),
    ],
)
def test_an_official_day_is_the_calendar_day_in_new_york(date: str, start: str, end: str) -> None:
    (session,) = sessions(date, date)
    asked = official_day_of(session)
    assert asked.final
    assert (str(asked.window.start), str(asked.window.end)) == (start, end)
