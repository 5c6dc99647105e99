from __future__ import annotations

import pytest

from marketpipe.ingestion.domain.restatement import Restatement, RestatementKind, is_split
from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from tests.support.builders import day

AAPL = day("AAPL", "2024-01-02")


@pytest.mark.parametrize(
    "ratio", [2, 3, 4, 7, 10, 20, 50, 1.5, 4 / 3, 5 / 4, 5 / 2, 1 / 2, 1 / 3, 1 / 10, 2 / 3, 1 / 100]
)
def test_ratios_of_small_whole_numbers_are_splits(ratio: float) -> None:
    assert is_split(ratio)
    assert is_split(ratio * 1.002)


@pytest.mark.parametrize("ratio", [1.0, 0.9925, 1.01, 0.9, 1.1, 1.37, 0.87, 2.13, 1 / 1.42])
def test_other_ratios_are_none(ratio: float) -> None:
    assert not is_split(ratio)


@pytest.mark.parametrize(
    ("ratio", "kind"),
    [
        (None, RestatementKind.CORRECTION),
        (1.0, RestatementKind.CORRECTION),
        (1.0003, RestatementKind.CORRECTION),
        (0.985, RestatementKind.DIVIDEND),
        (0.25, RestatementKind.SPLIT),
    ],
)
def test_a_constant_ratio_shows_what_the_provider_did(ratio: float | None, kind: RestatementKind) -> None:
    found = Restatement.of(DayComparison(AAPL, changed=390, price_ratio=ratio))

    assert found.kind is kind
    assert found.is_adjustment == (kind is not RestatementKind.CORRECTION)
    assert found.ratio == (ratio if found.is_adjustment else None)
