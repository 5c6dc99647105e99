from __future__ import annotations

from marketpipe.metrics import RunTotals, series


def test_what_is_taken_begins_at_nothing_again() -> None:
    totals = RunTotals()
    totals.add(series.ERRORS, ("timeout",), 1)
    totals.add(series.ERRORS, ("timeout",), 2)

    assert totals.take() == {("errors_total", ("timeout",)): 3}
    assert totals.take() == {}


def test_a_latency_is_counted_in_the_bucket_of_its_own_range() -> None:
    totals = RunTotals()
    for seconds in (0.01, 0.02, 31.0):
        totals.add_latency(seconds)

    assert totals.take() == {
        ("request_latency_seconds_bucket", ("0.01",)): 1,
        ("request_latency_seconds_bucket", ("0.025",)): 1,
        ("request_latency_seconds_bucket", ("+Inf",)): 1,
        ("request_latency_seconds_sum", ()): 31.03,
    }
