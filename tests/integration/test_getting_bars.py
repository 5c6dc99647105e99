"""``get``: bars that are ingested when they are asked for, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import marketpipe
from marketpipe.shared_kernel.domain.errors import ConfigurationError, IncompleteError, IncompleteWarning
from marketpipe.testing import FakeClock
from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

DATES = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"]
FIRST, LAST = DATES[0], DATES[-1]


def provider(*symbols: str) -> ScriptedProvider:
    return ScriptedProvider({symbol: {date: minutes(date, 390) for date in DATES} for symbol in symbols})


def test_the_second_call_sends_no_request_and_returns_the_same(tmp_path: Path) -> None:
    source = provider("AAPL")
    with pipeline(config(tmp_path, ["AAPL"], FIRST, FIRST, timeframes=["1d"]), source) as made:
        first = made.get("AAPL", FIRST, LAST, "1d")
        source.forget()

        assert made.get("AAPL", FIRST, LAST, "1d").equals(first)
        assert made.get("AAPL", FIRST, LAST).num_rows == 4 * 390
    assert (first.num_rows, source.requests) == (4, [])


def test_only_what_is_missing_is_requested(tmp_path: Path) -> None:
    source = provider("AAPL", "MSFT")
    with pipeline(config(tmp_path, ["AAPL"], FIRST, FIRST), source) as made:
        made.get("AAPL", FIRST, DATES[1])
        source.forget()

        assert made.get(["MSFT", "AAPL"], DATES[1], DATES[2]).num_rows == 4 * 390
    assert source.asked == [f"AAPL {DATES[2]}", f"MSFT {DATES[1]}", f"MSFT {DATES[2]}"]


def test_the_end_is_the_newest_final_session_unless_it_is_given(tmp_path: Path) -> None:
    source = provider("AAPL")
    with pipeline(config(tmp_path, ["AAPL"], FIRST, FIRST), source, FakeClock(f"{DATES[2]}T15:00:00Z")) as made:
        assert made.get("AAPL", FIRST).num_rows == 2 * 390
        source.forget()

        assert made.get("AAPL", FIRST).num_rows == 2 * 390
    assert source.asked == []


def test_all_days_of_a_week_are_ingested(tmp_path: Path) -> None:
    source = provider("AAPL")
    with pipeline(config(tmp_path, ["AAPL"], FIRST, FIRST, timeframes=["1d"]), source) as made:
        assert made.get("AAPL", "2024-01-01", FIRST, "1w").num_rows == 1
    assert source.asked == [f"AAPL {date}" for date in DATES]


@pytest.mark.parametrize(
    "wrong",
    [{"columns": ["clse"]}, {"tz": "NY"}, {"session": "day"}, {"source": "official"}, {"complete": "yes"}],
    ids=str,
)
def test_wrong_arguments_are_refused_before_anything_is_ingested(tmp_path: Path, wrong: dict[str, Any]) -> None:
    source = provider("AAPL")
    with pipeline(config(tmp_path, ["AAPL"], FIRST, FIRST), source) as made:
        with pytest.raises(marketpipe.ValidationError):
            made.get("AAPL", FIRST, LAST, **wrong)
        assert source.asked == []


def test_extended_hours_of_a_store_of_regular_ones_are_refused_before_anything_is_ingested(tmp_path: Path) -> None:
    source = provider("AAPL")
    with pipeline(config(tmp_path, ["AAPL"], FIRST, FIRST, session="regular"), source) as made:
        with pytest.raises(ConfigurationError, match="holds regular sessions only"):
            made.get("AAPL", FIRST, LAST, session="extended")
        assert source.asked == []


def test_symbols_and_columns_may_be_iterators(tmp_path: Path) -> None:
    made = marketpipe.get(iter(["AAPL"]), FIRST, FIRST, root=tmp_path, provider="synthetic", columns=iter(["close"]))
    assert made.column_names == ["close"]


def test_what_fails_is_warned_of_or_refused(tmp_path: Path) -> None:
    source = ScriptedProvider({}, errors={"AAPL": marketpipe.ProviderUnavailableError("the provider is down")})
    with pipeline(config(tmp_path, ["AAPL"], FIRST, FIRST), source) as made:
        with pytest.warns(IncompleteWarning, match="missing: the provider is down") as caught:
            made.get("AAPL", FIRST, FIRST)
        with pytest.raises(IncompleteError, match="missing: the provider is down"):
            made.get("AAPL", FIRST, FIRST, complete="require")
    assert caught[0].filename == __file__


def test_a_symbol_without_any_bar_is_warned_of(tmp_path: Path) -> None:
    with pipeline(config(tmp_path, ["AAPL"], FIRST, FIRST), provider("AAPL")) as made:
        with pytest.warns(IncompleteWarning, match="has never had a bar of APPL: is the symbol right") as caught:
            assert made.get(["AAPL", "APPL"], FIRST, LAST).num_rows == 4 * 390
        made.get("AAPL", FIRST, LAST)
        made.get("APPL", FIRST, LAST, complete="ignore")
    assert len(caught) == 1


def test_keys_alone_are_enough_and_the_second_call_needs_none(tmp_path: Path) -> None:
    bars = {"AAPL": [record(f"{date}T15:{minute:02d}:00Z") for date in DATES for minute in range(60)]}
    with AlpacaLoopback(bars) as server:
        text = f"provider: alpaca\nsymbols: [MSFT]\nstart: {FIRST}\nend: latest\nalpaca: {{base_url: '{server.url}'}}\n"
        (tmp_path / "marketpipe.yaml").write_text(text)
        keys = marketpipe.Credentials("key", "secret")
        first = marketpipe.get("AAPL", FIRST, LAST, "1d", root=tmp_path, credentials=keys)
        sent = len(server.requests), len(server.official)

        assert marketpipe.get("AAPL", FIRST, LAST, "1d", root=tmp_path).equals(first)
        assert (len(server.requests), len(server.official)) == sent == (1, 1)
    assert first["source"].to_pylist() == ["official"] * 4


def test_in_one_line_and_again_without_naming_the_provider(tmp_path: Path) -> None:
    daily = marketpipe.get("AAPL", FIRST, LAST, "1d", root=tmp_path, provider="synthetic")
    again = marketpipe.get("AAPL", FIRST, LAST, "1d", root=tmp_path, complete="require")
    closes = marketpipe.get("AAPL", FIRST, LAST, "1h", root=tmp_path, session="regular", columns=["close"])

    assert daily.num_rows == 4
    assert again.equals(daily)
    assert again.equals(marketpipe.load_ohlcv("AAPL", FIRST, LAST, "1d", root=tmp_path))
    assert closes.column_names == ["close"]


def test_a_wrong_argument_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    for arguments in (("AAPL", FIRST, LAST, "7m"), ("AAPL", LAST, FIRST), ([], FIRST, LAST)):
        with pytest.raises((ConfigurationError, marketpipe.ValidationError)):
            marketpipe.get(*arguments, root=tmp_path, provider="synthetic")  # type: ignore[arg-type]

    assert list(tmp_path.iterdir()) == []
