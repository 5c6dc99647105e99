from __future__ import annotations

import pytest

from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.shared_kernel.events import RuleFinding
from marketpipe.testing import bar
from tests.support.builders import columnar, day
from tests.support.validating import Setting, column, validated

EXTENDED, REGULAR = SessionKind.EXTENDED, SessionKind.REGULAR
CASES = [
    # winter: New York is five hours behind UTC, and its evening is the next day there
    ("2024-01-02", EXTENDED, "2024-01-02T08:59:00Z", False),
    ("2024-01-02", EXTENDED, "2024-01-02T09:00:00Z", True),
    ("2024-01-02", EXTENDED, "2024-01-03T00:59:00Z", True),
    ("2024-01-02", EXTENDED, "2024-01-03T01:00:00Z", False),
    ("2024-01-02", REGULAR, "2024-01-02T14:29:00Z", False),
    ("2024-01-02", REGULAR, "2024-01-02T14:30:00Z", True),
    ("2024-01-02", REGULAR, "2024-01-02T20:59:00Z", True),
    ("2024-01-02", REGULAR, "2024-01-02T21:00:00Z", False),
    # summer: four hours behind
    ("2024-07-02", EXTENDED, "2024-07-02T07:59:00Z", False),
    ("2024-07-02", EXTENDED, "2024-07-02T08:00:00Z", True),
    ("2024-07-02", EXTENDED, "2024-07-02T23:59:00Z", True),
    ("2024-07-02", EXTENDED, "2024-07-03T00:00:00Z", False),
    # the Friday before and the Monday after the clocks change
    ("2024-03-08", REGULAR, "2024-03-08T14:29:00Z", False),
    ("2024-03-08", REGULAR, "2024-03-08T14:30:00Z", True),
    ("2024-03-11", REGULAR, "2024-03-11T13:29:00Z", False),
    ("2024-03-11", REGULAR, "2024-03-11T13:30:00Z", True),
    # half days: the regular session ends at 13:00, the extended one at 17:00
    ("2024-07-03", REGULAR, "2024-07-03T16:59:00Z", True),
    ("2024-07-03", REGULAR, "2024-07-03T17:00:00Z", False),
    ("2024-07-03", EXTENDED, "2024-07-03T17:00:00Z", True),
    ("2024-07-03", EXTENDED, "2024-07-03T20:59:00Z", True),
    ("2024-07-03", EXTENDED, "2024-07-03T21:00:00Z", False),
    ("2019-12-24", EXTENDED, "2019-12-24T21:59:00Z", True),
    ("2019-12-24", EXTENDED, "2019-12-24T23:00:00Z", False),
    # a bar of another trading date does not belong to this one's session
    ("2024-01-03", EXTENDED, "2024-01-02T15:00:00Z", False),
]


@pytest.mark.parametrize(("trading_date", "kind", "moment", "inside"), CASES)
def test_a_bar_must_be_within_the_hours_of_its_session(
    trading_date: str, kind: SessionKind, moment: str, inside: bool
) -> None:
    result = validated(columnar((day("AAPL", trading_date), [bar(moment)])), Setting(kind=kind))
    assert column(result.rejected, "rule") == ([] if inside else ["within_session"])
    assert result.accepted.num_rows == int(inside)


@pytest.mark.parametrize(
    ("closing_auction", "moment", "inside"),
    [
        (0, "2024-01-02T20:59:00Z", True),
        (0, "2024-01-02T21:00:00Z", True),
        (0, "2024-01-02T21:01:00Z", False),
        (0, "2024-01-02T14:29:00Z", False),
        (0, "2024-07-03T17:00:00Z", True),
        (0, "2024-07-03T17:01:00Z", False),
        (5, "2024-01-02T21:05:00Z", True),
        (5, "2024-01-02T21:06:00Z", False),
    ],
)
def test_the_minute_of_the_closing_auction_belongs_to_a_regular_session(
    closing_auction: int, moment: str, inside: bool
) -> None:
    setting = Setting(kind=REGULAR, closing_auction=closing_auction)

    result = validated(columnar((day("AAPL", moment[:10]), [bar(moment)])), setting)

    assert column(result.rejected, "rule") == ([] if inside else ["within_session"])


@pytest.mark.parametrize("trading_date", ["2024-07-04", "2024-07-06", "2024-07-07", "2018-12-05"])
@pytest.mark.parametrize("kind", SessionKind)
def test_a_day_on_which_the_exchange_was_closed_has_no_bars(trading_date: str, kind: SessionKind) -> None:
    closed, open_day = day("AAPL", trading_date), day("AAPL", "2024-07-05")
    good, bad = bar("2024-07-05T15:00:00Z"), bar(f"{trading_date}T15:00:00Z")
    result = validated(columnar((open_day, [good]), (closed, [bad])), Setting(kind=kind))
    assert column(result.rejected, "rule") == ["on_trading_date"]
    assert column(result.rejected, "reason") == ["the bar is on a day on which the exchange was closed"]
    assert result.findings == (RuleFinding(closed, "on_trading_date", Severity.ERROR, 1),)
    assert [(part.symbol_day, part.length) for part in result.accepted.slices] == [(open_day, 1), (closed, 0)]


def test_each_symbol_day_of_a_chunk_is_compared_with_its_own_session() -> None:
    """Also if the days are not in order and there are empty ones between them."""
    half_day, full_day, winter = "2024-07-03", "2024-07-02", "2024-01-02"
    result = validated(
        columnar(
            (day("AAPL", half_day), [bar("2024-07-03T17:00:00Z")]),
            (day("AAPL", "2024-07-04"), []),
            (day("BRK.B", full_day), [bar("2024-07-02T17:00:00Z"), bar("2024-07-02T20:00:00Z")]),
            (day("MSFT", winter), [bar("2024-01-02T20:00:00Z"), bar("2024-01-02T13:30:00Z")]),
        ),
        Setting(kind=REGULAR),
    )
    assert [part.length for part in result.accepted.slices] == [0, 0, 1, 1]
    assert column(result.rejected, "rule") == ["within_session"] * 3


@pytest.mark.parametrize(("now", "kept"), [("15:00:00", 1), ("15:00:59.999999", 1), ("15:01:00", 2), ("16:00:00", 2)])
def test_a_bar_that_has_not_begun_yet_is_in_the_future(now: str, kept: int) -> None:
    rows = [bar("2024-01-02T15:00:00Z"), bar("2024-01-02T15:01:00Z")]
    setting = Setting(now=Timestamp.parse(f"2024-01-02T{now}Z"))
    result = validated(columnar((day("AAPL", "2024-01-02"), rows)), setting)
    assert result.accepted.num_rows == kept
    assert column(result.rejected, "rule") == ["not_in_future"] * (2 - kept)


@pytest.mark.parametrize("moment", ["15:00:00.000001", "15:00:01", "15:00:30", "15:00:59.999999"])
def test_a_bar_that_does_not_start_on_a_full_minute_is_rejected(moment: str) -> None:
    rows = [bar("2024-01-02T15:00:00Z"), bar(f"2024-01-02T{moment}Z")]
    result = validated(columnar((day("AAPL", "2024-01-02"), rows)))
    assert column(result.rejected, "rule") == ["timestamp_on_grid"]
    assert result.accepted.num_rows == 1


def test_a_bar_without_a_timestamp_is_rejected_and_costs_no_other() -> None:
    rows = [bar("2024-01-02T15:00:00Z"), {**bar("2024-01-02T15:01:00Z"), "timestamp": None}]
    result = validated(columnar((day("AAPL", "2024-01-02"), rows)))
    assert column(result.rejected, "reason") == ["timestamp: None is not of type 'string'"]
    assert column(result.rejected, "timestamp") == [None]
    assert result.accepted.num_rows == 1
