from __future__ import annotations

from attrs import evolve

from marketpipe.ingestion.domain.batch_packing import PackingLimits
from marketpipe.ingestion.domain.ingestion_plan import TypicalVolume, TypicalVolumes, estimate
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.testing import bars_request

LIMITS = PackingLimits(1000, 200)
NOTHING = TypicalVolumes({}, None)
KNOWN = TypicalVolumes(
    {Symbol("AAPL"): TypicalVolume(800.0, 20.0, 10), Symbol("THIN"): TypicalVolume(5.0, 100.0, 30)},
    TypicalVolume(203.75, 22.0, 40),
)


def test_an_empty_plan_costs_nothing() -> None:
    found = estimate((), KNOWN, LIMITS)

    assert (found.symbol_days, found.bars, found.requests, found.size_bytes, found.known_days) == (0, 0, 0, 0, 0)


def test_an_estimate_without_stored_days_is_a_guess_of_zero_known_days() -> None:
    found = estimate([bars_request(["AAPL"], "2024-01-02", "2024-01-05")], NOTHING, LIMITS)

    assert (found.symbol_days, found.bars, found.requests, found.known_days) == (4, 4 * 390, 2, 0)


def test_each_symbol_is_estimated_by_its_own_days_and_a_new_one_by_all_of_them() -> None:
    batch = bars_request(["AAPL", "NEW", "THIN"], "2024-01-02", "2024-01-03")

    found = estimate([batch], KNOWN, LIMITS)

    assert found.bars == round(2 * (800 + 203.75 + 5))
    assert found.known_days == 40
    assert found.requests == 3
    assert found.size_bytes == round(2 * (800 * 20 + 203.75 * 22 + 5 * 100))


def test_known_days_are_those_of_the_planned_symbols_if_all_of_them_are_stored() -> None:
    batch = bars_request(["AAPL"], "2024-01-02", "2024-01-03")

    assert estimate([batch, evolve(batch, batch_id=2)], KNOWN, LIMITS).known_days == 10


def test_every_batch_costs_a_request() -> None:
    batches = [bars_request(["THIN"], "2024-01-02", "2024-01-02", batch_id=number) for number in range(7)]

    assert estimate(batches, KNOWN, LIMITS).requests == 7


def test_hours_around_the_regular_session_bring_few_bars() -> None:
    batch = bars_request(["AAPL"], "2024-01-02", "2024-01-02")
    overnight = evolve(batch, sessions=tuple(evolve(asked, window=asked.session.late) for asked in batch.sessions))

    assert 0 < estimate([overnight], KNOWN, LIMITS).bars < estimate([batch], KNOWN, LIMITS).bars / 5


def test_the_rate_limit_makes_requests_last() -> None:
    found = estimate([bars_request(["AAPL"], "2024-01-02", "2024-01-31")], KNOWN, LIMITS)

    assert found.minutes_at(200) == found.requests / 200
    assert found.minutes_at(None) is None
