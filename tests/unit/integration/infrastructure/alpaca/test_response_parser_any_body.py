"""Any body becomes a valid page or raises ``ProviderError``; nothing else can happen."""

from __future__ import annotations

import json
import math
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.infrastructure.alpaca.response_parser import ResponseParser
from marketpipe.integration.infrastructure.retry import RetryPolicy
from marketpipe.integration.infrastructure.whole_day_assembler import WholeDayAssembler
from marketpipe.shared_kernel.domain.errors import MalformedResponseError, ProviderError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, ArrowBars
from marketpipe.testing import bars_request, page_rows
from tests.support.alpaca_loopback import record
from tests.support.clients import scripted_alpaca
from tests.support.examples import examples
from tests.support.scripted_transport import Answer

LONG = "<5,000 digits>"
"""Stands for an integer that Python does not write but a provider may."""
ASKED = bars_request(("AAPL", "MSFT"), "2024-03-11", "2024-03-12")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.sampled_from([2**63, 10**310, -(10**310), LONG])
    | st.floats()
    | st.text(max_size=6)
    | st.characters(categories=["Cs"])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
MOMENTS = st.sampled_from(
    [
        "2024-03-11T13:30:00Z",
        "2024-03-12T13:30:00Z",
        "2024-03-12T00:30:00.123456789Z",
        "2024-03-20T13:30:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2024-03-11T13:30:00",
    ]
)
GOOD_BARS = st.builds(record, st.sampled_from(["2024-03-11T13:30:00Z", "2024-03-12T13:30:00Z"]), st.floats(0.01, 1e6))
BARS = GOOD_BARS | st.fixed_dictionaries(
    {},
    optional={"t": MOMENTS | ANYTHING, **dict.fromkeys(("o", "h", "l", "c", "v", "n", "vw", "zz"), SCALARS | ANYTHING)},
)
GROUPS = st.lists(BARS | ANYTHING, max_size=4) | ANYTHING
NAMES = st.sampled_from(["AAPL", "MSFT", "TSLA", "", "aapl"])
TOKENS = st.none() | st.sampled_from(["b", "", "\ud800", "x" * 70_000, "\x00", "&feed=sip"]) | ANYTHING
PAGES = ANYTHING | st.fixed_dictionaries(
    {},
    optional={
        "bars": st.dictionaries(NAMES, GROUPS, max_size=3) | GROUPS,
        "next_page_token": TOKENS,
        "message": st.text(max_size=5) | ANYTHING,
        "zz": ANYTHING,
    },
)


def _written(page: object) -> bytes:
    return json.dumps(page).replace(f'"{LONG}"', "9" * 5000).encode()


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Mostly pages as JSON; some of them cut short or with a byte changed."""
    body = _written(draw(PAGES))
    damage = draw(st.sampled_from(["none", "none", "none", "cut", "byte"]))
    position = draw(st.integers(0, len(body)))
    if damage == "cut":
        return body[:position]
    return body[:position] + draw(st.binary(max_size=2)) + body[position + 1 :] if damage == "byte" else body


def assert_valid(page: RawMarketData) -> None:
    table = pa.table(page.columns)
    table.validate(full=True)
    assert table.schema.names[: len(BAR_SCHEMA)] == BAR_SCHEMA.names
    assert table.select(BAR_SCHEMA.names).schema.types == BAR_SCHEMA.types
    assert set(table.schema.names) - set(BAR_SCHEMA.names) <= {"raw"}
    assert table.num_rows == page.num_rows
    assert [run.symbol for run in page.runs] == sorted({run.symbol for run in page.runs})
    assert {str(run.symbol) for run in page.runs} <= {"AAPL", "MSFT"}
    assert page.next_cursor is None or (isinstance(page.next_cursor, str) and page.next_cursor)


@examples(600)
@given(body=bodies())
def test_any_body_is_a_valid_page_or_malformed(body: bytes) -> None:
    try:
        page = ResponseParser((Symbol("AAPL"), Symbol("MSFT"))).parse(body)
    except MalformedResponseError as error:
        str(error).encode("utf-8")
        return
    assert_valid(page)


@examples(200)
@given(answers=st.lists(bodies(), min_size=1, max_size=3), status=st.sampled_from([200, 200, 200, 400, 403, 422, 500]))
def test_any_responses_end_in_complete_symbol_days_or_a_provider_error(answers: list[bytes], status: int) -> None:
    scripted = [*(Answer(status, body) for body in answers), Answer(body={})]
    setting, _ = scripted_alpaca(*scripted, retry=RetryPolicy(2))
    assembler, paged, foreign, emitted = WholeDayAssembler(ASKED), 0, 0, list[ArrowBars | None]()
    try:
        for page in setting.client.fetch_batch(ASKED):
            paged, foreign = paged + page.num_rows, foreign + page.unrequested
            emitted.append(assembler.add(page))
    except ProviderError as error:
        str(error).encode("utf-8")
        return
    finally:
        setting.client.close()
    emitted.append(assembler.close())
    whole = [bars for bars in emitted if bars is not None]
    assert sum(bars.num_rows for bars in whole) == paged - (assembler.unrequested - foreign)
    assert {part.symbol_day for bars in whole for part in bars.slices} <= set(ASKED.symbol_days)


@examples(200)
@given(good=st.lists(GOOD_BARS, min_size=1, max_size=5), bad=ANYTHING, at=st.integers(0, 5))
def test_a_bad_record_anywhere_leaves_the_good_ones_as_they_are(
    good: list[dict[str, Any]], bad: object, at: int
) -> None:
    parser = ResponseParser((Symbol("AAPL"),))
    found = page_rows(parser.parse(_written({"bars": {"AAPL": [*good[:at], bad, *good[at:]]}})))
    alone = page_rows(parser.parse(_written({"bars": {"AAPL": good}})))
    del found[min(at, len(good))]
    assert [{**row, "raw": None} for row in alone] == [{"raw": None, **row} for row in found]
    assert all(math.isfinite(row["open"]) for row in found)
