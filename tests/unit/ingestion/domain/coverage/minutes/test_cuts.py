"""Cuts where some sessions close early, and where a symbol trades too thinly beside them."""

from __future__ import annotations

from marketpipe.ingestion.domain.coverage.minutes.cuts import cuts

HALF, FULL_DAY = 210, 390


def until(minute: int) -> int:
    return (1 << minute) - 1


def test_minutes_that_only_two_sessions_have_are_no_cut() -> None:
    lengths = [HALF, HALF, HALF, FULL_DAY, FULL_DAY]
    assert cuts([until(HALF)] * 5, lengths) == {}
    assert set(cuts([until(HALF)] * 5, [FULL_DAY] * 5)) == {0, 1, 2, 3, 4}
