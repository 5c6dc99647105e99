"""Pages as providers send them: cut in the middle of a day, out of order, with repeats, strangers and bad bars."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.reports import IngestionReport
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import MalformedResponseError, ProviderUnavailableError
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.shared_kernel.events import BarsExhausted, BarsFetched
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.testing import bar
from tests.support.builders import day
from tests.support.examples import examples
from tests.support.pipeline_ring import (
    THURSDAY,
    TUESDAY,
    WEDNESDAY,
    config,
    minutes,
    pipeline,
    quarantined_rows,
    stored_rows,
)
from tests.support.scripted_provider import Page, Row, ScriptedProvider

SATURDAY = "2024-01-06"


def of(symbol: str, *rows: Row) -> list[tuple[str, Row]]:
    return [(symbol, row) for row in rows]


def played(
    root: Path, *pages: Page | Exception, symbols: Sequence[str] = ("AAPL",), end: str = TUESDAY
) -> tuple[IngestionReport, int]:
    """Return the report, and how many bars were not requested."""
    exhausted: list[BarsExhausted] = []
    with pipeline(config(root, symbols, TUESDAY, end), ScriptedProvider(script={1: pages})) as made:
        made.subscribe(BarsExhausted, exhausted.append)
        report = made.ingest()
    return report, sum(event.unrequested for event in exhausted)


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_day_whose_bars_come_in_two_pages_is_one_day(tmp_path: Path, cut: int) -> None:
    rows = minutes(TUESDAY, 6)
    fetched: list[BarsFetched] = []
    provider = ScriptedProvider(script={1: [of("AAPL", *rows[:cut]), of("AAPL", *rows[cut:])]})

    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, TUESDAY), provider) as made:
        made.subscribe(BarsFetched, fetched.append)
        report = made.ingest()

    assert stored_rows(tmp_path, "AAPL", TUESDAY) == rows
    assert report.outcomes[day("AAPL", TUESDAY)].rows == 6
    assert [event.bars.num_rows for event in fetched] == [6]


def test_an_empty_page_in_the_middle_is_not_the_end(tmp_path: Path) -> None:
    rows = minutes(TUESDAY, 4)

    report, _ = played(tmp_path, of("AAPL", *rows[:2]), [], of("AAPL", *rows[2:]), [])

    assert stored_rows(tmp_path, "AAPL", TUESDAY) == rows
    assert (report.ok, report.bars) == (True, 4)


def test_bars_out_of_order_within_a_day_are_stored_in_order(tmp_path: Path) -> None:
    rows = minutes(TUESDAY, 5)

    report, _ = played(tmp_path, of("AAPL", rows[3], rows[0]), of("AAPL", rows[4], rows[2], rows[1]))

    assert stored_rows(tmp_path, "AAPL", TUESDAY) == rows
    assert (report.ok, report.rejected) == (True, 0)
    assert report.warnings["in_order"] == 3


def test_a_bar_that_is_sent_twice_is_stored_once_as_it_was_sent_last(tmp_path: Path) -> None:
    rows = minutes(TUESDAY, 3)
    corrected = {**rows[1], "close": rows[1]["close"] + 0.125}

    report, _ = played(tmp_path, of("AAPL", *rows[:2]), of("AAPL", corrected, rows[2]))

    assert stored_rows(tmp_path, "AAPL", TUESDAY) == [rows[0], corrected, rows[2]]
    assert [row["close"] for row in quarantined_rows(tmp_path, "AAPL", TUESDAY)] == [rows[1]["close"]]
    assert (report.bars, report.rejected) == (3, 1)


def test_days_and_symbols_out_of_order_across_pages_lose_nothing(tmp_path: Path) -> None:
    tuesday, wednesday, other = minutes(TUESDAY, 4), minutes(WEDNESDAY, 4), minutes(TUESDAY, 2, price=7.0)

    report, _ = played(
        tmp_path,
        [*of("MSFT", *other), *of("AAPL", *wednesday[2:])],
        of("AAPL", *tuesday[:2], *wednesday[:2]),
        of("AAPL", *tuesday[2:]),
        symbols=("AAPL", "MSFT"),
        end=WEDNESDAY,
    )

    assert stored_rows(tmp_path, "AAPL", TUESDAY) == tuesday
    assert stored_rows(tmp_path, "AAPL", WEDNESDAY) == wednesday
    assert stored_rows(tmp_path, "MSFT", TUESDAY) == other
    assert {str(found): result.rows for found, result in report.outcomes.items()} == {
        f"AAPL {TUESDAY}": 4,
        f"AAPL {WEDNESDAY}": 4,
        f"MSFT {TUESDAY}": 2,
        f"MSFT {WEDNESDAY}": 0,
    }


@examples(12)
@given(data=st.data())
def test_however_the_pages_are_cut_every_bar_arrives_once(data: st.DataObject) -> None:
    bars = [(symbol, date) for symbol in ("AAPL", "MSFT") for date in (TUESDAY, WEDNESDAY)]
    stream = [(symbol, row) for symbol, date in bars for row in minutes(date, 4)]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1))))
    pages = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    with tempfile.TemporaryDirectory() as folder:
        report, unrequested = played(Path(folder), *pages, symbols=("AAPL", "MSFT"), end=WEDNESDAY)

        assert (report.ok, report.bars, report.rejected, unrequested) == (True, 16, 0, 0)
        for symbol, date in bars:
            assert stored_rows(Path(folder), symbol, date) == minutes(date, 4)


def test_bars_of_dates_that_were_not_requested_are_dropped_and_counted(tmp_path: Path) -> None:
    rows, later = minutes(TUESDAY, 3), minutes(WEDNESDAY, 2)

    report, unrequested = played(tmp_path, of("AAPL", *rows, later[0]), of("AAPL", later[1]))

    assert unrequested == 2
    assert stored_rows(tmp_path, "AAPL", WEDNESDAY) == []
    assert (report.ok, report.planned, list(report.outcomes)) == (True, 1, [day("AAPL", TUESDAY)])


def test_bars_of_symbols_that_were_not_requested_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = minutes(TUESDAY, 3)

    report, unrequested = played(tmp_path, [*of("AAPL", *rows), *of("MSFT", *minutes(TUESDAY, 2))])

    assert unrequested == 2
    assert stored_rows(tmp_path, "MSFT", TUESDAY) == []
    assert (report.ok, list(report.outcomes)) == (True, [day("AAPL", TUESDAY)])


def test_strangers_do_not_stand_in_for_what_was_asked_for(tmp_path: Path) -> None:
    """AAPL never answers; what came for MSFT must not make the job complete."""
    report, _ = played(tmp_path, of("MSFT", *minutes(TUESDAY, 2)), ProviderUnavailableError("503"))

    assert report.state == "failed"
    assert report.failures == {day("AAPL", TUESDAY): "503"}


def test_bars_of_a_day_without_a_session_go_to_quarantine(tmp_path: Path) -> None:
    monday = "2024-01-08"
    pages = of("AAPL", *minutes("2024-01-05", 2), *minutes(SATURDAY, 3), *minutes(monday, 2))
    provider = ScriptedProvider(script={1: [pages]})

    with pipeline(config(tmp_path, ["AAPL"], "2024-01-05", monday), provider) as made:
        report = made.ingest()

    assert stored_rows(tmp_path, "AAPL", SATURDAY) == []
    assert [row["rule"] for row in quarantined_rows(tmp_path, "AAPL", SATURDAY)] == ["on_trading_date"] * 3
    assert (report.ok, report.planned, report.bars) == (True, 2, 4)
    assert day("AAPL", SATURDAY) not in report.outcomes
    assert (report.rejected, report.rejected_without_session) == (3, 3)


def test_bad_bars_go_to_quarantine_and_their_neighbours_stay(tmp_path: Path) -> None:
    rows = minutes(TUESDAY, 6)
    rows[1] = bar(f"{TUESDAY}T14:31:00Z", high=50.0)
    rows[4] = bar(f"{TUESDAY}T14:34:00Z", close=-1.0, low=-2.0)

    report, _ = played(tmp_path, of("AAPL", *rows))

    assert stored_rows(tmp_path, "AAPL", TUESDAY) == [rows[0], rows[2], rows[3], rows[5]]
    bad = quarantined_rows(tmp_path, "AAPL", TUESDAY)
    assert [(row["timestamp"], row["rule"]) for row in bad] == [
        (rows[1]["timestamp"], "high_is_highest"),
        (rows[4]["timestamp"], "schema"),
    ]
    assert (report.ok, report.bars, report.rejected) == (True, 4, 2)


def test_a_day_with_nothing_but_bad_bars_is_not_asked_for_again(tmp_path: Path) -> None:
    provider = ScriptedProvider({"AAPL": {TUESDAY: [bar(f"{TUESDAY}T14:30:00Z", low=500.0)]}})
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, TUESDAY), provider) as made:
        report = made.ingest()
        again = made.ingest()

    found = report.outcomes[day("AAPL", TUESDAY)]
    assert (found.outcome, found.rows, found.rejected) == (Outcome.COMPLETE, 0, 1)
    assert stored_rows(tmp_path, "AAPL", TUESDAY) == []
    assert (len(provider.requests), again.already_settled) == (1, 1)


def test_an_error_between_pages_keeps_the_whole_days_and_the_rest_is_asked_for_day_by_day(tmp_path: Path) -> None:
    days = {date: minutes(date, 4) for date in (TUESDAY, WEDNESDAY, THURSDAY)}
    first_page, half = of("AAPL", *days[TUESDAY], *days[WEDNESDAY][:2]), MalformedResponseError("half a body")
    provider = ScriptedProvider({"AAPL": days}, script={1: [first_page, half]}, errors={2: half})

    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, THURSDAY), provider) as made:
        report = made.ingest()
        assert stored_rows(tmp_path, "AAPL", WEDNESDAY) == []
        again = made.ingest()

    assert report.failures == {day("AAPL", WEDNESDAY): "half a body"}
    asked = [[str(asked.trading_date) for asked in request.sessions] for request in provider.requests]
    assert asked == [[TUESDAY, WEDNESDAY, THURSDAY], [WEDNESDAY], [THURSDAY], [WEDNESDAY]]
    assert again.ok
    assert {date: stored_rows(tmp_path, "AAPL", date) for date in days} == days


BY_TIME = [
    [*of("AAPL", *minutes(TUESDAY, 2)), *of("MSFT", *minutes(TUESDAY, 2))],
    [*of("AAPL", *minutes(TUESDAY, 4)[2:]), *of("MSFT", *minutes(TUESDAY, 4)[2:])],
    [*of("AAPL", *minutes(WEDNESDAY, 4)), *of("MSFT", *minutes(WEDNESDAY, 4))],
]


@pytest.mark.parametrize("failing", [1, 2])
def test_half_a_day_is_not_complete_if_pages_by_time_break_off(tmp_path: Path, failing: int) -> None:
    provider = ScriptedProvider(
        {symbol: {date: minutes(date, 4) for date in (TUESDAY, WEDNESDAY)} for symbol in ("AAPL", "MSFT")},
        script={1: [*BY_TIME[:failing], ProviderUnavailableError("503")]},
    )
    asked = config(tmp_path, ["AAPL", "MSFT"], TUESDAY, WEDNESDAY)
    with pipeline(asked, provider) as store:
        report = store.ingest()

    assert report.ok  # the parts of the failed request were answered
    for symbol, date in product(("AAPL", "MSFT"), (TUESDAY, WEDNESDAY)):
        assert stored_rows(tmp_path, symbol, date) == minutes(date, 4)


def test_pages_by_time_over_all_symbols_are_stored_when_they_have_ended(tmp_path: Path) -> None:
    report, unrequested = played(tmp_path, *BY_TIME, symbols=("AAPL", "MSFT"), end=WEDNESDAY)

    assert (report.ok, report.bars, unrequested) == (True, 16, 0)
    for symbol, date in product(("AAPL", "MSFT"), (TUESDAY, WEDNESDAY)):
        assert stored_rows(tmp_path, symbol, date) == minutes(date, 4)


@pytest.mark.parametrize(
    "answer",
    [of("MSFT", *minutes(TUESDAY, 4)), of("AAPL", *minutes("2023-12-29", 4)), of("AAPL", *minutes(THURSDAY, 4))],
    ids=["another symbol", "an earlier date", "a later date"],
)
def test_an_answer_of_any_provider_to_another_question_is_not_empty(tmp_path: Path, answer: Any) -> None:
    provider = ScriptedProvider(script={number: [answer] for number in range(1, 9)})
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, WEDNESDAY), provider) as store:
        report = store.ingest()
        assert {str(found.finding.verdict) for found in store.coverage().days()} == {"missing"}

    assert (report.state, len(report.failures)) == ("failed", 2)
    assert all("of other symbols or dates than requested" in reason for reason in report.failures.values())
    assert not list((tmp_path / "data").rglob("*.parquet"))


def test_fractional_volumes_are_stored_as_they_come(tmp_path: Path) -> None:
    """What a volume counts is a matter of provider and feed: whole shares at one, fractional ones at another."""
    rows = [{**row, "volume": volume} for row, volume in zip(minutes(TUESDAY, 2), (24306145.14, 0.5), strict=True)]
    played(tmp_path, of("AAPL", *rows))
    assert [row["volume"] for row in stored_rows(tmp_path, "AAPL", TUESDAY)] == [24306145.14, 0.5]


class _Retyped(ScriptedProvider):
    """Sends four bars of Tuesday, with one column of another type."""

    def __init__(self, name: str, values: pa.Array) -> None:
        super().__init__()
        self._name, self._values = name, values

    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        table = pa.Table.from_pylist(minutes(TUESDAY, 4), schema=BAR_SCHEMA)
        table = table.set_column(table.schema.get_field_index(self._name), self._name, self._values)
        yield RawMarketData(table, (SymbolRun(request.symbols[0], 4),))


HALF_PAST_TWO = 1_704_205_800_000_000_000
"""In nanoseconds: Tuesday, 14:30 UTC."""


def nanoseconds(beyond: int) -> pa.Array:
    moments = [HALF_PAST_TWO + 60_000_000_000 * minute + beyond for minute in range(4)]
    return pa.array(moments, pa.int64()).cast(pa.timestamp("ns", "UTC"))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("timestamp", nanoseconds(0)),
        ("volume", pa.array([1000] * 4, pa.int64())),
        ("trade_count", pa.array([10] * 4, pa.int32())),
    ],
)
def test_columns_of_another_type_are_stored_in_the_canonical_one(tmp_path: Path, name: str, values: pa.Array) -> None:
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, TUESDAY), _Retyped(name, values)) as made:
        assert made.ingest().ok
    rows = stored_rows(tmp_path, "AAPL", TUESDAY)
    assert [row["timestamp"] for row in rows] == [row["timestamp"] for row in minutes(TUESDAY, 4)]
    assert {type(row["volume"]) for row in rows} == {float}


@pytest.mark.parametrize(
    ("name", "values"), [("timestamp", nanoseconds(1)), ("volume", pa.array([2**53 + 1] * 4, pa.int64()))]
)
def test_columns_that_the_canonical_type_would_change_are_refused(tmp_path: Path, name: str, values: pa.Array) -> None:
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, TUESDAY), _Retyped(name, values)) as made:
        report = made.ingest()
    assert report.state == "failed"
    assert [f"the column {name} of the page" in reason for reason in report.failures.values()] == [True]
    assert stored_rows(tmp_path, "AAPL", TUESDAY) == []


def test_a_providers_own_reason_is_stored_and_shown_without_control_characters(tmp_path: Path) -> None:
    provider = ScriptedProvider(refused={"AAPL": "no \x1b[2J\u202e"})
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, TUESDAY), provider) as made:
        (reason,) = made.ingest().failures.values()
        (found,) = made.coverage().days()
    assert (reason, found.finding.detail) == (r"no \x1b[2J\u202e", r"no \x1b[2J\u202e")
