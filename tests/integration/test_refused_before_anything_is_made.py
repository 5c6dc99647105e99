"""What can be refused is refused before a state, a lock or a folder is made; what comes late hides nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from marketpipe import ConfigurationError, MarketPipeError, Pipeline
from marketpipe.config import PipelineConfig
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider


def provider() -> ScriptedProvider:
    return ScriptedProvider({"AAPL": {TUESDAY: minutes(TUESDAY)}})


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.ingest(),
        lambda store: store.update(),
        lambda store: store.audit(sample="100%"),
    ],
    ids=["ingest", "update", "audit"],
)
def test_without_keys_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Pipeline], object]
) -> None:
    monkeypatch.chdir(tmp_path)  # no .env lies here
    for name in ("ALPACA_KEY", "ALPACA_SECRET", "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    settings = config(tmp_path, ["AAPL"], TUESDAY, WEDNESDAY, provider="alpaca")

    with Pipeline(settings) as store, pytest.raises(ConfigurationError, match="ALPACA_KEY"):
        ask(store)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "ask", [lambda store: store.update(["../x"]), lambda store: store.recover()], ids=["update", "recover"]
)
def test_what_is_refused_takes_no_lock(tmp_path: Path, ask: Callable[[Pipeline], object]) -> None:
    settings = config(tmp_path, ["AAPL"], TUESDAY, TUESDAY)
    with pipeline(settings, provider()) as store:
        store.ingest()
    before = sorted(tmp_path.rglob("*"))

    with pipeline(settings, provider()) as store, pytest.raises(MarketPipeError):
        ask(store)

    assert sorted(tmp_path.rglob("*")) == before


def test_an_update_that_would_begin_in_the_future_makes_nothing(tmp_path: Path) -> None:
    settings = config(tmp_path, ["AAPL"], "2030-01-02", "2030-01-03")

    with pipeline(settings, provider()) as store, pytest.raises(ConfigurationError, match="the newest final session"):
        store.update()

    assert list(tmp_path.iterdir()) == []


def test_aggregates_that_cannot_be_locked_do_not_hide_what_was_ingested(tmp_path: Path) -> None:
    settings: PipelineConfig = config(tmp_path, ["AAPL"], TUESDAY, TUESDAY, timeframes=["1d"])
    settings.state_path.with_name(f"{settings.state_path.name}.aggregation-lock").mkdir(parents=True)

    with pipeline(settings, provider()) as store:
        report = store.ingest()

    assert (report.state, report.bars, report.ok) == ("completed", 4, False)
    (failure,) = report.aggregates.failures
    assert failure.startswith("cannot lock ")
    assert failure.endswith("; free space or allow writing there")
