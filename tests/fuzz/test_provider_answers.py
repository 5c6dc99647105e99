"""The store is consistent after the whole pipeline, even if a provider's answers are only almost in Alpaca's format."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from marketpipe import ConfigurationError, MarketPipeError, Pipeline
from marketpipe.integration.infrastructure.retry import RetryPolicy
from marketpipe.testing import FakeClock
from tests.support.alpaca_loopback import record
from tests.support.clients import scripted_alpaca
from tests.support.in_process_cli import within
from tests.support.nasty import NO_SYMBOLS, ODD_SYMBOLS, damaged, damages, fuzzed
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, config
from tests.support.scripted_transport import Answer

pytestmark = pytest.mark.slow
SYMBOLS = ["AAPL", "CON"]
FOLDERS = {"data", "quarantine", "aggregates", "state", "revisions"}
PAGE: dict[str, Any] = {
    "bars": {
        symbol: [record(f"{day}T15:{minute:02d}:00Z") for day in (TUESDAY, WEDNESDAY) for minute in range(3)]
        for symbol in SYMBOLS
    },
    "next_page_token": None,
}
NUMBERS = [0, -1, 0.0, -0.0, 1e308, -1e308, 5e-324, 2**53 + 1, 2**63, -(2**63), 10**30, float("nan"), float("inf")]
VALUES = st.sampled_from([*NUMBERS, None, True, "", "1", [], {}, [[]], "\ud800", "NaN", "100.0", *NO_SYMBOLS[:8]])
MOMENTS = st.sampled_from(
    [
        f"{TUESDAY}T15:00:00Z",
        f"{WEDNESDAY}T15:02:00Z",
        f"{TUESDAY}T15:00:30Z",
        f"{TUESDAY}T03:00:00Z",
        "2024-01-06T15:00:00Z",
        f"{TUESDAY}T15:00:00.000000001Z",
        f"{TUESDAY}T10:00:00-05:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2034-01-02T15:00:00Z",
        f"{TUESDAY}",
        "x",
    ]
)
TOKENS = st.sampled_from(["a", "", "a&feed=sip", "\ud800", "x" * 70_000, 7, [], "\n"])
NAMES = st.sampled_from([*NO_SYMBOLS, *ODD_SYMBOLS, "TSLA"])


@st.composite
def pages(draw: st.DrawFn) -> bytes:
    """Draw a valid page with a few changes; sometimes its text is damaged."""
    page = copy.deepcopy(PAGE)
    groups = dict(page["bars"])
    for _ in range(draw(st.integers(1, 4))):
        _otherwise(draw, page, groups[draw(st.sampled_from(SYMBOLS))])
    body = json.dumps(page).encode()
    return body if draw(st.integers(0, 3)) else damaged(body, draw(damages))


def _otherwise(draw: st.DrawFn, page: dict[str, Any], records: list[dict[str, Any]]) -> None:
    match draw(
        st.sampled_from(["field", "field", "moment", "double", "order", "lost", "name", "token", "key", "shape"])
    ):
        case "field" if records:
            draw(st.sampled_from(records))[draw(st.sampled_from("tohlcvn") | st.just("vw"))] = draw(VALUES)
        case "moment" if records:
            draw(st.sampled_from(records))["t"] = draw(MOMENTS)
        case "double" if records:
            records.append(dict(draw(st.sampled_from(records)), c=draw(st.sampled_from([100.5, 99.5, -1]))))
        case "order" if records:
            records.reverse()
        case "lost" if records:
            records.pop()
        case "name" if isinstance(page["bars"], dict):
            page["bars"][draw(NAMES)] = records
        case "token":
            page["next_page_token"] = draw(TOKENS)
        case "key":
            page[draw(st.sampled_from(["message", "code", "bars", "x"]))] = draw(VALUES)
        case "shape" if isinstance(page["bars"], dict):
            page["bars"][draw(st.sampled_from(SYMBOLS))] = draw(VALUES)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("answers") / "store"


def opened(root: Path, answers: list[bytes], status: int) -> Pipeline:
    scripted = [*(Answer(status, body) for body in answers), Answer(body={})]
    setting, _ = scripted_alpaca(*scripted, retry=RetryPolicy(2))
    settings = config(root, SYMBOLS, TUESDAY, WEDNESDAY, provider="alpaca", timeframes=["1d"], workers=1)
    return Pipeline(settings, registry=CollectorRegistry(), market_data_provider=setting.client, clock=FakeClock())


def _check(store: Pipeline, root: Path) -> None:
    """Validate and verify the store; if no answer could be stored, that nothing was checked is an error."""
    if any((root / "data").rglob("*.parquet")):
        assert store.validate().ok
        assert store.verify().ok
    else:
        for check in (store.validate, store.verify):
            with pytest.raises(ConfigurationError, match=r"^nothing was (validated|verified): "):
                check()


@fuzzed(25)
@given(answers=st.lists(pages(), min_size=1, max_size=3), status=st.sampled_from([200, 200, 200, 200, 422, 500]))
def test_the_store_is_consistent_after_any_answer(root: Path, answers: list[bytes], status: int) -> None:
    shutil.rmtree(root, ignore_errors=True)
    with within(60), opened(root, answers, status) as store:
        try:
            report = store.ingest()
        except MarketPipeError as error:
            str(error).encode("utf-8")
        else:
            assert len(report.outcomes) == report.planned
            json.dumps({str(day): reason for day, reason in report.failures.items()}).encode("utf-8")
        _check(store, root)
    assert {path.name for path in root.parent.iterdir()} <= {"store"}
    assert {path.name for path in root.iterdir()} <= FOLDERS
    assert {path.name for path in root.glob("*/symbol=*")} <= {f"symbol={symbol}" for symbol in SYMBOLS}
