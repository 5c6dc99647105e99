"""A provider that fails at half of all requests, in every way: the correct bars arrive, or missing ones are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.symbol import Outcome
from tests.support.alpaca_loopback import AlpacaLoopback
from tests.support.examples import ALL, some, tries_more
from tests.support.pipeline_ring import contents
from tests.support.provider_faults import (
    BROKEN,
    KINDS,
    STATUSES,
    ProviderFaults,
    all_days,
    hasty_pipeline,
    ingested,
    market,
    wrongly_stored,
)

BARS = market()
PAGE = 70
"""A little less than two days of bars: pages end within symbols and within days."""
HONEST = [kind for kind in KINDS if kind not in ("hang", "null")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the files of an ingestion without faults."""
    root = tmp_path_factory.mktemp("undisturbed")
    with AlpacaLoopback(BARS, page_size=PAGE) as loopback:
        assert ingested(root, loopback).ok
    return contents(root)


@pytest.mark.parametrize("kind", some(HONEST))
def test_any_kind_of_failure_at_half_of_all_requests_changes_no_byte(
    tmp_path: Path, kind: str, undisturbed: dict[str, str]
) -> None:
    faults = ProviderFaults(kind)
    with AlpacaLoopback(BARS, page_size=PAGE, fault=faults) as loopback:
        report = ingested(tmp_path, loopback)

    assert (report.ok, report.count(Outcome.COMPLETE)) == (True, len(all_days()))
    assert contents(tmp_path) == undisturbed
    assert faults.done[kind] > 3


def test_a_provider_that_hangs_at_half_of_all_requests_changes_no_byte(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    faults = ProviderFaults("hang")
    with AlpacaLoopback(BARS, page_size=PAGE, fault=faults) as loopback, hasty_pipeline(tmp_path, loopback.url) as made:
        report = made.ingest()

    assert (report.ok, contents(tmp_path)) == (True, undisturbed)
    assert faults.done["hang"] > 3


@tries_more
@pytest.mark.parametrize("seed", range(4 if ALL else 1))
def test_all_kinds_of_failure_together_at_half_of_all_requests_change_no_byte(
    tmp_path: Path, seed: int, undisturbed: dict[str, str]
) -> None:
    faults = ProviderFaults(*HONEST, seed=seed)
    with AlpacaLoopback(BARS, page_size=PAGE, fault=faults) as loopback:
        report = ingested(tmp_path, loopback, workers=4)

    assert report.ok, report.failures
    assert contents(tmp_path) == undisturbed
    assert len(faults.done) > 3  # kinds


@tries_more
@pytest.mark.parametrize("seed", range(2 if ALL else 1))
def test_failures_at_nine_of_ten_requests_end_in_correct_bars_or_in_named_days(
    tmp_path: Path, seed: int, undisturbed: dict[str, str]
) -> None:
    faults = ProviderFaults(*STATUSES, *BROKEN, share=0.9, seed=seed)
    with AlpacaLoopback(BARS, page_size=PAGE, fault=faults) as loopback:
        report = ingested(tmp_path, loopback)
        assert not wrongly_stored(tmp_path, BARS, [day for day in all_days() if day not in report.failures])
        assert set(report.failures) == {day for day in all_days() if str(day) in wrongly_stored(tmp_path, BARS, [day])}
        assert report.failures
        assert all(report.failures.values())
        loopback.fault = None
        # Days that were recorded later than now are requested again too: this run begins at the same moment.
        assert ingested(tmp_path, loopback).planned >= len(report.failures)

    assert contents(tmp_path) == undisturbed
