from __future__ import annotations

from datetime import timedelta

import pytest

from marketpipe.integration.domain.data_feed import DataFeed, ProviderCapabilities
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity


def test_identity_is_provider_feed_and_adjustment() -> None:
    capabilities = ProviderCapabilities("acme", DataFeed("sip"), "split")
    assert capabilities.identity == DatasetIdentity("acme", "sip", "split")
    assert ProviderCapabilities("acme", DataFeed("iex"), "split").identity != capabilities.identity
    assert ProviderCapabilities("acme", DataFeed("sip")).identity == DatasetIdentity("acme", "sip", "raw")


def test_a_feed_has_a_delay_of_15_minutes_by_default() -> None:
    assert DataFeed("sip").delay == timedelta(minutes=15)
    assert DataFeed("realtime", timedelta()).delay == timedelta(0)


@pytest.mark.parametrize("limit", ["bars_per_page", "symbols_per_request"])
@pytest.mark.parametrize("value", [0, -1])
def test_limits_are_at_least_one(limit: str, value: int) -> None:
    with pytest.raises(ValueError, match=limit):
        ProviderCapabilities("acme", DataFeed("sip"), **{limit: value})


def test_capabilities_are_values() -> None:
    assert {ProviderCapabilities("acme", DataFeed("sip")), ProviderCapabilities("acme", DataFeed("sip"))} == {
        ProviderCapabilities("acme", DataFeed("sip"))
    }
