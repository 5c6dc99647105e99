"""Where a market data provider enters a pipeline: also one that was written before ``traits`` were renamed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from marketpipe.config import Credentials, PipelineConfig
from marketpipe.integration.infrastructure.alpaca.alpaca_capabilities import alpaca_capabilities
from marketpipe.integration.infrastructure.alpaca.alpaca_client import AlpacaClient
from marketpipe.pipeline import Pipeline
from marketpipe.provider_kit import BarsRequest, ProviderTraits, RawMarketData
from marketpipe.provider_registry import new_provider, with_capabilities
from marketpipe.testing import FakeClock
from tests.support.pipeline_ring import TUESDAY, config, minutes, stored_rows
from tests.support.scripted_provider import ScriptedProvider


class ProviderOfBefore:
    """A provider as it was written for the former names."""

    def __init__(self, inner: ScriptedProvider) -> None:
        self._inner = inner

    @property
    def traits(self) -> ProviderTraits:
        return self._inner.capabilities

    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        return self._inner.fetch_batch(request)

    def async_fetch_batch(self, request: BarsRequest) -> AsyncIterator[RawMarketData]:
        return self._inner.async_fetch_batch(request)

    def close(self) -> None:
        self._inner.close()


def test_a_provider_with_the_former_name_of_a_property_ingests_with_a_warning(tmp_path: Path) -> None:
    inner = ScriptedProvider({"AAPL": {TUESDAY: minutes(TUESDAY)}})
    old: Any = ProviderOfBefore(inner)
    settings = config(tmp_path, ["AAPL"], TUESDAY, TUESDAY)

    with pytest.warns(DeprecationWarning, match=r"ProviderOfBefore.traits is now called capabilities"):
        pipeline = Pipeline(settings, registry=CollectorRegistry(), market_data_provider=old, clock=FakeClock())
    with pipeline:
        assert pipeline.ingest().ok

    assert stored_rows(tmp_path, "AAPL", TUESDAY) == minutes(TUESDAY)
    assert inner.closed


@pytest.mark.parametrize("provider", [None, ScriptedProvider()])
def test_any_other_provider_is_taken_as_it_is(provider: ScriptedProvider | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert with_capabilities(provider) is provider


def test_a_client_written_before_the_renaming_finds_its_capabilities_under_the_former_name() -> None:
    client = AlpacaClient.__new__(AlpacaClient)
    client._capabilities = alpaca_capabilities("iex", "raw")

    with pytest.warns(DeprecationWarning, match="is now called capabilities"):
        former = client.traits

    assert former is client.capabilities


def test_the_log_says_whether_the_extra_fast_is_there_when_alpaca_is_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = PipelineConfig(provider="alpaca", symbols="AAPL", start=TUESDAY, end=TUESDAY, root=tmp_path)

    with caplog.at_level(logging.INFO, "marketpipe.integration"):
        new_provider(settings, Credentials("key", "secret"), FakeClock(), lambda _: None).close()

    state = "installed: machine code will read the pages" if find_spec("numba") else "not installed: large histories"
    assert [record.message.startswith(f"the extra fast is {state}") for record in caplog.records] == [True]
