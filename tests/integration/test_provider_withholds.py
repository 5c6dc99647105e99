"""A provider that now and then has nothing to say, with status 200: its silence is found out, and heals."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.testing import Response
from tests.support.alpaca_loopback import AlpacaLoopback
from tests.support.examples import ALL, tries_more
from tests.support.pipeline_ring import contents
from tests.support.provider_faults import (
    DATES,
    ProviderFaults,
    all_days,
    alpaca_pipeline,
    ingested,
    market,
    wrongly_stored,
)

SYMBOLS = ("AAPL", "MSFT", "NVDA")
BARS, DAYS = market(SYMBOLS, DATES, 390), all_days(SYMBOLS, DATES)
PAGE = 975
"""Two and a half days."""
MIXED = ("null", "429", "500", "drop", "garbage", "emptypage")


@pytest.fixture(scope="module")
def two_weeks_of_three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two_weeks")
    with AlpacaLoopback(BARS) as loopback:
        for first, last in ((DATES[0], DATES[4]), (DATES[10], DATES[14])):
            assert ingested(root, loopback, symbols=SYMBOLS, first=first, last=last).ok
    return root


@tries_more
@pytest.mark.parametrize(
    ("kinds", "seed"), [*((("null",), seed) for seed in ((0, 1, 4, 5) if ALL else (0,))), (MIXED, 13)], ids=str
)
def test_days_withheld_without_an_error_are_named_exactly_and_healed(
    tmp_path: Path, two_weeks_of_three: Path, kinds: tuple[str, ...], seed: int
) -> None:
    """Two empty responses are accepted: only the neighbouring sessions make them suspect."""
    root = Path(shutil.copytree(two_weeks_of_three, tmp_path / "store"))
    with AlpacaLoopback(BARS, page_size=PAGE, fault=ProviderFaults(*kinds, seed=seed)) as loopback:
        assert ingested(root, loopback, symbols=SYMBOLS, first=DATES[5], last=DATES[9]).ok
        loopback.fault, loopback.page_size = None, 10_000
        lacking = set(wrongly_stored(root, BARS, DAYS))
        with alpaca_pipeline(root, loopback.url, symbols=SYMBOLS, last=DATES[-1]) as made:
            named = {str(day.symbol_day) for day in made.coverage().days() if str(day.verdict) != "complete"}
            healed = made.ingest(retry_suspect=True)
            assert made.coverage().ok

    assert lacking
    assert named == lacking
    assert {str(day) for day in healed.outcomes} == lacking
    assert wrongly_stored(root, BARS, DAYS) == []


def test_silence_about_everything_stores_nothing(tmp_path: Path) -> None:
    with AlpacaLoopback(BARS, fault=ProviderFaults("null", share=1.0)) as loopback:
        loopback.official_fault = loopback.fault
        report = ingested(tmp_path, loopback, symbols=SYMBOLS)

    assert report.count(Outcome.EMPTY) == report.planned
    assert contents(tmp_path) == {}


def test_one_empty_response_for_every_page_withholds_nothing(tmp_path: Path) -> None:
    asked: set[str] = set()

    def fault(_: int, query: Mapping[str, str]) -> Response | None:
        name = repr(sorted(query.items()))
        known = name in asked
        asked.add(name)
        return None if known else Response(body=b'{"bars":null,"next_page_token":null}')

    with AlpacaLoopback(BARS, page_size=PAGE, fault=fault) as loopback:
        report = ingested(tmp_path, loopback, symbols=SYMBOLS)

    assert report.requests - len(loopback.official) == 2 * len(asked) > 2
    assert wrongly_stored(tmp_path, BARS, all_days(SYMBOLS)) == []
